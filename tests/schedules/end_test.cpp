// SPDX-License-Identifier: MIT
//
// The end of a wheel on one thread while others fire, schedule, cancel, or have its handlers
// queued.

#include "explored_wheel.hpp"

#include <kestrel/error.hpp>

#include <catch.hpp>

#include <array>
#include <system_error>

using namespace kestrel_tests;

TEST_CASE("After shutdown nothing is fired but what had begun, and all is destroyed",
          "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(bound ? "shutdown / fire on an executor of its own" : "shutdown / fire",
          [=](exploration& e) {
            std::array<fate, 3> fates;
            explored_world w;
            for (fate& f : fates)
              w.schedule(10ms, f.note(), bound);
            w.schedule(1h, [] {});
            w.pass(10ms);
            std::uint64_t begun = 0;
            std::array<bool, 3> was_destroyed{};
            w.together(e, {w.run(), w.run(), w.beside([&] {
                             w.wheel.shutdown();
                             begun = w.wheel.stats().fired;
                             for (std::size_t i = 0; i != fates.size(); ++i)
                               was_destroyed[i] = fates[i].is_destroyed();
                           })});
            std::uint64_t ran = 0;
            for (std::size_t i = 0; i != fates.size(); ++i) {
              const fate& f = fates[i];
              ran += static_cast<std::uint64_t>(f.ran());
              e.expect(f.ran() == 1 || was_destroyed[i], "it was neither run nor destroyed");
              e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
            }
            e.expect(ran == begun, "more were run than had begun");
            e.expect(w.wheel.empty(), "a timer is left");
            e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
          });
}

TEST_CASE("What is scheduled while the wheel is shut down is refused or destroyed", "[schedules]") {
  explore("shutdown / schedule / fire", [](exploration& e) {
    fate due;
    fate added;
    fate batch;
    explored_world w;
    w.schedule(10ms, due.note());
    w.pass(10ms);
    const auto refused = [](const auto& schedule) {
      try {
        schedule();
      } catch (const std::system_error& error) {
        return error.code() == kestrel::errc::shut_down;
      }
      return false;
    };
    bool first = false;
    bool second = false;
    w.together(e, {w.run(), w.beside([&] { w.wheel.shutdown(); }), w.beside([&] {
                     first = refused([&] { w.schedule(0ms, added.note()); });
                     second = refused([&] {
                       w.wheel.schedule(kestrel::timer_task::one_shot(1h, batch.note()));
                     });
                   })});
    e.expect(second || !first, "it was shut down, and is not");
    e.expect(!first || added.ran() == 0, "it was refused, and ran");
    e.expect(batch.ran() == 0, "it is not due");
    for (const fate* f : {&due, &added, &batch})
      e.expect(f->ran() <= 1 && f->is_destroyed() && f->is_sound(), "the callable");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}

TEST_CASE("Cancel and postpone know whether the wheel was shut down", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("shutdown / cancel / postpone", [=](exploration& e) {
    fate f;
    fate g;
    fate replacement;
    explored_world w;
    const kestrel::timer_id first = w.schedule(10ms, f.note(), bound);
    const kestrel::timer_id second = w.schedule(10ms, g.note(), bound);
    w.pass(10ms);
    bool cancelled = false;
    bool postponed = false;
    w.together(e, {w.run(), w.beside([&] { w.wheel.shutdown(); }), w.beside([&] {
                     postponed = w.wheel.postpone(second, 1h, replacement.note());
                     cancelled = w.wheel.cancel(first);
                   })});
    e.expect(!(cancelled && f.ran() != 0), "cancel lied");
    e.expect(!(postponed && g.ran() != 0), "postpone lied");
    e.expect(replacement.ran() == 0, "it is not due");
    for (const fate* one : {&f, &g, &replacement})
      e.expect(one->ran() <= 1 && one->is_destroyed() && one->is_sound(), "the callable");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}

TEST_CASE("Two threads shut down one wheel, one of them in a callback", "[schedules]") {
  explore("shutdown / shutdown / fire", [](exploration& e) {
    fate f;
    fate g;
    explored_world w;
    w.schedule(10ms, f.note([&] { w.wheel.shutdown(); }));
    w.schedule(10ms, g.note());
    w.pass(10ms);
    w.together(e, {w.run(), w.run(), w.beside([&] { w.wheel.shutdown(); })});
    for (const fate* one : {&f, &g})
      e.expect(one->ran() <= 1 && one->is_destroyed() && one->is_sound(), "the callable");
  });
}

TEST_CASE("A wheel is destroyed while what it posted is about to run", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore(bound ? "destroy / post to an executor of its own" : "destroy / post",
          [=](exploration& e) {
            std::array<fate, 3> fates;
            explored_world w;
            for (fate& f : fates)
              w.schedule(10ms, f.note(), bound);
            w.schedule(1h, [] {});
            w.pass(10ms);
            w.together(e, {w.run(), w.run(), w.beside([&] { w.made.reset(); })});
            for (const fate& f : fates)
              e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
            e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
          });
}

TEST_CASE("A callback destroys the wheel while another one runs or is about to", "[schedules]") {
  const bool bound = GENERATE(false, true);
  explore("destroy inside a callback / fire", [=](exploration& e) {
    std::array<fate, 3> fates;
    explored_world w;
    w.schedule(10ms, fates[0].note(), bound);
    w.schedule(10ms, fates[1].note([&] { w.made.reset(); }), bound);
    w.schedule(10ms, fates[2].note(), bound);
    w.pass(10ms);
    w.together(e, {w.run(), w.run()});
    e.expect(fates[1].ran() == 1, "the one that destroys the wheel");
    for (const fate& f : fates)
      e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
  });
}

TEST_CASE("A handle is used while its wheel is destroyed and its timer is due", "[schedules]") {
  explore("destroy / cancel by handle / fire", [](exploration& e) {
    fate f;
    fate g;
    explored_world w;
    auto handle = w.wheel.schedule(kestrel::timer_task::one_shot(10ms, f.note()));
    w.wheel.schedule(kestrel::timer_task::one_shot(1h, g.note()));
    w.pass(10ms);
    bool postponed = false;
    bool cancelled = false;
    w.together(e, {w.run(), w.beside([&] { w.made.reset(); }), w.beside([&] {
                     postponed = handle.postpone(1h);
                     cancelled = handle.cancel();
                     handle = {}; // perhaps the last who knows of the wheel
                   })});
    e.expect(!((postponed || cancelled) && f.ran() != 0), "postpone or cancel lied");
    for (const fate* one : {&f, &g})
      e.expect(one->ran() <= 1 && one->is_destroyed() && one->is_sound(), "the callable");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}

TEST_CASE("A context is destroyed while its wheel has handlers in its queue", "[schedules]") {
  // The threads stop after some handlers, as those of a context that is stopped.
  const bool bound = GENERATE(false, true);
  explore("stop / destroy the context", [=](exploration& e) {
    std::array<fate, 3> fates;
    kestrel::timer_id last;
    std::size_t cancelled = 0;
    {
      explored_world w;
      for (fate& f : fates)
        last = w.schedule(10ms, f.note(), bound);
      w.pass(10ms);
      const auto some = [&] {
        w.context.run_one();
        w.context.run_one();
      };
      w.together(e, {some, some, w.beside([&] { cancelled = w.wheel.cancel(last); })});
    }
    std::size_t ran = 0;
    for (const fate& f : fates) {
      ran += static_cast<std::size_t>(f.ran());
      e.expect(f.ran() <= 1 && f.is_destroyed() && f.is_sound(), "the callable");
    }
    e.expect(ran + cancelled <= fates.size(), "cancel lied");
  });
}

TEST_CASE("A timer ends when its executor destroys what it was given", "[schedules]") {
  explore("drop / cancel / fire on another context", [](exploration& e) {
    fate f;
    fate g;
    explored_context other;
    explored_world w;
    const kestrel::timer_id first =
        w.wheel.schedule_after(10ms, asio::bind_executor(other.get_executor(), f.note()));
    w.wheel.schedule_every(10ms, 1h, asio::bind_executor(other.get_executor(), g.note()));
    w.pass(10ms);
    bool cancelled = false;
    other.begin_work();
    w.together(e, {w.run(), [&] { other.drop(); }, w.beside([&] {
                     cancelled = w.wheel.cancel(first);
                     turns::wait([&] { return f.is_destroyed() && g.is_destroyed(); });
                     other.end_work();
                   })});
    e.expect(f.ran() == 0 && g.ran() == 0, "it was dropped, and ran");
    e.expect(f.is_destroyed() && g.is_destroyed() && f.is_sound() && g.is_sound(), "the callables");
    const auto s = w.wheel.stats();
    e.expect(s.fired == 0 && s.cancelled == (cancelled ? 1u : 0u) && s.live == 0, "the count");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for a timer");
  });
}
