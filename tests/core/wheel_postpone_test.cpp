// SPDX-License-Identifier: MIT
//
// postpone() moves a pending timer, later or earlier, as often as one likes: the old deadline does
// not fire, the new one does, on its tick.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <vector>

using namespace kestrel_tests;

TEST_CASE("A postponed timer fires once, at its new deadline", "[wheel][postpone]") {
  const tick from = GENERATE(2u, 99u, 511u, 600u, 6500u, 20'000u);
  const tick to = GENERATE(1u, 2u, 3u, 100u, 511u, 512u, 601u, 6400u, 19'999u, 20'001u, 50'000u);
  const tick phase = GENERATE(0u, 57u);
  kestrel::wheel<int> wheel;
  fired_in(wheel, phase);
  const kestrel::timer_id id = wheel.insert(from, 1);
  CHECK(wheel.postpone(id, to));
  CHECK(wheel.expiry(id) == phase + to);
  CHECK(wheel.check_invariants());
  CHECK(fired_in(wheel, 100'000) == firings{{1, phase + to}});
}

TEST_CASE("A postponed delay counts from now, and zero is one tick", "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(50, 1);
  fired_in(wheel, 30);
  CHECK(wheel.postpone(id, 50));
  CHECK(fired_in(wheel, 49).empty());
  CHECK(wheel.postpone(id, 0));
  CHECK(fired_in(wheel, 0).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, 80}});
}

TEST_CASE("A timer that was moved into the past is due at once", "[wheel][postpone]") {
  const tick old = GENERATE(150u, 800u);
  kestrel::wheel<int> wheel;
  fired_in(wheel, 100);
  const kestrel::timer_id id = wheel.insert_at(old, 1);
  CHECK(wheel.postpone_at(id, 7));
  CHECK(wheel.expiry(id) == 7u);
  CHECK(wheel.check_invariants());
  CHECK(fired_in(wheel, 0) == firings{{1, 100}});
}

TEST_CASE("A timer that fired, was cancelled or never was cannot be postponed",
          "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id fired = wheel.insert(1, 1);
  const kestrel::timer_id cancelled = wheel.insert(9, 2);
  fired_in(wheel, 1);
  wheel.cancel(cancelled);
  CHECK_FALSE(wheel.postpone(fired, 5));
  CHECK_FALSE(wheel.postpone(cancelled, 5));
  CHECK_FALSE(wheel.postpone(kestrel::timer_id{}, 5));
  CHECK_FALSE(wheel.postpone_at(kestrel::timer_id(12345, 1), 5));
  CHECK(fired_in(wheel, 100).empty());
}

TEST_CASE("An idle timeout that is reset ten thousand times never fires before its time",
          "[wheel][postpone]") {
  const tick timeout = GENERATE(3u, 300u, 3000u);
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(timeout, 1);
  firings fired;
  for (int i = 0; i != 10'000; ++i) {
    const firings now = fired_in(wheel, 1);
    fired.insert(fired.end(), now.begin(), now.end());
    wheel.postpone(id, timeout);
  }
  CHECK(fired.empty());
  CHECK(wheel.stale_entries() == 0);
  CHECK(fired_in(wheel, timeout - 1).empty());
  CHECK(fired_in(wheel, 1) == firings{{1, 10'000 + timeout}});
}

TEST_CASE("Moving back and forth leaves no trail of garbage", "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(10, 1);
  for (int i = 0; i != 10'000; ++i) {
    wheel.postpone(id, 900'000);
    wheel.postpone(id, 5 + static_cast<tick>(i) % 4000);
    REQUIRE(wheel.stale_entries() <= 600 * 16);
  }
  CHECK(wheel.check_invariants());
  CHECK(wheel.postpone(id, 5));
  CHECK(fired_in(wheel, 1'000'000) == firings{{1, 5}});
  CHECK(wheel.stale_entries() == 0);
}

TEST_CASE("Moving earlier moves the next expiry forward, moving later never delays another timer",
          "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(5000, 1);
  wheel.insert(300, 2);
  CHECK(wheel.next_expiry() == 300u);
  wheel.postpone(id, 20);
  CHECK(wheel.next_expiry() == 20u);
  wheel.postpone(id, 70'000);
  CHECK(wheel.next_expiry() <= 300u);
  CHECK(fired_in(wheel, 300) == firings{{2, 300}});
  CHECK(fired_in(wheel, 70'000) == firings{{1, 70'000}});
}

TEST_CASE("A timer stays the same timer when it is postponed", "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(700, 1);
  const int* payload = wheel.get(id);
  for (const tick delay : {5000u, 20u, 6u, 90'000u, 600u})
    CHECK(wheel.postpone(id, delay));
  CHECK(wheel.get(id) == payload);
  CHECK(wheel.size() == 1);
  CHECK(wheel.cancel(id));
  CHECK(wheel.next_expiry() == std::nullopt);
  CHECK(fired_in(wheel, 100'000).empty());
}

TEST_CASE("The tick-mates of a postponed timer keep their order", "[wheel][postpone]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 30; ++i)
    ids.push_back(wheel.insert(400, i));
  for (std::size_t i = 0; i < ids.size(); i += 3) {
    wheel.postpone(ids[i], 450);
    wheel.postpone(ids[i], 400);
  }
  std::vector<int> mates = payloads_until(wheel, 400);
  CHECK(mates.size() == 30);
  std::erase_if(mates, [](int i) { return i % 3 == 0; });
  std::vector<int> expected;
  for (int i = 0; i != 30; ++i) {
    if (i % 3 != 0)
      expected.push_back(i);
  }
  CHECK(mates == expected);
}
