// SPDX-License-Identifier: MIT
//
// What those see who look at the slots: each timer in the one where it is filed, and the hands.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

std::size_t sum(const std::vector<std::uint32_t>& timers) {
  return std::accumulate(timers.begin(), timers.end(), std::size_t{0});
}

template <class Wheel>
std::size_t in_level_0(const Wheel& wheel) {
  return sum(wheel.occupancy().l0.timers);
}

template <class Wheel>
std::size_t in_level_1(const Wheel& wheel) {
  return sum(wheel.occupancy().l1.timers);
}

} // namespace

TEST_CASE("An empty wheel has all its slots, and nothing in them", "[wheel][occupancy]") {
  const kestrel::wheel<int> wheel;
  const kestrel::wheel_occupancy seen = wheel.occupancy();
  CHECK(seen.l0.timers == std::vector<std::uint32_t>(512, 0));
  CHECK(seen.l1.timers == std::vector<std::uint32_t>(64, 0));
  CHECK(seen.l0.hand == 0);
  CHECK(seen.l1.hand == 0);
}

TEST_CASE("The hands are where the present is", "[wheel][occupancy]") {
  const auto [now, l0, l1] = GENERATE(table<tick, std::size_t, std::size_t>(
      {{1, 1, 0}, {99, 99, 0}, {100, 100, 1}, {511, 511, 5}, {512, 0, 5}, {6'400, 256, 0}}));
  kestrel::wheel<int> wheel;
  fired_until(wheel, now);
  CHECK(wheel.occupancy().l0.hand == l0);
  CHECK(wheel.occupancy().l1.hand == l1);
}

TEST_CASE("Each timer is seen in its slot", "[wheel][occupancy]") {
  kestrel::wheel<int> wheel;
  fired_until(wheel, 300);
  for (int i = 0; i != 7; ++i)
    wheel.insert(20, i);
  wheel.insert(300, 0);
  for (int i = 0; i != 5; ++i)
    wheel.insert_at(4'200 + static_cast<tick>(i), i);
  const kestrel::wheel_occupancy seen = wheel.occupancy();
  CHECK(seen.l0.timers[320] == 7);
  CHECK(seen.l0.timers[600 - 512] == 1);
  CHECK(seen.l1.timers[42] == 5);
  CHECK(sum(seen.l0.timers) == 8);
  CHECK(sum(seen.l1.timers) == 5);
}

TEST_CASE("A level-1 slot is seen to come down when all of it fits into level 0",
          "[wheel][occupancy]") {
  kestrel::wheel<int> wheel;
  wheel.insert_at(1'042, 1);
  fired_until(wheel, 599);
  CHECK(wheel.occupancy().l1.timers[10] == 1);
  CHECK(wheel.occupancy().l1.hand == 10 - 512 / 100); // and therefore the next one to come down
  fired_until(wheel, 600);
  CHECK(in_level_1(wheel) == 0);
  CHECK(wheel.occupancy().l0.timers[1'042 % 512] == 1);
}

TEST_CASE("A cancelled timer is seen no more, and a postponed one where it was filed",
          "[wheel][occupancy]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id cancelled = wheel.insert(20, 1);
  const kestrel::timer_id postponed = wheel.insert(20, 2);
  wheel.insert(20, 3);
  wheel.cancel(cancelled);
  wheel.postpone(postponed, 40);
  CHECK(wheel.occupancy().l0.timers[20] == 2);
  fired_until(wheel, 20);
  CHECK(wheel.occupancy().l0.timers[20] == 0);
  CHECK(wheel.occupancy().l0.timers[40] == 1);
  wheel.postpone(postponed, 10);
  CHECK(wheel.occupancy().l0.timers[40] == 0);
  CHECK(wheel.occupancy().l0.timers[30] == 1);
}

TEST_CASE("What is being fired is in no slot", "[wheel][occupancy]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 40; ++i)
    wheel.insert(20, i);
  wheel.insert(21, 0);
  std::size_t fired = 0;
  wheel.advance(20, [&](kestrel::timer_id, int) {
    ++fired;
    CHECK(in_level_0(wheel) == 1);
  });
  CHECK(fired == 40);
}

TEST_CASE("Between two advances, every timer is in one slot", "[wheel][occupancy]") {
  kestrel::wheel<int, kestrel::static_geometry<8, 4, 4>> wheel;
  std::vector<kestrel::timer_id> ids;
  std::mt19937 random(5);
  for (int step = 0; step != 5'000; ++step) {
    ids.push_back(wheel.insert(random() % 100, step));
    wheel.cancel(ids[random() % ids.size()]);
    wheel.postpone(ids[random() % ids.size()], random() % 100);
    fired_in(wheel, random() % 4);
    REQUIRE(in_level_0(wheel) + in_level_1(wheel) == wheel.size());
  }
  CHECK(wheel.size() > 10);
}

TEST_CASE("A wheel whose timers were moved away has no slots", "[wheel][occupancy]") {
  kestrel::wheel<int> wheel;
  wheel.insert(1, 1);
  const kestrel::wheel<int> other = std::move(wheel);
  CHECK(in_level_0(other) == 1);
  CHECK(wheel.occupancy().l0.timers.empty());
}
