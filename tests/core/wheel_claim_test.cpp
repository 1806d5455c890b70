// SPDX-License-Identifier: MIT
//
// The interface for owners with a clock and a lock of their own: timers are claimed one by one, on
// a budget, stay cancellable until they are started, and can be filed again without memory.

#include "aging.hpp"
#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

using namespace kestrel_tests;
using kestrel::claim_status;

namespace {

constexpr std::size_t plenty = std::numeric_limits<std::size_t>::max();

template <class Wheel>
claim_status claim(Wheel& wheel, tick to, kestrel::timer_id& id) {
  std::size_t budget = plenty;
  return wheel.claim(to, budget, id);
}

// Claims and finishes everything that is due, `budget` entries at a time, and calls `meanwhile` at
// each pause. Returns the payloads in order.
template <class Wheel, class F>
std::vector<int> finish_on_budget(Wheel& wheel, tick to, std::size_t budget, F&& meanwhile) {
  std::vector<int> fired;
  for (;;) {
    std::size_t left = budget;
    kestrel::timer_id id;
    switch (wheel.claim(to, left, id)) {
    case claim_status::due:
      fired.push_back(*wheel.get(id));
      REQUIRE(wheel.cancel(id));
      break;
    case claim_status::paused:
      REQUIRE(left == 0);
      meanwhile();
      break;
    case claim_status::nothing:
      return fired;
    }
  }
}

} // namespace

TEST_CASE("Claims yield what is due, in order, and then nothing", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 10; ++i)
    wheel.insert(5 + static_cast<tick>(i) * 150, i);
  kestrel::timer_id id;
  CHECK(claim(wheel, 4, id) == claim_status::nothing);
  CHECK(wheel.now() == 4);
  for (int i = 0; i != 6; ++i) {
    REQUIRE(claim(wheel, 800, id) == claim_status::due);
    CHECK(*wheel.get(id) == i);
    CHECK(wheel.now() == 5 + static_cast<tick>(i) * 150);
    CHECK(wheel.check_invariants());
  }
  CHECK(claim(wheel, 800, id) == claim_status::nothing);
  CHECK(wheel.now() == 800);
  CHECK(wheel.size() == 10); // claimed timers are pending until they are started
}

TEST_CASE("What is claimed next can be seen before, and what was cancelled cannot",
          "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 10; ++i)
    ids.push_back(wheel.insert(5, i));
  wheel.insert(6, 10);
  std::vector<int> seen;
  const auto look = [&](std::uint32_t n) {
    wheel.preview(n, [&](const int& payload) { seen.push_back(payload); });
  };
  look(3);
  CHECK(seen.empty()); // nothing is due yet
  wheel.cancel(ids[2]);
  kestrel::timer_id id;
  REQUIRE(claim(wheel, 9, id) == claim_status::due);
  look(3);
  CHECK(seen == std::vector{1, 3});
  wheel.cancel(ids[4]);
  wheel.postpone(ids[5], 100);
  REQUIRE(claim(wheel, 9, id) == claim_status::due);
  REQUIRE(*wheel.get(id) == 1);
  look(3);
  CHECK(seen == std::vector{1, 3});
  REQUIRE(claim(wheel, 9, id) == claim_status::due);
  look(15);
  CHECK(seen == std::vector{1, 3, 5, 6, 7, 8, 9});
}

TEST_CASE("A claimed timer is not claimed again", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  kestrel::timer_id id;
  REQUIRE(claim(wheel, 5, id) == claim_status::due);
  CHECK(claim(wheel, 100'000, id) == claim_status::nothing);
  CHECK(wheel.size() == 1);
  CHECK(wheel.next_wake() == wheel.never);
}

TEST_CASE("Claims go on where their numbers have been used up", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 10; ++i)
    wheel.insert(5, i);
  kestrel::detail::aging::leave_claims(wheel, 4);
  std::vector<std::uint32_t> claims;
  kestrel::timer_id id;
  while (claim(wheel, 5, id) == claim_status::due) {
    CHECK(wheel.check_invariants());
    CHECK(wheel.claim_of(id) != 0);
    claims.push_back(wheel.claim_of(id));
    wheel.rearm(id, 50);
  }
  CHECK(claims.size() == 10);
  std::ranges::sort(claims);
  CHECK(std::ranges::adjacent_find(claims) == claims.end());
  CHECK(fired_until(wheel, 50).size() == 10);
  CHECK(wheel.empty());
}

TEST_CASE("A claimed timer can be cancelled, once", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  kestrel::timer_id id;
  CHECK_FALSE(wheel.has_claims());
  REQUIRE(claim(wheel, 5, id) == claim_status::due);
  CHECK(wheel.has_claims());
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.has_claims());
  CHECK_FALSE(wheel.cancel(id));
  CHECK(wheel.empty());
  CHECK(wheel.stale_entries() == 0);
  CHECK(wheel.check_invariants());
}

TEST_CASE("A claimed timer can be postponed: its owner sees the new deadline and files it again",
          "[wheel][claim]") {
  const tick delay = GENERATE(1u, 2u, 700u, 50'000u);
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  kestrel::timer_id id;
  REQUIRE(claim(wheel, 9, id) == claim_status::due);
  CHECK(wheel.expiry(id) == 5u);
  CHECK(wheel.postpone(id, delay));
  const tick due = wheel.now() + delay;
  CHECK(wheel.expiry(id) == due);
  CHECK(claim(wheel, due - 1, id) == claim_status::nothing);
  wheel.rearm(id, *wheel.expiry(id));
  CHECK(wheel.check_invariants());
  CHECK(wheel.wake_hint() <= due);
  CHECK(fired_until(wheel, due - 1).empty());
  CHECK(fired_until(wheel, due) == firings{{1, due}});
}

TEST_CASE("A claimed timer can be moved to an earlier time too", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(50, 1);
  kestrel::timer_id id;
  REQUIRE(claim(wheel, 50, id) == claim_status::due);
  CHECK(wheel.postpone(id, 30));
  CHECK(wheel.postpone(id, 3));
  CHECK(wheel.postpone_at(id, 7));
  CHECK(wheel.expiry(id) == 7u);
  wheel.rearm(id, 7);
  CHECK(fired_in(wheel, 0) == firings{{1, 50}});
}

TEST_CASE("A timer that is filed again after each claim is periodic without drift",
          "[wheel][claim]") {
  const tick interval = GENERATE(1u, 3u, 690u, 6400u);
  kestrel::wheel<int> wheel;
  const kestrel::timer_id periodic = wheel.insert(17, 1);
  tick due = 17;
  for (int k = 0; k != 200; ++k, due += interval) {
    kestrel::timer_id id;
    REQUIRE(claim(wheel, due - 1, id) == claim_status::nothing);
    REQUIRE(claim(wheel, due, id) == claim_status::due);
    REQUIRE(id == periodic);
    REQUIRE(wheel.now() == due);
    wheel.rearm(id, due + interval);
    REQUIRE(*wheel.get(id) == 1);
  }
  CHECK(wheel.size() == 1);
  CHECK(wheel.stale_entries() == 0);
}

TEST_CASE("Filing a claimed timer again needs no memory", "[wheel][claim]") {
  ledger book;
  kestrel::wheel<int, kestrel::static_geometry<>, ledger_allocator<int>> wheel(
      {}, 0, ledger_allocator<int>(book));
  for (int i = 0; i != 1'000; ++i)
    wheel.insert(5, i);
  book.until_failure = 0;
  for (tick to = 5; to < 20'000; to += 97) {
    std::vector<kestrel::timer_id> claimed;
    for (kestrel::timer_id id; claim(wheel, to, id) == claim_status::due;)
      claimed.push_back(id);
    for (const kestrel::timer_id id : claimed)
      wheel.rearm(id, to + 1 + id.index() * 7 % 900);
  }
  CHECK(wheel.size() == 1'000);
  CHECK(wheel.check_invariants());
}

TEST_CASE("A budget stops a claim after that many entries, and the next one goes on",
          "[wheel][claim]") {
  const std::size_t budget = GENERATE(as<std::size_t>{}, 1, 2, 7, 8, 100);
  kestrel::wheel<int> wheel;
  std::vector<int> expected;
  for (int i = 0; i != 100; ++i) {
    wheel.insert(2'000, i);
    expected.push_back(i);
  }
  std::size_t pauses = 0;
  CHECK(finish_on_budget(wheel, 2'000, budget, [&] {
          ++pauses;
          CHECK(wheel.now() <= 2'000);
          CHECK(wheel.next_wake() <= wheel.now());
          CHECK(wheel.check_invariants());
        }) == expected);
  // 200 entries are looked at: each comes down, in batches, and is then claimed by a call of its
  // own.
  CHECK(pauses >= 100 / budget - 1);
  CHECK(pauses <= 101);
}

TEST_CASE("A budget of nothing does nothing", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  kestrel::timer_id id;
  std::size_t none = 0;
  CHECK(wheel.claim(5, none, id) == claim_status::paused);
  CHECK(wheel.claim(5, none, id) == claim_status::paused);
  CHECK(claim(wheel, 5, id) == claim_status::due);
  CHECK(wheel.claim(5, none, id) == claim_status::nothing);
}

TEST_CASE("Skipping stale entries spends budget too", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 20; ++i)
    ids.push_back(wheel.insert(5, i));
  for (std::size_t i = 0; i != 10; ++i)
    wheel.cancel(ids[i]);
  std::size_t budget = 10;
  kestrel::timer_id id;
  REQUIRE(wheel.stale_entries() == 10);
  CHECK(wheel.claim(5, budget, id) == claim_status::paused);
  CHECK(claim(wheel, 5, id) == claim_status::due);
  CHECK(id == ids[10]);
}

TEST_CASE("What is scheduled during a pause comes after what was there", "[wheel][claim]") {
  const std::size_t budget = GENERATE(as<std::size_t>{}, 1, 2, 3, 5);
  kestrel::wheel<int> wheel;
  std::vector<int> expected;
  int next = 0;
  const auto schedule = [&] {
    expected.push_back(next);
    wheel.insert_at(1010, next++);
  };
  for (int i = 0; i != 30; ++i)
    schedule();
  CHECK(finish_on_budget(wheel, 1010, budget, [&] {
          if (next != 60)
            schedule();
        }) == expected);
  CHECK(expected.size() > 30);
}

TEST_CASE("What is scheduled while a level-1 slot comes down keeps its place in a later turn",
          "[wheel][claim]") {
  // Two turns share the slot of tick 1,000; it comes down for the first at tick 600.
  kestrel::wheel<int> wheel;
  wheel.insert_at(1000, 0);
  wheel.insert_at(1000 + 6400, 1);
  kestrel::timer_id id;
  std::size_t budget = 1;
  CHECK(wheel.claim(600, budget, id) == claim_status::paused);
  wheel.insert_at(1000 + 6400, 2);
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, 10'000) == std::vector{0, 1, 2});
}

TEST_CASE("Moving back and forth while a slot comes down leaves no trail of garbage",
          "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert_at(1000, 0);
  wheel.insert_at(1001, 1);
  kestrel::timer_id id;
  std::size_t budget = 1;
  REQUIRE(wheel.claim(600, budget, id) == claim_status::paused);
  const kestrel::timer_id moved = wheel.insert_at(1002, 2);
  for (int i = 0; i != 10'000; ++i) {
    wheel.postpone_at(moved, 9'000);
    wheel.postpone_at(moved, 1002);
  }
  CHECK(wheel.stale_entries() < 200);
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, 10'000) == std::vector{0, 1, 2});
}

TEST_CASE("During a pause, what is due can still be cancelled and postponed", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 6; ++i)
    ids.push_back(wheel.insert(5, i));
  kestrel::timer_id id;
  std::size_t budget = 1;
  REQUIRE(wheel.claim(5, budget, id) == claim_status::due);
  REQUIRE(wheel.claim(5, budget, id) == claim_status::paused);
  CHECK(wheel.cancel(ids[1]));
  CHECK(wheel.postpone(ids[2], 40));
  CHECK(wheel.postpone_at(ids[3], 2));
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, 44) == std::vector{4, 5, 3});
  CHECK(fired_until(wheel, 45) == firings{{2, 45}});
  CHECK(wheel.cancel(ids[0])); // it was claimed all the while
}

TEST_CASE("A clock that stepped back claims nothing and breaks nothing", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(50, 1);
  wheel.insert(50, 2);
  wheel.insert(60, 3);
  kestrel::timer_id id;
  REQUIRE(claim(wheel, 50, id) == claim_status::due);
  CHECK(wheel.now() == 50);
  // The second timer is due and waits in a tick that the clock has left again.
  CHECK(claim(wheel, 40, id) == claim_status::nothing);
  CHECK(wheel.now() == 50);
  CHECK(wheel.next_wake() <= 50);
  wheel.insert_at(45, 4);
  CHECK(wheel.check_invariants());
  CHECK(claim(wheel, 0, id) == claim_status::nothing);
  CHECK(payloads_until(wheel, 70) == std::vector{2, 4, 3});
}

TEST_CASE("A wheel that has slept is told the time, as far as nothing is to do", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(6'000, 1);
  CHECK(wheel.next_wake() == 5'600); // when its slot comes down
  wheel.skip_to(50);
  CHECK(wheel.now() <= 50);
  wheel.skip_to(5'599);
  CHECK(wheel.now() == 5'599);
  CHECK(wheel.check_invariants());
  wheel.insert(20, 2);
  CHECK(wheel.next_expiry() == 5'600u);
  wheel.skip_to(9'000); // not past what is to do
  wheel.skip_to(3);     // nor back
  CHECK(wheel.now() == 5'599);
  CHECK(fired_in(wheel, 10'000) == firings{{2, 5'619}, {1, 6'000}});
}

TEST_CASE("A postponed timer's payload can be changed along with it", "[wheel][claim]") {
  kestrel::wheel<std::shared_ptr<int>> wheel;
  const auto first = std::make_shared<int>(1);
  const auto second = std::make_shared<int>(2);
  const tick to = GENERATE(20u, 700u, 5'000u);
  const kestrel::timer_id id = wheel.insert(700, first);
  CHECK(wheel.postpone_at(id, to, [&](std::shared_ptr<int>& p) { p = second; }));
  CHECK(first.use_count() == 1);
  CHECK(second.use_count() == 2);
  int value = 0;
  wheel.advance_to(to - 1, [&](kestrel::timer_id, std::shared_ptr<int>&) { value = -1; });
  CHECK(value == 0);
  wheel.advance_to(to, [&](kestrel::timer_id, std::shared_ptr<int>& p) { value = *p; });
  CHECK(value == 2);
  CHECK(second.use_count() == 1);
  CHECK_FALSE(wheel.postpone_at(id, 9'000, [&](std::shared_ptr<int>&) { value = -1; }));
  CHECK(value == 2);
}

TEST_CASE("The wake hint is never too late, and exact after next_wake", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  CHECK(wheel.wake_hint() == wheel.never);
  CHECK(wheel.next_wake() == wheel.never);
  wheel.insert(400, 1);
  CHECK(wheel.wake_hint() == 400);
  const kestrel::timer_id near = wheel.insert(30, 2);
  CHECK(wheel.wake_hint() == 30);
  wheel.cancel(near);
  CHECK(wheel.wake_hint() == 30); // a lower bound
  CHECK(wheel.next_wake() == 400);
  CHECK(wheel.wake_hint() == 400);
  const kestrel::timer_id far = wheel.insert(5000, 3);
  CHECK(wheel.wake_hint() == 400);
  CHECK(wheel.postpone(far, 7));
  CHECK(wheel.wake_hint() == 7);
  CHECK(wheel.next_wake() == 7);
}

TEST_CASE("Timers of level 1 wake their owner in time", "[wheel][claim]") {
  kestrel::wheel<int> wheel;
  wheel.insert(1234, 1);
  CHECK(wheel.wake_hint() <= 1234);
  CHECK(wheel.next_wake() == 800); // when its slot comes down
  fired_until(wheel, 800);
  CHECK(wheel.next_wake() == 1234);
  fired_until(wheel, 1234);
  CHECK(wheel.next_wake() == wheel.never);
}

TEST_CASE("Deadlines between two ticks are kept to the unit: never early, less than a tick late",
          "[wheel][claim]") {
  kestrel::wheel<tick, kestrel::static_geometry<512, 64, 100, 10>> wheel({}, 500);
  CHECK(wheel.now() == 500);
  std::vector<kestrel::timer_id> ids;
  for (tick deadline = 501; deadline < 80'000; deadline += 1 + deadline / 300)
    ids.push_back(wheel.insert_at(deadline, deadline));
  std::size_t wrong = 0;
  tick last = 0;
  wheel.advance_to(90'000, [&](kestrel::timer_id, tick deadline) {
    wrong +=
        wheel.now() >= deadline && wheel.now() - deadline < 10 && wheel.now() % 10 == 0 ? 0u : 1u;
    wrong += wheel.now() >= last ? 0u : 1u;
    last = wheel.now();
  });
  CHECK(wrong == 0);
  CHECK(wheel.empty());
  CHECK(ids.size() > 1'000);
}

TEST_CASE("expiry tells a deadline between two ticks as it was asked for", "[wheel][claim]") {
  kestrel::wheel<int, kestrel::static_geometry<512, 64, 100, 10>> wheel;
  const kestrel::timer_id id = wheel.insert(123, 1);
  CHECK(wheel.expiry(id) == 123u);
  CHECK(wheel.next_expiry() == 130u);
  CHECK(fired_until(wheel, 129).empty());
  CHECK(wheel.now() == 129);
  CHECK(wheel.postpone(id, 8));
  CHECK(wheel.expiry(id) == 137u);
  CHECK(fired_until(wheel, 139).empty());
  CHECK(fired_until(wheel, 140) == firings{{1, 140}});
}

TEST_CASE("Time between two ticks is kept, and delays count from it", "[wheel][claim]") {
  kestrel::wheel<int, kestrel::static_geometry<512, 64, 100, 10>> wheel;
  fired_until(wheel, 17);
  const kestrel::timer_id id = wheel.insert(4, 1);
  CHECK(wheel.expiry(id) == 21u);
  CHECK(wheel.next_expiry() == 30u);
  CHECK(fired_until(wheel, 29).empty());
  CHECK(fired_until(wheel, 30) == firings{{1, 30}});
}

TEST_CASE("With a tick of many units, saturated deadlines are harmless", "[wheel][claim]") {
  kestrel::wheel<int, kestrel::dynamic_geometry> wheel;
  const kestrel::timer_id id = wheel.insert(wheel.never, 1);
  CHECK(wheel.expiry(id) == wheel.never - wheel.geometry().granularity());
  CHECK(wheel.check_invariants());
  wheel.insert(25'000'000, 2);
  CHECK(fired_until(wheel, tick{1} << 63) == firings{{2, 30'000'000}});
  CHECK(wheel.postpone_at(id, (tick{1} << 63) + 1));
  CHECK(fired_in(wheel, 9'999'999).size() + fired_in(wheel, 1).size() == 1);
}
