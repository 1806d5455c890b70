// SPDX-License-Identifier: MIT
//
// Timers fire, each once, although the wheel finds no memory while they do.

#include "shortage.hpp"

#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#endif

#include <catch.hpp>

using namespace kestrel_tests;

namespace {

/// A wheel on a context whose other timers fill the room that Asio has for them, for some of the
/// numbers up to 16, while the wheel's own is out of it. Then there is no memory.
struct crowded {
  using asio_timer = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;

  crowded() { others.reserve(64); }

  void crowd(std::size_t n, bool for_good) {
    for (std::size_t i = 0; i != n; ++i) {
      others.emplace_back(io, manual_clock::now() + 1h);
      others.back().async_wait([](asio::error_code) {});
    }
    fail_for_good = for_good;
    until_failure = 0;
  }

  /// Runs without memory, and tells whether that threw.
  bool run_short() {
    bool thrown = false;
    io.restart();
    for (int i = 0; i != 8; ++i) {
      try {
        io.poll();
      } catch (const std::bad_alloc&) {
        thrown = true;
      }
      io.restart();
    }
    fail_for_good = false;
    until_failure = no_failure;
    return thrown;
  }

  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  std::vector<asio_timer> others;
};

} // namespace

TEST_CASE("A periodic timer goes on although the wheel found no memory to be woken for it",
          "[memory][exceptions][periodic]") {
  const bool for_good = GENERATE(false, true);
  const bool throws = GENERATE(false, true);
  const bool bound = GENERATE(false, true);
  int failures = 0;
  for (std::size_t n = 0; n != 17; ++n) {
    crowded c;
    int fired = 0;
    const auto f = [&] {
      if (++fired != 1)
        return;
      c.crowd(n, for_good);
      if (throws)
        throw std::bad_alloc();
    };
    if (bound)
      c.wheel.schedule_every(10ms, 10ms, asio::bind_executor(c.io.get_executor(), f));
    else
      c.wheel.schedule_every(10ms, 10ms, f);
    manual_clock::advance(10ms);
    failures += c.run_short() && !throws ? 1 : 0;
    CHECK(fired == 1);
    pass(c.io, 100ms);
    CHECK(fired == 11);
    CHECK(c.wheel.size() == 1);
  }
  CHECK((failures > 3) == !throws);
}

TEST_CASE("Timers that are due run although the wheel found no memory to be woken for the others",
          "[memory][exceptions]") {
  const bool for_good = GENERATE(false, true);
  int failures = 0;
  for (std::size_t n = 0; n != 17; ++n) {
    crowded c;
    journal ran;
    ran.reserve(8);
    crowded::asio_timer first(c.io, manual_clock::start + 9ms);
    first.async_wait([&](asio::error_code) { c.crowd(n, for_good); });
    c.wheel.schedule_after(10ms, ran.note(1));
    c.wheel.schedule_after(10ms, ran.note(2));
    c.wheel.schedule_after(30ms, ran.note(3));
    manual_clock::advance(10ms);
    failures += c.run_short() ? 1 : 0;
    pass(c.io, 100ms);
    CHECK(ran == journal{{1, 10ms}, {2, 10ms}, {3, 30ms}});
    CHECK(c.wheel.empty());
  }
  CHECK(failures > 3);
}

// ---- What needs memory to be called

namespace {

/// Lets 10 ms pass with the n-th allocation failing, and runs until nothing is left to do. Tells
/// whether `bad_alloc` left `run()`.
struct short_pass {
  explicit short_pass(long n, asio::io_context& io, asio::io_context* other = nullptr) {
    manual_clock::advance(10ms);
    until_failure = n;
    for (int i = 0; i != 4; ++i) {
      for (asio::io_context* c : {&io, other}) {
        if (c == nullptr)
          continue;
        try {
          c->restart();
          c->poll();
        } catch (const std::bad_alloc&) {
          thrown = true;
        }
      }
    }
    failed = std::exchange(until_failure, no_failure) == no_failure;
  }

  bool thrown = false;
  bool failed = false;
};

} // namespace

TEST_CASE("A callback for another context for which there is no memory runs when there is",
          "[memory][exceptions]") {
  const bool periodic = GENERATE(false, true);
  int failures = 0;
  long n = 0;
  for (bool failed = true; failed; ++n) {
    const long blocks = live_blocks;
    {
      const at_start clock;
      asio::io_context elsewhere;
      asio::io_context io;
      manual_wheel wheel{io};
      int fired = 0;
      int others = 0;
      const auto f = asio::bind_executor(elsewhere, [&fired] { ++fired; });
      wheel.schedule_after(10ms, [&others] { ++others; });
      if (periodic)
        wheel.schedule_every(10ms, 10ms, f);
      else
        wheel.schedule_after(10ms, f);
      wheel.schedule_after(10ms, [&others] { ++others; });
      settle(io);
      const short_pass memory(n, io, &elsewhere);
      failed = memory.failed;
      failures += memory.thrown ? 1 : 0;
      CHECK(fired == 1); // the next run() had the memory
      CHECK(others == 2);
      for (int i = 0; i != 3; ++i) {
        stall(io, 10ms);
        elsewhere.restart();
        elsewhere.poll();
      }
      CHECK(fired == (periodic ? 4 : 1));
      CHECK(wheel.size() == (periodic ? 1 : 0));
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(failures > 0);
}

#if defined(ASIO_HAS_CO_AWAIT)

// As if it had thrown at its beginning: it does not run, and is not tried again. Only its first
// allocation fails here: Asio 1.22 ends the program if co_spawn finds no memory later on.
TEST_CASE("A coroutine for which there is no memory has failed, and its timer has fired",
          "[memory][exceptions]") {
  const bool periodic = GENERATE(false, true);
  const bool with_slot = GENERATE(false, true);
  const long blocks = live_blocks;
  {
    const at_start clock;
    asio::cancellation_signal signal;
    asio::io_context io;
    manual_wheel wheel{io};
    int begun = 0;
    int others = 0;
    const auto f = [&begun]() -> asio::awaitable<void> {
      ++begun;
      co_return;
    };
    const auto schedule = [&](auto callback) {
      if (periodic)
        wheel.schedule_every(10ms, 10ms, callback);
      else
        wheel.schedule_after(10ms, callback);
    };
    wheel.schedule_after(10ms, [&others] { ++others; });
    if (with_slot)
      schedule(asio::bind_cancellation_slot(signal.slot(), f));
    else
      schedule(f);
    wheel.schedule_after(10ms, [&others] { ++others; });
    settle(io);
    const short_pass memory(0, io);
    CHECK(memory.thrown);
    CHECK(begun == 0);
    CHECK(others == 2);
    CHECK(wheel.stats().fired == 3);
    pass(io, 30ms);
    CHECK(begun == (periodic ? 3 : 0));
    CHECK(wheel.size() == (periodic ? 1 : 0));
  }
  CHECK(live_blocks == blocks);
}

#endif

TEST_CASE("A wheel on a strand that had no memory to be woken is woken when there is some",
          "[memory][exceptions]") {
  int failures = 0;
  for (int n = 0;; ++n) {
    const at_start clock;
    asio::io_context io;
    manual_wheel wheel{asio::any_io_executor(asio::make_strand(io))};
    int ran = 0;
    wheel.schedule_after(20ms, [&ran] { ++ran; });
    wheel.schedule_after(60ms, [&ran] { ++ran; });
    manual_clock::advance(20ms);
    const shortage s(n, [&io] { io.poll(); });
    if (!s.failed)
      break;
    ++failures;
    CHECK(s.thrown);
    CHECK(ran == 0);
    settle(io);
    stall(io, 10ms);
    CHECK(ran == 1);
    stall(io, 30ms);
    CHECK(ran == 2);
  }
  CHECK(failures > 0);
}
