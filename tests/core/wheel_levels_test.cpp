// SPDX-License-Identifier: MIT
//
// Coming down from level 1: a timer keeps its exact tick and its place among its tick-mates, and
// can be cancelled and postponed at any moment of the way.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <vector>

using namespace kestrel_tests;

TEST_CASE("A timer parked in level 1 keeps its ticks", "[wheel][levels]") {
  // 5,999 ms in ticks of 10 ms, rounded up; and its neighbours.
  const tick delay = GENERATE(598u, 599u, 600u, 601u, 699u, 6399u);
  const tick phase = GENERATE(0u, 1u, 55u, 99u, 100u);
  kestrel::wheel<int> wheel;
  fired_in(wheel, phase);
  wheel.insert(delay, 1);
  CHECK(fired_in(wheel, delay - 1).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, phase + delay}});
}

TEST_CASE("All hundred residues of one level-1 slot fire each on its own tick", "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  firings expected;
  for (int i = 99; i >= 0; --i)
    wheel.insert_at(4200 + static_cast<tick>(i), i);
  for (int i = 0; i != 100; ++i)
    expected.push_back({i, 4200 + static_cast<tick>(i)});
  CHECK(fired_until(wheel, 5000) == expected);
}

TEST_CASE("A timer that comes down onto the tick being fired fires now", "[wheel][levels]") {
  // With level 0 exactly one level-1 slot long, a slot comes down on its own first tick.
  kestrel::wheel<int, kestrel::static_geometry<4, 2, 4>> wheel;
  wheel.insert_at(8, 8);
  wheel.insert_at(9, 9);
  wheel.insert_at(16, 16);
  CHECK(fired_until(wheel, 8) == firings{{8, 8}});
  CHECK(fired_until(wheel, 16) == firings{{9, 9}, {16, 16}});
}

TEST_CASE("Timers of one tick fire in the order of scheduling, whichever level each came through",
          "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  std::vector<int> expected;
  int next = 0;
  // 5,010 is first beyond level 0, then comes down at tick 4,600, then is within reach.
  for (const tick now : {0u, 1u, 3000u, 4509u, 4510u, 4511u, 4599u, 4600u, 4601u, 5000u, 5009u}) {
    fired_until(wheel, now);
    for (int i = 0; i != 3; ++i) {
      expected.push_back(next);
      wheel.insert_at(5010, next++);
    }
  }
  CHECK(payloads_until(wheel, 5010) == expected);
}

TEST_CASE("The order holds for timers several turns of level 1 away", "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  std::vector<int> expected;
  int next = 0;
  for (tick now = 0; now < 20'000; now += 333) {
    CHECK(payloads_until(wheel, now).empty());
    wheel.insert_at(20'050, next);
    expected.push_back(next++);
    wheel.cancel(wheel.insert_at(20'050 % 6400 + now, -1));
  }
  CHECK(payloads_until(wheel, 20'050) == expected);
}

TEST_CASE("The order holds when timers are cancelled around those that stay", "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  std::vector<int> expected;
  for (int i = 0; i != 1000; ++i) {
    const kestrel::timer_id id = wheel.insert_at(3000, i);
    if (i % 13 == 0)
      expected.push_back(i);
    else
      wheel.cancel(id);
  }
  CHECK(wheel.stale_entries() < 3 * expected.size() + 20);
  CHECK(payloads_until(wheel, 3000) == expected);
}

TEST_CASE("Cancelling works just before, at and after coming down", "[wheel][levels]") {
  // Level 0 reaches five level-1 slots ahead: tick 5,010 comes down at 4,600.
  const tick moment = GENERATE(4599u, 4600u, 4601u, 5009u);
  kestrel::wheel<int> wheel;
  const kestrel::timer_id cancelled = wheel.insert_at(5010, 1);
  wheel.insert_at(5010, 2);
  CHECK(fired_until(wheel, moment).empty());
  CHECK(wheel.cancel(cancelled));
  CHECK(wheel.check_invariants());
  CHECK(fired_until(wheel, 6000) == firings{{2, 5010}});
}

TEST_CASE("Postponing works just before, at and after coming down", "[wheel][levels]") {
  const tick moment = GENERATE(4599u, 4600u, 4601u, 5008u);
  const tick target = GENERATE(5009u, 5010u, 5011u, 5099u, 5100u, 5522u, 9000u, 30'000u);
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert_at(5010, 1);
  wheel.insert_at(5010, 2);
  CHECK(fired_until(wheel, moment).empty());
  CHECK(wheel.postpone_at(id, target));
  CHECK(wheel.check_invariants());
  CHECK(fired_until(wheel, target - 1) == (target - 1 >= 5010 ? firings{{2, 5010}} : firings{}));
  const firings last = fired_until(wheel, target);
  REQUIRE(!last.empty());
  CHECK(last.front() == firing{1, target});
  fired_until(wheel, 40'000);
  CHECK(wheel.empty());
}

TEST_CASE("A level-1 slot that only holds later turns is not looked at before", "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  wheel.insert(10 * 6400 + 1234, 1);
  // From now to its coming down, there is nothing to do.
  CHECK(wheel.next_expiry() == 10 * 6400 + 1200 - 400);
  CHECK(fired_until(wheel, 10 * 6400 + 1233).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, 10 * 6400 + 1234}});
}

TEST_CASE("The turns that share a level-1 slot fire each in its own turn", "[wheel][levels]") {
  kestrel::wheel<int> wheel;
  firings expected;
  for (int turn = 20; turn >= 0; --turn)
    wheel.insert_at(1234 + 6400 * static_cast<tick>(turn), turn);
  for (int turn = 0; turn <= 20; ++turn)
    expected.push_back({turn, 1234 + 6400 * static_cast<tick>(turn)});
  CHECK(fired_until(wheel, 6400 * 30) == expected);
}
