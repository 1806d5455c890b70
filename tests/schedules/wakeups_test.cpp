// SPDX-License-Identifier: MIT
//
// Nobody sleeps too long: timers that are scheduled, cancelled or moved on some threads, at any
// moment of what the driver's handler does on another, fire at their tick.

#include "explored_wheel.hpp"

#include <catch.hpp>

#include <array>
#include <stdexcept>

using namespace kestrel_tests;

TEST_CASE("A timer that is scheduled while others fire is on time", "[schedules]") {
  explore(
      "schedule / fire",
      [](exploration& e) {
        fate first;
        fate second;
        fate third;
        explored_world w;
        w.schedule(10ms, first.note());
        w.pass(10ms);
        const auto start = explored_clock::now();
        w.together(e, {w.run(), w.beside([&] {
                         w.schedule(300ms, second.note());
                         w.schedule(25ms, third.note());
                       })});
        e.expect(first.ran() == 1 && second.ran() == 1 && third.ran() == 1, "one did not run once");
        e.expect(first.ran_at() == start, "the first came late");
        e.expect(second.ran_at() == start + 300ms, "the second came at the wrong time");
        e.expect(third.ran_at() == start + 30ms, "the third came at the wrong time");
        e.expect(w.wheel.empty(), "a timer is left");
      },
      more_preemptions);
}

TEST_CASE("Two threads schedule earlier timers than the one that is waited for", "[schedules]") {
  explore("schedule / schedule / wait", [](exploration& e) {
    fate far_off;
    fate nearby;
    fate nearer;
    explored_world w;
    w.schedule(1s, far_off.note());
    w.together(e, {w.run(), w.beside([&] { w.schedule(40ms, nearby.note()); }),
                   w.beside([&] { w.schedule(20ms, nearer.note()); })});
    e.expect(far_off.ran_at() == w.epoch + 1s, "the far one came at the wrong time");
    e.expect(nearby.ran_at() == w.epoch + 40ms, "the near one came at the wrong time");
    e.expect(nearer.ran_at() == w.epoch + 20ms, "the nearest one came at the wrong time");
    e.expect(far_off.ran() + nearby.ran() + nearer.ran() == 3, "one did not run once");
  });
}

TEST_CASE("A timer that is scheduled while the last one is cancelled is on time", "[schedules]") {
  explore("schedule / cancel / wait", [](exploration& e) {
    fate last;
    fate next;
    explored_world w;
    const kestrel::timer_id id = w.schedule(1h, last.note());
    w.together(e, {w.run(), w.beside([&] { w.wheel.cancel(id); }),
                   w.beside([&] { w.schedule(50ms, next.note()); })});
    e.expect(last.ran() == 0 && next.ran() == 1, "the wrong ones ran");
    e.expect(next.ran_at() == w.epoch + 50ms, "at the wrong time");
  });
}

TEST_CASE("Two threads run what is due, and none of it twice", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("fire several on two threads", [=](exploration& e) {
    std::array<fate, 4> fates;
    explored_world w;
    for (fate& f : fates)
      w.schedule(10ms, f.note(), bound);
    w.pass(10ms);
    w.together(e, {w.run(), w.run()});
    for (const fate& f : fates)
      e.expect(f.ran() == 1 && f.is_sound() && f.ran_at() == w.epoch + 10ms, "not once, on time");
    e.expect(w.wheel.empty(), "a timer is left");
  });
}

TEST_CASE("A callback may wait for another one that is due", "[schedules]") {
  explore(
      "callbacks that wait for one another",
      [](exploration& e) {
        fate first;
        fate second;
        explored_world w;
        w.schedule(10ms, first.note([&] { turns::wait([&] { return second.ran() != 0; }); }));
        w.schedule(10ms, second.note([&] { turns::wait([&] { return first.ran() != 0; }); }));
        w.pass(10ms);
        w.together(e, {w.run(), w.run()});
        e.expect(first.ran() == 1 && second.ran() == 1, "one did not run once");
      },
      more_preemptions);
}

TEST_CASE("While a callback takes its time, another thread sees to what falls due", "[schedules]") {
  explore("a slow callback / fire / schedule", [](exploration& e) {
    fate slow;
    fate next;
    fate added;
    explored_world w;
    w.schedule(
        10ms, slow.note([&] { turns::wait([&] { return next.ran() != 0 && added.ran() != 0; }); }));
    w.schedule(60ms, next.note());
    w.together(e, {w.run(), w.run(), w.beside([&] { w.schedule(20ms, added.note()); })});
    e.expect(slow.ran() + next.ran() + added.ran() == 3, "one did not run once");
    e.expect(next.ran_at() == w.epoch + 60ms, "the next one came at the wrong time");
    e.expect(added.ran_at() == w.epoch + 20ms, "the added one came at the wrong time");
  });
}

TEST_CASE("A callback that throws holds nobody up", "[schedules]") {
  explore("throw / fire / schedule", [](exploration& e) {
    fate throwing;
    fate mate;
    fate added;
    explored_world w;
    w.schedule(10ms, throwing.note([] { throw std::runtime_error("from a callback"); }));
    w.schedule(10ms, mate.note());
    w.pass(10ms);
    const auto start = explored_clock::now();
    const auto run = [&] {
      try {
        w.context.run();
      } catch (const std::runtime_error&) {
        w.context.run();
      }
    };
    w.together(e, {run, run, w.beside([&] { w.schedule(20ms, added.note()); })});
    e.expect(throwing.ran() == 1 && mate.ran() == 1 && added.ran() == 1, "one did not run once");
    e.expect(mate.ran_at() == start && added.ran_at() == start + 20ms, "at the wrong time");
  });
}

TEST_CASE("An executor that refuses a handler holds nobody up", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(bound ? "refuse / fire on an executor of its own / schedule" : "refuse / fire / schedule",
          [=](exploration& e) {
            fate first;
            fate second;
            fate added;
            explored_world w;
            const kestrel::timer_id id = w.schedule(10ms, first.note(), bound);
            w.schedule(10ms, second.note(), bound);
            w.pass(10ms);
            const auto start = explored_clock::now();
            w.context.refuse(1);
            const auto run = [&] {
              try {
                w.context.run();
              } catch (const std::runtime_error&) {
                w.context.run();
              }
            };
            bool cancelled = false;
            w.together(e, {run, run, w.beside([&] {
                             cancelled = w.wheel.cancel(id);
                             w.schedule(20ms, added.note());
                           })});
            e.expect(first.ran() == (cancelled ? 0 : 1) && first.is_sound(), "cancel lied");
            e.expect(second.ran() == 1 && second.is_sound() && second.ran_at() == start,
                     "not once, on time");
            e.expect(added.ran() == 1 && added.ran_at() == start + 20ms, "the one that was added");
            e.expect(w.wheel.empty(), "a timer is left");
          });
}

TEST_CASE("A periodic timer keeps its times while others are scheduled", "[schedules]") {
  explore("schedule / fire periodically", [](exploration& e) {
    fate periodic;
    fate other;
    explored_world w;
    w.wheel.schedule_every(10ms, 10ms, periodic.note([&](kestrel::timer_id id) {
      if (periodic.ran() == 3)
        w.wheel.cancel(id);
    }));
    w.together(e, {w.run(), w.run(), w.beside([&] { w.schedule(25ms, other.note()); })});
    e.expect(periodic.ran() == 3 && periodic.ran_at() == w.epoch + 30ms, "the periodic one");
    e.expect(other.ran() == 1 && other.ran_at() == w.epoch + 30ms, "the other one");
    e.expect(periodic.is_sound() && other.is_sound(), "the callables");
  });
}

TEST_CASE("A context has work while a timer of it runs on another context", "[schedules]") {
  explore("fire periodically on another context", [](exploration& e) {
    fate f;
    explored_context other;
    explored_world w;
    w.wheel.schedule_every(
        10ms, 10ms, asio::bind_executor(other.get_executor(), f.note([&](kestrel::timer_id id) {
          if (f.ran() == 3)
            w.wheel.cancel(id);
        })));
    other.begin_work();
    const auto run_other = [&] {
      while (f.ran() != 3)
        other.run_one();
    };
    w.together(e, {w.run(), run_other});
    other.end_work();
    e.expect(f.ran() == 3 && f.ran_at() == w.epoch + 30ms, "it was not run at its times");
    e.expect(f.is_destroyed() && f.is_sound(), "the callable");
  });
}
