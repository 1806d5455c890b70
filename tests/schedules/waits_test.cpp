// SPDX-License-Identifier: MIT
//
// Waits for timers: each completes exactly once, with what became of the timer, whatever happens at
// the same time on other threads.

#include "explored_wheel.hpp"

#include <kestrel/completion.hpp>
#include <kestrel/error.hpp>

#include <catch.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

using namespace kestrel_tests;

namespace {

/// What a wait was told. Handlers run one after the other, as far as a test has one wait at a time.
struct told {
  auto note() {
    return [this](asio::error_code ec, kestrel::completion what) {
      expect_unlocked();
      error = ec;
      completion = what;
      ++times;
      fired += !ec && what == kestrel::completion::fired ? what.count() : 0;
    };
  }

  auto note_error() {
    return [this](asio::error_code ec) {
      expect_unlocked();
      error = ec;
      ++times;
    };
  }

  void expect_unlocked() { under_lock += explored_mutex::held() != 0; }

  /// Once, and under no lock.
  [[nodiscard]] bool is_sound() const { return times == 1 && under_lock == 0; }

  [[nodiscard]] bool is(kestrel::completion::outcome what) const {
    return is_sound() && !error && completion == what;
  }
  [[nodiscard]] bool is(const std::error_code& ec) const {
    return is_sound() && std::error_code(error) == ec;
  }

  asio::error_code error;
  kestrel::completion completion;
  int times = 0;
  int under_lock = 0;
  std::uint64_t fired = 0;
};

const std::error_code aborted = asio::error_code(asio::error::operation_aborted);
const std::error_code no_such_timer = make_error_code(kestrel::errc::no_such_timer);

} // namespace

TEST_CASE("Who waits is told whether the timer fired or was cancelled", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("wait / cancel / fire", [=](exploration& e) {
    fate f;
    told before;
    told meanwhile;
    explored_world w;
    const kestrel::timer_id id = w.schedule(10ms, f.note(), bound);
    w.wheel.async_wait(id, before.note());
    w.pass(10ms);
    bool cancelled = false;
    w.together(e, {w.run(), w.beside([&] { cancelled = w.wheel.cancel(id); }),
                   w.beside([&] { w.wheel.async_wait(id, meanwhile.note()); })});
    const auto outcome = cancelled ? kestrel::completion::cancelled : kestrel::completion::fired;
    e.expect(f.ran() == (cancelled ? 0 : 1), "cancel lied");
    e.expect(before.is(outcome), "who waited before");
    e.expect(meanwhile.is(outcome) || meanwhile.is(no_such_timer), "who waited meanwhile");
  });
}

TEST_CASE("A wait that is cut short while its timer fires ends once", "[schedules]") {
  explore("cut a wait short / fire", [](exploration& e) {
    fate f;
    told one;
    told other;
    asio::cancellation_signal signal;
    explored_world w;
    const kestrel::timer_id id = w.schedule(10ms, f.note());
    w.wheel.async_wait(id, asio::bind_cancellation_slot(signal.slot(), one.note()));
    w.wheel.async_wait(id, other.note());
    w.pass(10ms);
    w.together(e,
               {w.run(), w.run(), w.beside([&] { signal.emit(asio::cancellation_type::total); })});
    e.expect(one.is(kestrel::completion::fired) || one.is(aborted), "the one that was cut short");
    e.expect(other.is(kestrel::completion::fired), "the other one");
  });
}

TEST_CASE("A handle is told everything, though it begins to wait late", "[schedules]") {
  explore("wait by handle / postpone / cancel / fire", [](exploration& e) {
    fate f;
    told last;
    explored_world w;
    auto handle = w.wheel.schedule(kestrel::timer_task::one_shot(10ms, f.note()));
    const kestrel::timer_id id = handle.id();
    w.pass(10ms);
    bool cancelled = false;
    w.together(e, {w.run(), w.beside([&] { handle.async_wait(last.note()); }), w.beside([&] {
                     w.wheel.postpone(id, 20ms);
                     cancelled = w.wheel.cancel(id);
                   })});
    e.expect(last.is(cancelled ? kestrel::completion::cancelled : kestrel::completion::fired),
             "it was told something else");
  });
}

TEST_CASE("No firing of a periodic timer is lost on who waits for it", "[schedules]") {
  explore("wait periodically / fire / cancel", [](exploration& e) {
    fate f;
    told waits;
    explored_world w;
    auto handle = w.wheel.schedule(kestrel::timer_task::periodic(10ms, 10ms, f.note()));
    const kestrel::timer_id id = handle.id();
    bool ended = false;
    std::function<void()> wait = [&] {
      handle.async_wait([&](asio::error_code ec, kestrel::completion what) {
        waits.note()(ec, what);
        if (!ec && what == kestrel::completion::fired)
          wait();
        else
          ended = what == kestrel::completion::cancelled && !ec;
      });
    };
    w.pass(10ms);
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     wait();
                     turns::wait([&] { return f.ran() >= 2; });
                     w.wheel.cancel(id);
                   })});
    e.expect(waits.fired == static_cast<std::uint64_t>(f.ran()), "not every firing was told");
    e.expect(ended, "the end was not told");
    e.expect(f.is_destroyed() && f.is_sound(), "the callable");
  });
}

TEST_CASE("A wait without a callback ends once, whatever ends it", "[schedules]") {
  explore("wait_after / cut short / shutdown", [](exploration& e) {
    told one;
    told other;
    asio::cancellation_signal signal;
    explored_world w;
    w.wheel.async_wait_after(10ms, asio::bind_cancellation_slot(signal.slot(), one.note_error()));
    w.wheel.async_wait_after(1h, other.note_error());
    w.pass(10ms);
    w.together(e, {w.run(), w.beside([&] { signal.emit(asio::cancellation_type::total); }),
                   w.beside([&] { w.wheel.shutdown(); })});
    e.expect(one.is(std::error_code()) || one.is(aborted), "the one that was due");
    e.expect(other.is(aborted), "the one that was not");
  });
}

TEST_CASE("Who waits while the wheel ends is told so", "[schedules]") {
  const bool destroyed = GENERATE(false, true);
  explore(destroyed ? "wait / destroy / fire" : "wait / shutdown / fire", [=](exploration& e) {
    fate f;
    fate g;
    told due;
    told pending;
    told meanwhile;
    explored_world w;
    auto one = w.wheel.schedule(kestrel::timer_task::one_shot(10ms, f.note()));
    auto other = w.wheel.schedule(kestrel::timer_task::one_shot(1h, g.note()));
    auto third = other;
    one.async_wait(due.note());
    other.async_wait(pending.note());
    w.pass(10ms);
    w.together(e, {w.run(), w.beside([&] { destroyed ? w.made.reset() : w.wheel.shutdown(); }),
                   w.beside([&] { third.async_wait(meanwhile.note()); })});
    e.expect(f.ran() == 1 ? due.is(kestrel::completion::fired) : due.is(aborted), "the due one");
    e.expect(pending.is(aborted), "the pending one");
    e.expect(meanwhile.is(aborted), "the one that was begun meanwhile");
    e.expect(f.is_sound() && g.is_sound(), "the callables");
  });
}
