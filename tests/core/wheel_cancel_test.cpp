// SPDX-License-Identifier: MIT
//
// cancel() tells the truth: true means the timer was pending and will not fire.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

using namespace kestrel_tests;

TEST_CASE("A cancelled timer does not fire", "[wheel][cancel]") {
  const tick delay = GENERATE(1u, 511u, 600u, 7000u);
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(delay, 1);
  CHECK(wheel.cancel(id));
  CHECK(wheel.empty());
  CHECK(wheel.get(id) == nullptr);
  CHECK(wheel.expiry(id) == std::nullopt);
  CHECK(fired_in(wheel, 10'000).empty());
}

TEST_CASE("Cancelling twice is false the second time", "[wheel][cancel]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(5, 1);
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.cancel(id));
}

TEST_CASE("Cancelling after firing is false", "[wheel][cancel]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(5, 1);
  fired_in(wheel, 5);
  CHECK_FALSE(wheel.cancel(id));
}

TEST_CASE("The first, the middle and the last timer of a slot can be cancelled",
          "[wheel][cancel]") {
  const int victim = GENERATE(0, 1, 6, 7, 13, 14, 20);
  const tick due = GENERATE(30u, 3000u);
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  std::vector<int> expected;
  for (int i = 0; i != 21; ++i) {
    ids.push_back(wheel.insert_at(due, i));
    if (i != victim)
      expected.push_back(i);
  }
  CHECK(wheel.cancel(ids[static_cast<std::size_t>(victim)]));
  CHECK(wheel.size() == 20);
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, due) == expected);
}

TEST_CASE("When the last timer is cancelled, nothing is left to wake up for", "[wheel][cancel]") {
  const tick due = GENERATE(1u, 400u, 600u, 70'000u);
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 50; ++i)
    ids.push_back(wheel.insert_at(due, i));
  for (const kestrel::timer_id id : ids) {
    CHECK(wheel.next_expiry().has_value());
    CHECK(wheel.cancel(id));
  }
  CHECK(wheel.next_expiry() == std::nullopt);
  CHECK(wheel.next_wake() == wheel.never);
  CHECK(wheel.stale_entries() == 0);
}

TEST_CASE("However many are cancelled before anybody asks, none of them is waited for",
          "[wheel][cancel]") {
  const int cancelled = GENERATE(1, 127, 128, 129, 1000);
  const bool one_survives = GENERATE(false, true);
  kestrel::wheel<int> wheel;
  kestrel::wheel<int> without_them;
  if (one_survives) {
    wheel.insert(6'350, 0); // in a slot of its own
    without_them.insert(6'350, 0);
  }
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != cancelled; ++i)
    ids.push_back(wheel.insert(1 + static_cast<tick>(i) * 37 % 6'000, i));
  for (const kestrel::timer_id id : ids)
    wheel.cancel(id);
  CHECK(wheel.next_expiry() == without_them.next_expiry());
  CHECK(wheel.next_wake() == without_them.next_wake());
  CHECK(wheel.stale_entries() == 0);
  CHECK(fired_in(wheel, 7'000) == fired_in(without_them, 7'000));
}

TEST_CASE("When the earliest timer is cancelled, the next one is the next expiry",
          "[wheel][cancel]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id near = wheel.insert(3, 1);
  const kestrel::timer_id middle = wheel.insert(640, 2);
  const kestrel::timer_id far = wheel.insert(4100, 3);
  CHECK(wheel.next_expiry() == 3u);
  CHECK(wheel.cancel(near));
  CHECK(wheel.next_expiry() == 200u); // when the level-1 slot of tick 640 comes down
  CHECK(wheel.cancel(middle));
  CHECK(wheel.next_expiry() == 3700u);
  CHECK(wheel.cancel(far));
  CHECK(wheel.next_expiry() == std::nullopt);
}

TEST_CASE("clear cancels every pending timer", "[wheel][cancel]") {
  kestrel::wheel<std::shared_ptr<int>> wheel;
  const auto payload = std::make_shared<int>(1);
  std::vector<kestrel::timer_id> ids;
  for (tick i = 0; i != 2000; ++i)
    ids.push_back(wheel.insert(i * 7, payload));
  wheel.advance(100, [](kestrel::timer_id, std::shared_ptr<int>&) {});
  wheel.clear();
  CHECK(wheel.empty());
  CHECK(payload.use_count() == 1);
  CHECK(wheel.next_expiry() == std::nullopt);
  CHECK(wheel.check_invariants());
  for (const kestrel::timer_id id : ids)
    CHECK_FALSE(wheel.cancel(id));

  int fired = 0;
  wheel.insert(5, payload);
  wheel.advance(5, [&](kestrel::timer_id, std::shared_ptr<int>&) { ++fired; });
  CHECK(fired == 1);
}

TEST_CASE("cancel can hand the payload over instead of destroying it", "[wheel][cancel]") {
  kestrel::wheel<std::unique_ptr<int>> wheel;
  const kestrel::timer_id id = wheel.insert(5, std::make_unique<int>(42));
  std::unique_ptr<int> kept;
  const auto keep = [&](std::unique_ptr<int>&& payload) { kept = std::move(payload); };
  CHECK(wheel.cancel(id, keep));
  REQUIRE(kept != nullptr);
  CHECK(*kept == 42);
  kept.reset();
  CHECK_FALSE(wheel.cancel(id, keep));
  CHECK(kept == nullptr);
}

namespace {

// Knows of itself whether its destructor has anything to do.
struct maybe_trivial {
  std::optional<std::shared_ptr<int>> owned;
  [[nodiscard]] bool trivially_discardable() const noexcept { return !owned.has_value(); }
};

} // namespace

TEST_CASE("Only payloads that need destruction are handed to the sink", "[wheel][cancel]") {
  kestrel::wheel<maybe_trivial> wheel;
  const auto shared = std::make_shared<int>(1);
  int sunk = 0;
  const auto count = [&](maybe_trivial&&) { ++sunk; };
  const kestrel::timer_id plain = wheel.insert(5, maybe_trivial{});
  const kestrel::timer_id owning = wheel.insert(5, maybe_trivial{shared});
  CHECK(shared.use_count() == 2);
  CHECK(wheel.cancel(plain, count));
  CHECK(sunk == 0);
  CHECK(wheel.cancel(owning, count));
  CHECK(sunk == 1);
  CHECK(shared.use_count() == 1);
}
