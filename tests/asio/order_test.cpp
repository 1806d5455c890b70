// SPDX-License-Identifier: MIT
//
// The order of firing: timers of one tick run in the order they were scheduled, whichever level
// they came through; after a stall, everything that fell due runs once, in deadline order.

#include "manual_clock.hpp"

#include <catch.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <random>
#include <vector>

using namespace kestrel_tests;

TEMPLATE_TEST_CASE("Timers of one tick run in the order of scheduling, whichever level they took",
                   "[order]", manual_traits, tiny_traits, static_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  journal ran;
  const auto due = manual_clock::start +
                   GENERATE(as<manual_clock::duration>{}, 130s, 65s, 64s, 5'999ms, 6s, 310ms, 40ms);
  const auto step = GENERATE(as<manual_clock::duration>{}, 10ms, 70ms, 1s, 3s);
  int n = 0;
  while (manual_clock::now() < due) {
    for (int i = 0; i != 3; ++i, ++n)
      wheel.schedule_at(due - i * 3ms, ran.note(n)); // all of the same tick
    if (manual_clock::now() + step < due)
      stall(io, step);
    else
      stall(io, due - manual_clock::now());
  }
  stall(io, tick_after(due, manual_clock::start) - manual_clock::now());
  REQUIRE(ran.size() == static_cast<std::size_t>(n));
  for (int i = 0; i != n; ++i)
    CHECK(ran[static_cast<std::size_t>(i)].label == i);
}

TEMPLATE_TEST_CASE("After a stall, what fell due runs once, in deadline order", "[order][stall]",
                   manual_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  const auto length = GENERATE(as<manual_clock::duration>{}, 400ms, 6s, 70s, 24h);
  struct planned {
    std::int64_t tick;
    int label; // counts up in the order of scheduling
    auto operator<=>(const planned&) const = default;
  };
  std::vector<planned> expected;
  journal ran;
  journal later;
  std::mt19937_64 random(7);
  for (int i = 0; i != 2000; ++i) {
    const manual_clock::duration delay(static_cast<std::int64_t>(
        random() % static_cast<std::uint64_t>(2 * manual_clock::duration(length).count())));
    const auto due = tick_after(manual_clock::start + delay, manual_clock::start);
    const bool falls_due = due <= manual_clock::start + length;
    if (falls_due)
      expected.push_back({(due - manual_clock::start) / tick, i});
    wheel.schedule_after(delay, falls_due ? ran.note(i) : later.note(i));
  }
  std::sort(expected.begin(), expected.end());
  stall(io, length);
  REQUIRE(ran.size() == expected.size());
  CHECK(later.empty());
  for (std::size_t i = 0; i != ran.size(); ++i)
    REQUIRE(ran[i].label == expected[i].label);
  // The others keep their deadlines.
  CHECK(wheel.size() == 2000 - expected.size());
  const std::size_t rest = wheel.size();
  stall(io, length + tick);
  CHECK(later.size() == rest);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "What is due at once comes after what was due before it", "[order]") {
  journal ran;
  wheel.schedule_after(10ms, ran.note(1));
  wheel.schedule_after(20ms, ran.note(2));
  manual_clock::advance(25ms);
  wheel.schedule_after(0ms, ran.note(3));
  wheel.schedule_after(-1h, ran.note(4));
  settle(io);
  CHECK(ran.labels() == std::vector{1, 2, 3, 4});
}

TEST_CASE_METHOD(one_wheel, "A wheel can be a day behind and catch up in one go",
                 "[order][stall]") {
  int ran = 0;
  for (int i = 0; i != 24; ++i)
    wheel.schedule_after(i * 1h, [&ran] { ++ran; });
  stall(io, 24h * 365);
  CHECK(ran == 24);
  CHECK(wheel.empty());
  CHECK(wheel.stats().wakeups <= 3);
}
