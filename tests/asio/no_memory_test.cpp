// SPDX-License-Identifier: MIT
//
// When there is no memory left at all, what has begun ends all the same: each wait completes once,
// as it would have otherwise.

#include "counted_new.hpp"
#include "timer_kinds.hpp"

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_service.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>

#include <catch.hpp>

#include <memory>
#include <new>
#include <optional>
#include <system_error>
#include <vector>

using namespace kestrel_tests;

namespace {

/// While it lives, no allocation succeeds but the first `n`.
struct no_memory {
  explicit no_memory(long n = 0) {
    fail_for_good = true;
    until_failure = n;
  }
  ~no_memory() {
    until_failure = no_failure;
    fail_for_good = false;
  }
};

/// How waits have ended. A handler holds what nothing may leak.
struct ends {
  struct handler {
    template <class... Results>
    void operator()(asio::error_code ec, Results...) const {
      ++(ec ? to->aborted : to->completed);
      if (ec)
        to->error = ec;
    }

    ends* to;
    std::shared_ptr<int> owned;
  };

  [[nodiscard]] handler note() { return {this, owned}; }

  [[nodiscard]] bool are(int n_completed, int n_aborted) const {
    return completed == n_completed && aborted == n_aborted && owned.use_count() == 1;
  }

  int completed = 0;
  int aborted = 0;
  asio::error_code error; // of the last one that was aborted
  std::shared_ptr<int> owned = std::make_shared<int>();
};

/// Some waits, and what ends them.
struct waits {
  template <class End>
  void end_without_memory(End end) {
    settle(io);
    const no_memory here;
    end();
    run();
  }

  void run() {
    for (int tries = 0; tries != 3; ++tries) {
      try {
        io.restart();
        io.poll();
      } catch (const std::bad_alloc&) { // the next run() goes on
      }
    }
  }

  const at_start clock;
  ends ended;
  asio::io_context io;
  manual_wheel wheel{io};
};

} // namespace

TEST_CASE("A wait for a time or a timer ends although there is no memory", "[memory][exceptions]") {
  waits w;
  const kestrel::timer_id id = w.wheel.schedule_after(10ms, [] {});
  const kestrel::timer_id periodic = w.wheel.schedule_every(10ms, 10ms, [] {});
  const auto handle = w.wheel.handle(periodic);
  asio::cancellation_signal signal;
  SECTION("when it comes") {
    w.wheel.async_wait_after(10ms, w.ended.note());
    w.wheel.async_wait(id, w.ended.note());
    handle.async_wait(w.ended.note());
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(3, 0));
  }
  SECTION("when several come at once") {
    for (int i = 0; i != 300; ++i) {
      w.wheel.async_wait_after(10ms, w.ended.note());
      w.wheel.async_wait(id, w.ended.note());
    }
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(600, 0));
  }
  SECTION("when the timer is cancelled") {
    w.wheel.async_wait(id, w.ended.note());
    handle.async_wait(w.ended.note());
    w.end_without_memory([&] {
      w.wheel.cancel(id);
      w.wheel.cancel(periodic);
    });
    CHECK(w.ended.are(2, 0));
  }
  SECTION("when it is aborted through its slot") {
    w.wheel.async_wait(id, asio::bind_cancellation_slot(signal.slot(), w.ended.note()));
    w.end_without_memory([&] { signal.emit(asio::cancellation_type::all); });
    CHECK(w.ended.are(0, 1));
  }
  SECTION("when the wheel is shut down") {
    w.wheel.async_wait_after(10ms, w.ended.note());
    w.wheel.async_wait(id, w.ended.note());
    handle.async_wait(w.ended.note());
    w.end_without_memory([&] { w.wheel.shutdown(); });
    CHECK(w.ended.are(0, 3));
  }
  SECTION("whose handler is aligned more than most things") {
    struct alignas(128) aligned : ends::handler {};
    w.wheel.async_wait_after(10ms, aligned{w.ended.note()});
    w.wheel.async_wait(id, aligned{w.ended.note()});
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(2, 0));
  }
  SECTION("on the executor of its handler") {
    const auto own = [&] { return asio::bind_executor(w.io.get_executor(), w.ended.note()); };
    w.wheel.async_wait_after(10ms, own());
    w.wheel.async_wait(id, own());
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(2, 0));
  }
}

TEST_CASE("A wait that could not begin for want of memory is told, if it is not thrown at",
          "[memory][exceptions]") {
  waits w;
  int told = 0;
  for (long n = 0; n != 16; ++n) {
    {
      const no_memory after(n);
      try {
        w.wheel.async_wait_after(10ms, w.ended.note());
      } catch (const std::bad_alloc&) {
        ++told;
      }
      w.run();
    }
    pass(w.io, 20ms);
    CHECK(w.ended.completed + w.ended.aborted + told == n + 1);
    CHECK(w.ended.owned.use_count() == 1);
    if (w.ended.aborted != 0)
      CHECK(w.ended.error == std::errc::not_enough_memory);
  }
  CHECK(told > 0);
  CHECK(w.ended.aborted > 0);
  CHECK(w.ended.completed > 0);
}

TEST_CASE("A consumer of a service is served although there is no memory",
          "[memory][exceptions][service]") {
  waits w;
  kestrel::basic_timer_service<manual_clock> service{w.wheel};
  service.schedule_after(10ms);
  service.async_receive(w.ended.note());
  SECTION("when a notification comes") {
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(1, 0));
  }
  SECTION("when it is shut down") {
    w.end_without_memory([&] { service.shutdown(); });
    CHECK(w.ended.are(0, 1));
  }
}

TEST_CASE("The waits of a steady_timer end although there is no memory",
          "[memory][exceptions][steady_timer]") {
  waits w;
  std::optional<kestrel_timer> timer;
  timer.emplace(w.io, 10ms);
  asio::cancellation_signal signal;
  const auto wait_several_times = [&] {
    for (int i = 0; i != 3; ++i)
      timer->async_wait(w.ended.note());
  };
  SECTION("when it is due") {
    timer->async_wait(w.ended.note());
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(1, 0));
  }
  SECTION("when many are due together") {
    std::vector<kestrel_timer> others;
    for (int i = 0; i != 300; ++i) {
      others.emplace_back(w.io, 10ms);
      others.back().async_wait(w.ended.note());
    }
    wait_several_times();
    w.end_without_memory([] { manual_clock::advance(20ms); });
    CHECK(w.ended.are(303, 0));
  }
  SECTION("when they are cancelled") {
    wait_several_times();
    std::size_t n = 0;
    w.end_without_memory([&] { n = timer->cancel(); });
    CHECK(n == 3);
    CHECK(w.ended.are(0, 3));
  }
  SECTION("when many timers are cancelled") {
    std::vector<kestrel_timer> others;
    for (int i = 0; i != 300; ++i) {
      others.emplace_back(w.io, 10ms);
      others.back().async_wait(w.ended.note());
    }
    w.end_without_memory([&] {
      for (kestrel_timer& t : others)
        t.cancel();
    });
    CHECK(w.ended.are(0, 300));
  }
  SECTION("when one is cancelled") {
    wait_several_times();
    w.end_without_memory([&] { timer->cancel_one(); });
    CHECK(w.ended.aborted == 1);
    CHECK(timer->cancel() == 2);
    settle(w.io);
    CHECK(w.ended.are(0, 3));
  }
  SECTION("when it is set anew") {
    wait_several_times();
    w.end_without_memory([&] { timer->expires_after(1s); });
    CHECK(w.ended.are(0, 3));
  }
  SECTION("when it is destroyed") {
    wait_several_times();
    w.end_without_memory([&] { timer.reset(); });
    CHECK(w.ended.are(0, 3));
  }
  SECTION("when one is aborted through its slot") {
    timer->async_wait(asio::bind_cancellation_slot(signal.slot(), w.ended.note()));
    w.end_without_memory([&] { signal.emit(asio::cancellation_type::all); });
    CHECK(w.ended.are(0, 1));
  }
}
