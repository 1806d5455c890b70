// SPDX-License-Identifier: MIT
//
// shrink_to_fit: memory is back where it was before a burst of timers, and nothing else has
// changed.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <set>
#include <vector>

using namespace kestrel_tests;

namespace {

using shrinking_wheel = kestrel::wheel<int, kestrel::static_geometry<>, ledger_allocator<int>>;

std::vector<kestrel::timer_id> burst(shrinking_wheel& wheel, int n, tick delay = 1'000) {
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != n; ++i)
    ids.push_back(wheel.insert(delay + static_cast<tick>(i), i));
  return ids;
}

} // namespace

TEST_CASE("After a burst of timers, shrink_to_fit gives back all the memory it took",
          "[wheel][shrink]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  const auto before = GENERATE(0, 100);
  burst(wheel, before, 100'000);
  wheel.shrink_to_fit();
  const std::size_t bytes = book.live_bytes;

  const auto ids = burst(wheel, 100'000);
  CHECK(book.live_bytes > bytes + 2'000'000);
  SECTION("that were cancelled") {
    for (const kestrel::timer_id id : ids)
      wheel.cancel(id);
  }
  SECTION("that have fired") {
    wheel.advance(101'000, [](kestrel::timer_id, int) {});
  }
  wheel.shrink_to_fit();
  CHECK(book.live_bytes <= bytes);
  CHECK(wheel.memory_usage() <= book.live_bytes + 256);
  CHECK(wheel.check_invariants());
}

TEST_CASE("shrink_to_fit gives back what was reserved", "[wheel][shrink]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  const std::size_t bytes = book.live_bytes;
  wheel.reserve(100'000);
  wheel.shrink_to_fit();
  CHECK(book.live_bytes == bytes);
}

TEST_CASE("After shrink_to_fit, pending timers keep payload, address and deadline",
          "[wheel][shrink]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  const auto ids = burst(wheel, 10'000);
  std::vector<int*> addresses;
  firings expected;
  for (std::size_t i = 0; i != ids.size(); ++i) {
    addresses.push_back(wheel.get(ids[i]));
    if (i % 7 == 0)
      expected.push_back({static_cast<int>(i), 1'000 + i});
    else
      wheel.cancel(ids[i]);
  }
  wheel.shrink_to_fit();
  CHECK(wheel.stale_entries() == 0);
  CHECK(wheel.size() == expected.size());
  for (std::size_t i = 0; i < ids.size(); i += 7)
    REQUIRE(wheel.get(ids[i]) == addresses[i]);
  CHECK(fired_in(wheel, 20'000) == expected);
}

TEST_CASE("Ids from before shrink_to_fit name none of the timers that come after it",
          "[wheel][shrink]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  std::set<std::uint64_t> known;
  for (int round = 0; round != 5; ++round) {
    const std::set<std::uint64_t> old = known;
    const auto ids = burst(wheel, 2'000);
    for (const kestrel::timer_id id : ids)
      REQUIRE(known.insert(id.value()).second);
    for (const std::uint64_t id : old)
      REQUIRE(wheel.get(kestrel::timer_id::from_value(id)) == nullptr);
    for (const kestrel::timer_id id : ids)
      wheel.cancel(id);
    wheel.shrink_to_fit();
    for (const kestrel::timer_id id : ids)
      REQUIRE(!wheel.cancel(id));
  }
}

TEST_CASE("A slot that was set aside survives shrink_to_fit", "[wheel][shrink]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  for (const kestrel::timer_id id : burst(wheel, 2'000))
    wheel.cancel(id);
  std::vector<kestrel::timer_id> slots;
  for (int i = 0; i != 1'500; ++i)
    slots.push_back(wheel.allocate());
  wheel.shrink_to_fit();
  wheel.reserve_more(slots.size());
  for (const kestrel::timer_id slot : slots)
    wheel.insert_at(slot, 5, 1);
  for (const kestrel::timer_id slot : slots)
    REQUIRE(wheel.get(slot) != nullptr);
  CHECK(wheel.check_invariants());
  CHECK(fired_in(wheel, 5).size() == slots.size());
}

TEST_CASE("A callback may call shrink_to_fit, with others of its tick still to come",
          "[wheel][shrink]") {
  const tick delay = GENERATE(1u, 3'000u);
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 5'000; ++i)
    ids.push_back(wheel.insert(delay, i));
  int fired = 0;
  wheel.advance(delay, [&](kestrel::timer_id, int number) {
    REQUIRE(number == fired);
    ++fired;
    if (number == 20) {
      for (std::size_t i = 1'000; i != ids.size(); ++i)
        wheel.cancel(ids[i]);
    }
    if (number % 10 == 0)
      wheel.shrink_to_fit();
  });
  CHECK(fired == 1'000);
  CHECK(wheel.empty());
}

TEST_CASE("If memory is short, shrink_to_fit changes nothing", "[wheel][shrink][exceptions]") {
  ledger book;
  shrinking_wheel wheel({}, 0, ledger_allocator<int>(book));
  const auto ids = burst(wheel, 5'000);
  for (std::size_t i = 100; i != ids.size(); ++i)
    wheel.cancel(ids[i]);
  const std::size_t stale = wheel.stale_entries();
  const std::size_t bytes = book.live_bytes;
  for (const std::size_t allocations : {0u, 1u}) {
    book.until_failure = allocations;
    CHECK_THROWS_AS(wheel.shrink_to_fit(), std::bad_alloc);
    book.until_failure = ledger::no_failure;
    const std::size_t left = wheel.stale_entries();
    CHECK((left == stale || left == 0)); // cleaned away, perhaps, before memory was short
    CHECK(book.live_bytes == bytes);
    CHECK(wheel.check_invariants());
  }
  wheel.shrink_to_fit();
  CHECK(fired_in(wheel, 20'000).size() == 100);
}
