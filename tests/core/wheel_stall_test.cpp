// SPDX-License-Identifier: MIT
//
// Catching up after a stall: everything that fell due fires once, in deadline order, at the time it
// was due; the rest keeps its deadlines; and it costs what is due, not what time has passed.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstddef>
#include <limits>
#include <vector>

using namespace kestrel_tests;

namespace {

// Fills a wheel with timers of many delays, payload i due at the i-th time returned.
template <class Wheel>
std::vector<tick> fill(Wheel& wheel) {
  std::vector<tick> due;
  for (int i = 0; i != 500; ++i) {
    const tick delay = 1 + static_cast<tick>(i) * static_cast<tick>(i) * 31 % 30'011;
    due.push_back(wheel.now() + delay);
    wheel.insert(delay, i);
  }
  return due;
}

// The budget that a catch-up takes: one for each entry that is looked at.
template <class Wheel>
std::size_t entries_looked_at(Wheel& wheel, tick to) {
  constexpr std::size_t plenty = std::numeric_limits<std::size_t>::max();
  std::size_t budget = plenty;
  for (kestrel::timer_id id; wheel.claim(to, budget, id) == kestrel::claim_status::due;)
    wheel.cancel(id);
  return plenty - budget;
}

} // namespace

TEST_CASE("After a stall every due timer fires once, in deadline order", "[wheel][stall]") {
  const tick stall = GENERATE(40u, 600u, 7000u, 8'640'000u);
  kestrel::wheel<int> wheel;
  const std::vector<tick> due = fill(wheel);
  std::vector<int> times_fired(due.size(), 0);
  tick last = 0;
  std::size_t wrong = 0;
  wheel.advance(stall, [&](kestrel::timer_id, int i) {
    const auto n = static_cast<std::size_t>(i);
    ++times_fired[n];
    wrong += wheel.now() == due[n] && due[n] >= last ? 0u : 1u;
    last = due[n];
  });
  for (std::size_t i = 0; i != due.size(); ++i)
    wrong += times_fired[i] == (due[i] <= stall ? 1 : 0) ? 0u : 1u;
  CHECK(wrong == 0);
}

TEST_CASE("What was not due in a stall keeps its deadline", "[wheel][stall]") {
  kestrel::wheel<int> stalled;
  kestrel::wheel<int> smooth;
  fill(stalled);
  fill(smooth);
  fired_until(stalled, 12'345);
  for (tick now = 1; now <= 12'345; ++now)
    fired_until(smooth, now);
  CHECK(stalled.size() == smooth.size());
  CHECK(stalled.size() > 100);
  CHECK(fired_until(stalled, 31'000) == fired_until(smooth, 31'000));
}

TEST_CASE("Timers scheduled after a stall count from the time that was reached", "[wheel][stall]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  fired_in(wheel, 7777);
  wheel.insert(5, 2);
  CHECK(fired_in(wheel, 5) == firings{{2, 7782}});
}

TEST_CASE("A callback in a stall that schedules sees the time of its own tick", "[wheel][stall]") {
  kestrel::wheel<int> wheel;
  wheel.insert(10, 0);
  std::vector<tick> fired;
  wheel.advance(105, [&](kestrel::timer_id, int n) {
    fired.push_back(wheel.now());
    wheel.insert(10, n + 1);
  });
  CHECK(fired == std::vector<tick>{10, 20, 30, 40, 50, 60, 70, 80, 90, 100});
  CHECK(wheel.now() == 105);
  CHECK(wheel.next_expiry() == 110u);
}

TEST_CASE("Catching up takes no step per tick", "[wheel][stall]") {
  // At a nanosecond per tick this would take thirty years.
  kestrel::wheel<int> wheel;
  fired_in(wheel, tick{1} << 60);
  CHECK(wheel.now() == tick{1} << 60);
  wheel.insert(tick{1} << 60, 1);
  wheel.insert(3, 2);
  CHECK(fired_in(wheel, tick{1} << 60) == firings{{2, (tick{1} << 60) + 3}, {1, tick{1} << 61}});
}

TEST_CASE("Catching up looks at each timer once per level it passes", "[wheel][stall]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 100; ++i)
    wheel.insert(1 + static_cast<tick>(i), i);
  CHECK(entries_looked_at(wheel, 100'000'000) == 100);
  for (int i = 0; i != 100; ++i)
    wheel.insert(1000 + static_cast<tick>(i), i);
  CHECK(entries_looked_at(wheel, 200'000'000) == 200);
}

TEST_CASE("A timer far away is looked at once when it comes down and once when it fires",
          "[wheel][stall]") {
  kestrel::wheel<int> wheel;
  wheel.insert(1'000'000'000, 1);
  CHECK(entries_looked_at(wheel, 999'999'000) == 0);
  CHECK(entries_looked_at(wheel, 1'000'000'000) == 2);
  CHECK(wheel.empty());
}

TEST_CASE("Time does not go back", "[wheel][stall]") {
  kestrel::wheel<int> wheel;
  wheel.insert(30, 1);
  fired_until(wheel, 20);
  CHECK(fired_until(wheel, 10).empty());
  CHECK(wheel.now() == 20);
  CHECK(fired_until(wheel, 30) == firings{{1, 30}});
}
