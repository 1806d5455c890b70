// SPDX-License-Identifier: MIT
//
// Postponing a timer on one thread while it falls due on another. Time passes only when all threads
// wait, so that it is known when a timer has to fire.

#include "explored_wheel.hpp"

#include <catch.hpp>

#include <array>
#include <utility>

using namespace kestrel_tests;

TEST_CASE("If postpone says so, the old deadline does not fire, and the new one does",
          "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(
      bound ? "postpone / fire on an executor of its own" : "postpone / fire",
      [=](exploration& e) {
        fate f;
        explored_world w;
        const kestrel::timer_id id = w.schedule(10ms, f.note(), bound);
        w.pass(10ms);
        const auto start = explored_clock::now();
        bool postponed = false;
        w.together(e, {w.run(), w.beside([&] { postponed = w.wheel.postpone(id, 1s); })});
        e.expect(f.ran() == 1 && f.is_sound(), "it did not run once");
        e.expect(f.ran_at() == (postponed ? start + 1s : start), "at the wrong time");
      },
      more_preemptions);
}

TEST_CASE("Of the old callback and the one that replaces it exactly one runs", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(bound ? "replace / fire on an executor of its own" : "replace / fire",
          [=](exploration& e) {
            fate before;
            fate after;
            explored_world w;
            const kestrel::timer_id id = w.schedule(10ms, before.note(), bound);
            w.pass(10ms);
            bool replaced = false;
            w.together(e, {w.run(), w.run(),
                           w.beside([&] { replaced = w.wheel.postpone(id, 30ms, after.note()); })});
            e.expect(before.ran() == (replaced ? 0 : 1) && after.ran() == (replaced ? 1 : 0),
                     "postpone lied");
            e.expect(before.is_destroyed() && after.is_destroyed(), "one was kept");
            e.expect(before.is_sound() && after.is_sound(), "the callables");
          });
}

TEST_CASE("One postpones, one cancels, and the timer is due", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("postpone / cancel / fire", [=](exploration& e) {
    fate f;
    explored_world w;
    const kestrel::timer_id id = w.schedule(10ms, f.note(), bound);
    w.pass(10ms);
    const auto start = explored_clock::now();
    bool postponed = false;
    bool cancelled = false;
    w.together(e, {w.run(), w.beside([&] { postponed = w.wheel.postpone(id, 20ms); }),
                   w.beside([&] { cancelled = w.wheel.cancel(id); })});
    e.expect(f.ran() == (cancelled ? 0 : 1), "cancel lied");
    if (f.ran() == 1)
      e.expect(f.ran_at() == (postponed ? start + 20ms : start), "postpone lied");
    e.expect(f.is_destroyed() && f.is_sound(), "the callable");
  });
}

TEST_CASE("Due timers are postponed to different times while two threads run them", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("postpone / fire several on two threads", [=](exploration& e) {
    std::array<fate, 3> fates;
    explored_world w;
    std::array<kestrel::timer_id, 3> ids;
    for (std::size_t i = 0; i != ids.size(); ++i)
      ids[i] = w.schedule(10ms, fates[i].note(), bound);
    w.pass(10ms);
    const auto start = explored_clock::now();
    std::size_t postponed = 0;
    w.together(
        e, {w.run(), w.run(), w.beside([&] {
              postponed += w.wheel.postpone(ids[1], 50ms);
              using moves =
                  std::initializer_list<std::pair<kestrel::timer_id, std::chrono::milliseconds>>;
              postponed += w.wheel.postpone(moves{{ids[2], 500ms}, {ids[0], 20ms}});
            })});
    std::size_t late = 0;
    for (std::size_t i = 0; i != ids.size(); ++i) {
      const std::array delays{20ms, 50ms, 500ms};
      const fate& f = fates[i];
      e.expect(f.ran() == 1 && f.is_sound(), "it did not run once");
      e.expect(f.ran_at() == start || f.ran_at() == start + delays[i], "at the wrong time");
      late += f.ran_at() != start;
    }
    e.expect(late == postponed, "postpone lied");
  });
}

TEST_CASE("A periodic timer is postponed, and has another callback, while it runs", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(
      "postpone / fire periodically",
      [=](exploration& e) {
        fate before;
        fate after;
        explored_world w;
        const auto until = [&](fate& f, int times) {
          return f.note([&f, &w, times](kestrel::timer_id id) {
            if (f.ran() == times)
              w.wheel.cancel(id);
          });
        };
        const kestrel::timer_id id =
            bound ? w.wheel.schedule_every(
                        10ms, 10ms, asio::bind_executor(w.context.get_executor(), until(before, 2)))
                  : w.wheel.schedule_every(10ms, 10ms, until(before, 2));
        w.pass(10ms);
        const auto start = explored_clock::now();
        bool moved = false;
        bool replaced = false;
        w.together(e, {w.run(), w.beside([&] {
                         moved = w.wheel.postpone(id, 70ms);
                         replaced = w.wheel.postpone(id, 100ms, until(after, 2));
                       })});
        e.expect(!replaced || moved, "it was over, and is not");
        e.expect(after.ran() == (replaced ? 2 : 0), "the new callback");
        e.expect(before.ran() <= 2 && (replaced || before.ran() == 2), "the old callback");
        if (replaced)
          e.expect(after.ran_at() == start + 110ms, "at the wrong time");
        e.expect(before.is_destroyed() && after.is_destroyed(), "one was kept");
        e.expect(before.is_sound() && after.is_sound(), "the callables");
        e.expect(w.wheel.empty(), "a timer is left");
      },
      more_preemptions);
}

TEST_CASE("A timer that is postponed to an earlier time comes then", "[schedules]") {
  explore("postpone to earlier / wait", [](exploration& e) {
    fate f;
    fate g;
    explored_world w;
    const kestrel::timer_id far_off = w.schedule(1h, f.note());
    const kestrel::timer_id farther = w.schedule(2h, g.note());
    bool one = false;
    bool other = false;
    w.together(e, {w.run(), w.beside([&] { one = w.wheel.postpone(far_off, 35ms); }),
                   w.beside([&] { other = w.wheel.postpone(farther, 15ms); })});
    e.expect(one && other && f.ran() == 1 && g.ran() == 1, "they did not run once");
    e.expect(f.ran_at() == w.epoch + 40ms && g.ran_at() == w.epoch + 20ms, "at the wrong time");
  });
}
