// SPDX-License-Identifier: MIT
//
// Whichever allocation fails in whichever operation of a wheel, it is as if the operation had not
// been tried. With the memory back, it does what it does elsewhere.

#include "shortage.hpp"

#include <kestrel/testing.hpp>
#include <kestrel/use_wheel.hpp>

#include <catch.hpp>

using namespace kestrel_tests;

TEMPLATE_TEST_CASE("Scheduling that runs out of memory was never tried", "[memory][exceptions]",
                   KESTREL_TESTS_CALLABLES) {
  SECTION("after a delay") {
    whichever_allocation_fails([](scene& s) { s.wheel.schedule_after(15ms, TestType::of(s, 5)); });
  }
  SECTION("at a time, later than those there are") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.schedule_at(manual_clock::start + 1200ms, TestType::of(s, 5)); });
  }
  SECTION("periodically") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.schedule_every(15ms, 700ms, TestType::of(s, 5)); });
  }
  SECTION("a task") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.schedule(kestrel::timer_task::one_shot(15ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("a task in a slot") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.schedule(s.wheel.allocate(),
                             kestrel::timer_task::periodic(15ms, 700ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("a batch") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.schedule(tasks_of<TestType>(s)); }) >
          0);
  }
  SECTION("a batch in slots") {
    CHECK(whichever_allocation_fails([](scene& s) {
            auto tasks = tasks_of<TestType>(s);
            s.wheel.schedule(s.wheel.allocate(tasks.size()), tasks);
          }) > 0);
  }
}

TEMPLATE_TEST_CASE("Replacing a callback that runs out of memory was never tried",
                   "[memory][exceptions]", KESTREL_TESTS_CALLABLES) {
  SECTION("of a one-shot timer, earlier") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone(s.one_shot, 15ms, TestType::of(s, 5)); });
  }
  SECTION("of a one-shot timer, later") {
    whichever_allocation_fails([](scene& s) {
      s.wheel.postpone_at(s.one_shot, manual_clock::start + 1300ms, TestType::of(s, 5));
    });
  }
  SECTION("of a periodic timer") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone(s.periodic, 15ms, TestType::of(s, 5)); });
  }
  SECTION("of several") {
    using callable = decltype(TestType::of(std::declval<scene&>(), 5));
    whichever_allocation_fails([](scene& s) {
      std::vector<std::tuple<kestrel::timer_id, manual_clock::duration, callable>> moves;
      moves.emplace_back(s.one_shot, 15ms, TestType::of(s, 5));
      moves.emplace_back(s.periodic, 25ms, TestType::of(s, 6));
      s.wheel.postpone(std::move(moves));
    });
  }
}

TEST_CASE("Postponing, cancelling or making room without memory was never tried",
          "[memory][exceptions]") {
  SECTION("postponing") {
    whichever_allocation_fails([](scene& s) { s.wheel.postpone(s.one_shot, 15ms); });
  }
  SECTION("postponing to a time") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone_at(s.one_shot, manual_clock::start + 15ms); });
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone_at(s.periodic, manual_clock::start + 1300ms); });
  }
  SECTION("postponing several") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.postpone({{s.one_shot, 15ms}, {s.periodic, 1500ms}});
          }) > 0);
  }
  SECTION("cancelling one needs none") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.cancel(s.one_shot);
            s.wheel.cancel(s.periodic);
          }) == 0);
  }
  SECTION("cancelling several") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.cancel({s.one_shot, s.periodic});
          }) > 0);
  }
  SECTION("slots that are not used") {
    CHECK(whichever_allocation_fails([](scene& s) { static_cast<void>(s.wheel.allocate(700)); }) >
          0);
  }
  SECTION("reserving") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.reserve(3000); }) > 0);
  }
  SECTION("setting a limit needs none, and a timer beyond it is refused as well") {
    int refused = 0;
    whichever_allocation_fails([&refused](scene& s) {
      s.wheel.limit(s.wheel.size());
      try {
        s.wheel.schedule_after(15ms, s.note(5));
      } catch (const std::system_error& e) {
        refused += e.code() == kestrel::errc::too_many_timers ? 1 : 0;
      }
    });
    CHECK(refused > 0);
  }
  SECTION("shutting down needs none") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.shutdown(); }) == 0);
  }
}

namespace {

struct two_wheels : scene {
  using scene::scene;

  std::optional<manual_wheel> other;
};

} // namespace

TEST_CASE("A wheel for which there is no memory is not made", "[memory][exceptions]") {
  CHECK(whichever_allocation_fails<two_wheels>([](two_wheels& s) {
          s.other.emplace(s.io);
          s.other->schedule_after(15ms, s.note(5));
        }) > 3);
}

TEST_CASE("The first wheel of a context may fail to be made, and the next one is",
          "[memory][exceptions]") {
  const at_start clock;
  int n = 0;
  for (bool failed = true; failed; ++n) {
    const long blocks = live_blocks;
    {
      asio::io_context io;
      std::optional<manual_wheel> wheel;
      const shortage memory(n, [&] { wheel.emplace(io); });
      failed = memory.failed;
      CHECK(memory.thrown == failed);
      CHECK(wheel.has_value() != failed);
      wheel.emplace(io);
      bool fired = false;
      wheel->schedule_after(10ms, [&] { fired = true; });
      stall(io, 20ms);
      CHECK(fired);
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(n > 5);
}

TEST_CASE("The wheel that a context shares may fail to be made, and is when it is asked for again",
          "[memory][exceptions][steady_timer]") {
  CHECK(whichever_allocation_fails([](scene& s) {
          kestrel::use_wheel<manual_clock>(s.io, kestrel::wheel_config::network_timeouts());
        }) > 3);
}

TEST_CASE("What is made under virtual time when memory is short is made when it is not",
          "[memory][exceptions][testing]") {
  int n = 0;
  for (bool failed = true; failed; ++n) {
    const long blocks = live_blocks;
    {
      asio::io_context io;
      std::optional<kestrel::testing::virtual_time> time;
      std::optional<kestrel::timer_wheel> wheel;
      std::array<int, 2> fired{};
      kestrel::timer_id id;
      const auto each = [&](auto step) {
        const shortage memory(n, step);
        failed |= memory.failed;
        if (memory.thrown)
          step();
      };
      failed = false;
      each([&] { time.emplace(io); });
      each([&] { wheel.emplace(io); });
      each([&] { wheel->schedule_every(100ms, 100ms, [&] { ++fired[1]; }); });
      each([&] { id = wheel->schedule_after(1s, [&] { ++fired[0]; }); });
      wheel->postpone(id, 10ms);
      time->advance(2s);
      CHECK(fired == std::array{1, 20});
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(n > 5);
}
