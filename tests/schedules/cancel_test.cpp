// SPDX-License-Identifier: MIT
//
// Cancelling a timer on one thread while it falls due on another.

#include "explored_wheel.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <catch.hpp>

#include <array>

using namespace kestrel_tests;

TEST_CASE("Of cancel and the callback exactly one wins, and cancel knows which", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(
      bound ? "cancel / fire on an executor of its own" : "cancel / fire",
      [=](exploration& e) {
        fate f;
        explored_world w;
        const kestrel::timer_id id = w.schedule(10ms, f.note(), bound);
        w.pass(20ms);
        bool cancelled = false;
        w.together(e, {w.run(), w.beside([&] { cancelled = w.wheel.cancel(id); })});
        e.expect(f.ran() == (cancelled ? 0 : 1), "cancel lied");
        e.expect(f.is_destroyed() && f.is_sound(), "the callable");
        e.expect(w.wheel.empty(), "a timer is left");
      },
      more_preemptions);
}

TEST_CASE("Two who cancel one timer do not both succeed", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("cancel / cancel / fire", [=](exploration& e) {
    fate f;
    explored_world w;
    const kestrel::timer_id id = w.schedule(10ms, f.note(), bound);
    w.pass(10ms);
    bool first = false;
    bool second = false;
    w.together(e, {w.run(), w.beside([&] { first = w.wheel.cancel(id); }),
                   w.beside([&] { second = w.wheel.cancel(id); })});
    e.expect(f.ran() + first + second == 1, "more than one won, or none");
    e.expect(f.is_destroyed() && f.is_sound(), "the callable");
  });
}

TEST_CASE("Of several due timers, those that cancel says do not run", "[schedules]") {
  // The first callback runs after the rest was handed over to the other thread.
  const bool bound = GENERATE(false, true);
  explore("cancel / fire several on two threads", [=](exploration& e) {
    std::array<fate, 3> fates;
    explored_world w;
    std::array<kestrel::timer_id, 3> ids;
    for (std::size_t i = 0; i != ids.size(); ++i)
      ids[i] = w.schedule(10ms, fates[i].note(), bound);
    w.pass(10ms);
    std::size_t cancelled = 0;
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     cancelled += w.wheel.cancel(ids[0]);
                     cancelled += w.wheel.cancel({ids[2], ids[1]});
                   })});
    std::size_t ran = 0;
    for (const fate& f : fates) {
      ran += static_cast<std::size_t>(f.ran());
      e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
    }
    e.expect(ran + cancelled == ids.size(), "cancel lied");
    e.expect(w.wheel.empty(), "a timer is left");
  });
}

TEST_CASE("A callback cancels its tick-mate, which is falling due on another thread",
          "[schedules]") {
  explore(
      "cancel inside a callback / fire",
      [](exploration& e) {
        fate first;
        fate second;
        explored_world w;
        kestrel::timer_id victim;
        bool cancelled = false;
        w.schedule(10ms, first.note([&] { cancelled = w.wheel.cancel(victim); }));
        victim = w.schedule(10ms, second.note());
        w.pass(10ms);
        w.together(e, {w.run(), w.run()});
        e.expect(first.ran() == 1 && second.ran() == (cancelled ? 0 : 1), "cancel lied");
        e.expect(first.is_sound() && second.is_sound(), "the callables");
      },
      more_preemptions);
}

TEST_CASE("A cancellation slot that is emitted while its timer falls due", "[schedules]") {
  explore(
      "emit / fire",
      [](exploration& e) {
        fate f;
        explored_world w;
        asio::cancellation_signal signal;
        w.schedule(10ms, asio::bind_cancellation_slot(signal.slot(), f.note()));
        w.pass(10ms);
        w.together(e, {w.run(), w.beside([&] { signal.emit(asio::cancellation_type::terminal); })});
        const auto s = w.wheel.stats();
        e.expect(static_cast<std::uint64_t>(f.ran()) == s.fired && s.fired + s.cancelled == 1,
                 "run and cancelled, or neither");
        e.expect(f.is_destroyed() && f.is_sound(), "the callable");
      },
      more_preemptions);
}

TEST_CASE("A cancellation slot does not cancel the callback that replaces its own", "[schedules]") {
  explore("emit / replace / fire", [](exploration& e) {
    fate before;
    fate after;
    asio::cancellation_signal signal;
    explored_world w;
    const kestrel::timer_id id =
        w.schedule(10ms, asio::bind_cancellation_slot(signal.slot(), before.note()));
    w.pass(10ms);
    bool replaced = false;
    w.together(e, {w.run(), w.beside([&] { signal.emit(asio::cancellation_type::terminal); }),
                   w.beside([&] { replaced = w.wheel.postpone(id, 30ms, after.note()); })});
    e.expect(after.ran() == (replaced ? 1 : 0), "the new callback");
    e.expect(!replaced || before.ran() == 0, "the old callback");
    for (const fate* f : {&before, &after})
      e.expect(f->ran() <= 1 && f->is_destroyed() && f->is_sound(), "the callable");
  });
}

TEST_CASE("A periodic timer is cancelled while it runs", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("cancel / fire periodically", [=](exploration& e) {
    fate f;
    explored_world w;
    auto timer = f.note([&](kestrel::timer_id id) {
      if (f.ran() == 3)
        w.wheel.cancel(id);
    });
    const kestrel::timer_id id =
        bound ? w.wheel.schedule_every(
                    10ms, 10ms, asio::bind_executor(w.context.get_executor(), std::move(timer)))
              : w.wheel.schedule_every(10ms, 10ms, std::move(timer));
    w.pass(10ms);
    bool cancelled = false;
    int before = 0;
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     before = f.ran();
                     cancelled = w.wheel.cancel(id);
                     before = std::min(before, f.ran());
                   })});
    e.expect(cancelled ? f.ran() <= 3 : f.ran() == 3, "cancel lied");
    e.expect(f.is_destroyed() && f.is_sound(), "the callable");
    e.expect(w.wheel.empty(), "a timer is left");
  });
}

TEST_CASE("When the last timer is cancelled, nobody waits for it any more", "[schedules]") {
  explore("cancel / wait", [](exploration& e) {
    fate f;
    fate g;
    explored_world w;
    const kestrel::timer_id first = w.schedule(1h, f.note());
    const kestrel::timer_id second = w.schedule(2h, g.note());
    bool one = false;
    bool other = false;
    w.together(e, {w.run(), w.beside([&] { one = w.wheel.cancel(first); }),
                   w.beside([&] { other = w.wheel.cancel(std::array{second}) == 1; })});
    e.expect(one && other && f.is_sound() && g.is_sound(), "they were not cancelled");
    e.expect(explored_clock::now() == w.epoch, "it waited until they were due");
  });
}
