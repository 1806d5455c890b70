// SPDX-License-Identifier: MIT
//
// wheel<T> against its model: random operations on many geometries, and properties that relate two
// runs of the same wheel.

#include "wheel_model.hpp"
#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

using namespace kestrel_tests;

namespace {

std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random() >> 56); });
  return bytes;
}

// A run of inserts, postpones and cancels with advances between them. `advance(wheel, to)` decides
// how to get there, and `disturb(wheel)` comes between any two operations.
template <class Wheel, class Advance, class Disturb>
firings scenario(Wheel& wheel, std::uint64_t seed, Advance&& advance, Disturb&& disturb) {
  std::mt19937_64 random(seed);
  const std::array<tick, 5> ranges{5, 130, 700, 9'000, 70'000};
  const auto span = [&] { return random() % ranges[random() % ranges.size()]; };
  std::vector<kestrel::timer_id> ids;
  firings fired;
  for (int i = 0; i != 300; ++i) {
    ids.push_back(wheel.insert(span(), i));
    const kestrel::timer_id any = ids[random() % ids.size()];
    const tick delay = span();
    disturb(wheel);
    switch (random() % 6) {
    case 0:
      wheel.cancel(any);
      break;
    case 1:
      wheel.postpone(any, delay);
      break;
    case 2: {
      const tick to = wheel.now() + delay;
      advance(wheel, to, fired);
      break;
    }
    default:
      break;
    }
  }
  advance(wheel, wheel.now() + 200'000, fired);
  return fired;
}

void one_big_step(auto& wheel, tick to, firings& fired) {
  const firings some = fired_until(wheel, to);
  fired.insert(fired.end(), some.begin(), some.end());
}

constexpr auto undisturbed = [](auto&) {};

} // namespace

TEST_CASE("A wheel does what its model does, whatever the operations", "[differential]") {
  std::mt19937_64 random(20240229);
  for (std::uint64_t run = 0; run != 20'000; ++run) {
    std::vector<std::byte> bytes = random_bytes(random, run % 8 == 0 ? 6'000 : 1'200);
    bytes[0] = static_cast<std::byte>(run % 13);
    INFO("run " << run << ", geometry " << run % 13);
    REQUIRE_NOTHROW(run_operations(bytes));
  }
}

TEMPLATE_TEST_CASE("One big advance fires the same as many small ones", "[differential]",
                   kestrel::static_geometry<>, (kestrel::static_geometry<4, 4, 2>),
                   (kestrel::static_geometry<8, 2, 3>), (kestrel::static_geometry<1, 1, 1>)) {
  for (std::uint64_t seed = 0; seed != 10; ++seed) {
    kestrel::wheel<int, TestType> big;
    kestrel::wheel<int, TestType> small;
    kestrel::wheel<int, TestType> by_events;
    const firings expected = scenario(big, seed, one_big_step<decltype(big)>, undisturbed);
    const firings stepwise = scenario(
        small, seed,
        [](auto& wheel, tick to, firings& fired) {
          for (tick step = 1; wheel.now() < to; step = step % 7 + 1)
            one_big_step(wheel, std::min(to, wheel.now() + step), fired);
        },
        undisturbed);
    const firings eventwise = scenario(
        by_events, seed,
        [](auto& wheel, tick to, firings& fired) {
          while (wheel.now() < to)
            one_big_step(wheel, std::min(to, wheel.next_expiry().value_or(to)), fired);
        },
        undisturbed);
    REQUIRE(expected.size() > 50);
    REQUIRE(stepwise == expected);
    REQUIRE(eventwise == expected);
  }
}

TEMPLATE_TEST_CASE("Timers that are scheduled and cancelled again change nothing for the others",
                   "[differential]", kestrel::static_geometry<>,
                   (kestrel::static_geometry<4, 4, 2>), (kestrel::static_geometry<8, 2, 3>)) {
  for (std::uint64_t seed = 0; seed != 10; ++seed) {
    kestrel::wheel<int, TestType> quiet;
    kestrel::wheel<int, TestType> busy;
    std::mt19937_64 other(seed);
    const firings expected = scenario(quiet, seed, one_big_step<decltype(quiet)>, undisturbed);
    const firings disturbed = scenario(busy, seed, one_big_step<decltype(busy)>, [&](auto& wheel) {
      std::vector<kestrel::timer_id> ids;
      for (int i = 0; i != 40; ++i)
        ids.push_back(wheel.insert(other() % (other() % 2 ? 40 : 9'000), -1));
      for (const kestrel::timer_id id : ids)
        wheel.cancel(id);
    });
    REQUIRE(expected.size() > 50);
    REQUIRE(disturbed == expected);
  }
}
