// SPDX-License-Identifier: MIT
//
// Ids never alias: one that is stale, foreign, forged or default-made names no timer, and using it
// does no harm.

#include "aging.hpp"
#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstdint>
#include <set>
#include <vector>

using namespace kestrel_tests;

namespace {

// Everything that takes an id says that there is no such timer.
template <class Wheel>
bool names_nothing(Wheel& wheel, kestrel::timer_id id) {
  const std::size_t size = wheel.size();
  wheel.prefetch(id);
  return !wheel.cancel(id) && !wheel.postpone(id, 1) && !wheel.postpone_at(id, 1) &&
         wheel.get(id) == nullptr && !wheel.expiry(id) && wheel.size() == size;
}

} // namespace

TEST_CASE("A default-made id names no timer", "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  CHECK(names_nothing(wheel, kestrel::timer_id{}));
  CHECK(wheel.insert(5, 1) != kestrel::timer_id{});
  CHECK(names_nothing(wheel, kestrel::timer_id{}));
}

TEST_CASE("An id is valid from its scheduling to its end", "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(5, 7);
  CHECK(id);
  REQUIRE(wheel.get(id) != nullptr);
  CHECK(*wheel.get(id) == 7);
  CHECK(wheel.expiry(id) == 5u);
  CHECK(kestrel::timer_id::from_value(id.value()) == id);
  fired_in(wheel, 5);
  CHECK(names_nothing(wheel, id));
}

TEST_CASE("A stale id does not touch the timer that uses its slot now", "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id old = wheel.insert(5, 1);
  wheel.cancel(old);
  const kestrel::timer_id young = wheel.insert(5, 2);
  CHECK(young.index() == old.index());
  CHECK(young != old);
  CHECK(names_nothing(wheel, old));
  CHECK(fired_in(wheel, 5) == firings{{2, 5}});
}

TEST_CASE("No id is ever issued twice", "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  std::set<std::uint64_t> issued;
  std::vector<kestrel::timer_id> pending;
  for (int i = 0; i != 20'000; ++i) {
    pending.push_back(wheel.insert(1 + static_cast<tick>(i) % 30, i));
    issued.insert(pending.back().value());
    if (i % 3 == 0)
      wheel.cancel(pending[pending.size() / 2]);
    if (i % 20 == 0)
      fired_in(wheel, 7);
  }
  CHECK(issued.size() == 20'000);
  CHECK(issued.count(0) == 0);
}

TEST_CASE("An id of another wheel names nothing", "[wheel][ids]") {
  std::vector<kestrel::wheel<int>> wheels;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 50; ++i) {
    wheels.emplace_back();
    for (int k = 0; k != 10; ++k)
      ids.push_back(wheels.back().insert(1, k));
  }
  std::size_t wrong = 0;
  for (std::size_t w = 0; w != wheels.size(); ++w) {
    for (std::size_t i = 0; i != ids.size(); ++i) {
      if (i / 10 != w)
        wrong += names_nothing(wheels[w], ids[i]) ? 0u : 1u;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("Forged ids name nothing", "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id free_soon = wheel.insert(5, 0);
  const kestrel::timer_id id = wheel.insert(5, 1);
  wheel.cancel(free_soon);
  const std::uint32_t index = id.index();
  const std::uint32_t generation = id.generation();
  for (const std::uint32_t step : {1u, 2u, 0x8000'0000u, 0xffff'ffffu}) {
    CHECK(names_nothing(wheel, {index, generation + step}));
    CHECK(names_nothing(wheel, {index + step + 1000, generation}));
  }
  // The generation that a free slot has now, and the one it will have next.
  CHECK(names_nothing(wheel, {free_soon.index(), free_soon.generation() + 1}));
  CHECK(names_nothing(wheel, {free_soon.index(), free_soon.generation() + 2}));
  // Slots that were never used, in a page that exists and in one that does not.
  CHECK(names_nothing(wheel, {2, generation}));
  CHECK(names_nothing(wheel, {511, generation}));
  CHECK(names_nothing(wheel, {512, generation}));
  CHECK(names_nothing(wheel, {0xffff'ffffu, generation}));
  CHECK(names_nothing(wheel, kestrel::timer_id::from_value(~std::uint64_t{0})));
  CHECK(wheel.check_invariants());
  CHECK(fired_in(wheel, 5) == firings{{1, 5}});
}

TEST_CASE("A slot whose ids are used up is used no more, and none of them comes again",
          "[wheel][ids]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> old{wheel.insert(5, 0)};
  const std::uint32_t index = old.front().index();
  wheel.cancel(old.front());
  kestrel::detail::aging::leave(wheel, 3);
  for (int i = 1; i != 4; ++i) {
    old.push_back(wheel.insert(1, i));
    CHECK(old.back().index() == index);
    if (i == 1)
      wheel.cancel(old.back());
    else
      CHECK(payloads_until(wheel, wheel.now() + 1) == std::vector{i});
  }
  const kestrel::timer_id young = wheel.insert(5, 4);
  CHECK(young.index() != index);
  for (const kestrel::timer_id id : old)
    CHECK(names_nothing(wheel, id));
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, wheel.now() + 5) == std::vector{4});
}
