// SPDX-License-Identifier: MIT
//
// Exceptions: one from a callback leaves the advance and loses nothing; one from a payload or from
// the allocator leaves the wheel as it was.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

using namespace kestrel_tests;

TEST_CASE("After a callback threw, the next advance goes on where it stopped",
          "[wheel][exceptions]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 20; ++i)
    wheel.insert(10, i);
  wheel.insert(12, 20);
  wheel.insert(3000, 21);
  std::vector<int> fired;
  const auto throws_at_nine = [&](kestrel::timer_id, int payload) {
    fired.push_back(payload);
    if (payload == 9)
      throw std::runtime_error("nine");
  };
  CHECK_THROWS_AS(wheel.advance(15, throws_at_nine), std::runtime_error);
  CHECK(fired.size() == 10);
  CHECK(wheel.now() == 10);
  CHECK(wheel.size() == 12);
  CHECK(wheel.check_invariants());
  // Scheduled now, it comes after those that are already due.
  wheel.insert_at(10, 30);
  wheel.advance(0, throws_at_nine);
  CHECK(wheel.now() == 10);
  wheel.advance_to(5000, throws_at_nine);
  std::vector<int> expected;
  for (int i = 0; i != 20; ++i)
    expected.push_back(i);
  expected.insert(expected.end(), {30, 20, 21});
  CHECK(fired == expected);
}

TEST_CASE(
    "Between a throw and the next advance, the rest of the tick can be cancelled and postponed",
    "[wheel][exceptions]") {
  kestrel::wheel<int> wheel;
  std::vector<kestrel::timer_id> ids;
  for (int i = 0; i != 5; ++i)
    ids.push_back(wheel.insert(10, i));
  CHECK_THROWS_AS(wheel.advance(10, [](kestrel::timer_id, int) { throw std::bad_alloc(); }),
                  std::bad_alloc);
  CHECK_FALSE(wheel.cancel(ids[0]));
  CHECK(wheel.cancel(ids[1]));
  CHECK(wheel.postpone(ids[2], 20));
  CHECK(wheel.postpone_at(ids[3], 1));
  CHECK(wheel.check_invariants());
  CHECK(payloads_until(wheel, 29) == std::vector{4, 3});
  CHECK(fired_until(wheel, 30) == firings{{2, 30}});
}

TEST_CASE("Every callback may throw and every timer is still called once", "[wheel][exceptions]") {
  kestrel::wheel<int> wheel;
  for (int i = 0; i != 50; ++i)
    wheel.insert(1 + static_cast<tick>(i) / 10, i);
  std::vector<int> fired;
  int throws = 0;
  while (!wheel.empty()) {
    try {
      wheel.advance_to(5, [&](kestrel::timer_id, int payload) {
        fired.push_back(payload);
        throw payload;
      });
    } catch (int) {
      ++throws;
    }
  }
  CHECK(throws == 50);
  CHECK(fired.size() == 50);
  CHECK(std::is_sorted(fired.begin(), fired.end()));
}

TEST_CASE("The payload of a callback that threw is destroyed", "[wheel][exceptions]") {
  kestrel::wheel<std::shared_ptr<int>> wheel;
  const auto payload = std::make_shared<int>(1);
  wheel.insert(1, payload);
  CHECK(payload.use_count() == 2);
  CHECK_THROWS_AS(wheel.advance(1, [](kestrel::timer_id, std::shared_ptr<int>&) { throw 1; }), int);
  CHECK(payload.use_count() == 1);
  CHECK(wheel.memory_usage() > 0);
  CHECK(wheel.check_invariants());
}

namespace {

struct throws_when_copied {
  explicit throws_when_copied(int v) : value(v) {}
  throws_when_copied(const throws_when_copied& other) : value(other.value) {
    if (value < 0)
      throw std::runtime_error("copy");
  }
  throws_when_copied& operator=(const throws_when_copied&) = delete;
  int value;
};

} // namespace

TEST_CASE("A payload that throws when it is copied in changes nothing", "[wheel][exceptions]") {
  kestrel::wheel<throws_when_copied> wheel;
  const throws_when_copied good(1);
  const throws_when_copied bad(-1);
  const bool warm = GENERATE(false, true);
  std::vector<kestrel::timer_id> ids;
  if (warm) {
    for (tick i = 0; i != 10; ++i)
      ids.push_back(wheel.insert(i * 300, good));
    wheel.cancel(ids[3]);
  }
  const std::size_t size = wheel.size();
  const auto next = wheel.next_expiry();
  const std::size_t stale = wheel.stale_entries();
  for (int i = 0; i != 10; ++i)
    CHECK_THROWS_AS(wheel.insert(1, bad), std::runtime_error);
  CHECK(wheel.size() == size);
  CHECK(wheel.stale_entries() == stale);
  CHECK(wheel.next_expiry() == next);
  CHECK(wheel.check_invariants());
  CHECK(wheel.get(wheel.insert(1, good))->value == 1);
}

namespace {

using payload_type = std::shared_ptr<int>;
using allocator = ledger_allocator<payload_type>;
using failing_wheel = kestrel::wheel<payload_type, kestrel::dynamic_geometry, allocator>;

// Runs `operation`; if an allocation fails in it, nothing may have changed, and it is run again
// with the memory back. Returns whether it failed.
template <class Operation>
bool survives(failing_wheel& wheel, ledger& book, const payload_type& payload, kestrel::timer_id id,
              Operation&& operation) {
  const std::size_t size = wheel.size();
  const auto next = wheel.next_expiry();
  const std::size_t stale = wheel.stale_entries();
  const auto expiry = wheel.expiry(id);
  const long uses = payload.use_count();
  try {
    operation();
    return false;
  } catch (const std::bad_alloc&) {
    book.until_failure = ledger::no_failure;
    REQUIRE(wheel.size() == size);
    REQUIRE(wheel.stale_entries() == stale);
    REQUIRE(wheel.next_expiry() == next);
    REQUIRE(wheel.expiry(id) == expiry);
    REQUIRE(payload.use_count() == uses);
    REQUIRE(wheel.check_invariants());
    operation();
    return true;
  }
}

// Grows a wheel in every way there is, with its n-th allocation failing; returns whether it did.
bool grows_although_allocation_fails(std::size_t n) {
  ledger book;
  bool failed = false;
  const auto payload = std::make_shared<int>(7);
  {
    failing_wheel wheel(kestrel::dynamic_geometry::in_ticks(8, 4, 4), 0, allocator(book));
    book.until_failure = n;
    std::vector<kestrel::timer_id> ids(1);
    for (tick i = 0; i != 1'300; ++i) {
      failed |= survives(wheel, book, payload, ids.back(),
                         [&] { ids.push_back(wheel.insert(1 + i % 90, payload)); });
      const kestrel::timer_id moved = ids[1 + i / 2];
      REQUIRE(wheel.postpone(moved, 200 + i % 30));
      bool postponed = false;
      failed |= survives(wheel, book, payload, moved,
                         [&] { postponed = wheel.postpone(moved, 1 + i % 50); });
      REQUIRE(postponed);
    }
    failed |= survives(wheel, book, payload, ids.back(), [&] { wheel.reserve(5'000); });
    book.until_failure = ledger::no_failure;
    REQUIRE(wheel.check_invariants());
    std::size_t fired = 0;
    wheel.advance(1'000, [&](kestrel::timer_id, payload_type&) { ++fired; });
    REQUIRE(fired == 1'300);
    REQUIRE(payload.use_count() == 1);
  }
  REQUIRE(book.live == 0);
  return failed;
}

/// The same in two steps: slots first, room for their entries, then the timers.
bool grows_in_two_steps_although_allocation_fails(std::size_t n) {
  ledger book;
  bool failed = false;
  const auto payload = std::make_shared<int>(7);
  {
    failing_wheel wheel(kestrel::dynamic_geometry::in_ticks(8, 4, 4), 0, allocator(book));
    book.until_failure = n;
    std::vector<kestrel::timer_id> ids(1);
    int updates = 0;
    for (tick i = 0; i != 1'300; ++i) {
      const auto each = [&](auto&& operation) {
        failed |= survives(wheel, book, payload, ids.back(), operation);
      };
      kestrel::timer_id slot;
      each([&] { slot = wheel.allocate(); });
      if (i % 7 == 0) {
        wheel.deallocate(slot);
        each([&] { slot = wheel.allocate(); });
      }
      each([&] { wheel.reserve_more(1); });
      const std::size_t left = std::exchange(book.until_failure, 0);
      wheel.insert_at(slot, wheel.now() + 1 + i % 90, payload); // for which there is room
      book.until_failure = left;
      ids.push_back(slot);
      each([&] { ids.push_back(wheel.insert_at(200 + i % 90, payload)); });
      bool postponed = false;
      each([&] {
        postponed = wheel.postpone_at(ids.back(), 1 + i % 50, [&](payload_type&) { ++updates; });
      });
      REQUIRE(postponed);
      REQUIRE(wheel.get(slot) != nullptr);
    }
    book.until_failure = ledger::no_failure;
    REQUIRE(wheel.check_invariants());
    REQUIRE(updates == 1'300);
    std::size_t fired = 0;
    wheel.advance(1'000, [&](kestrel::timer_id, payload_type&) { ++fired; });
    REQUIRE(fired == 2'600);
    REQUIRE(payload.use_count() == 1);
  }
  REQUIRE(book.live == 0);
  return failed;
}

} // namespace

TEST_CASE("Whichever allocation fails, what is done in two steps leaves the wheel as it was",
          "[wheel][exceptions]") {
  std::size_t n = 0;
  while (grows_in_two_steps_although_allocation_fails(n))
    ++n;
  CHECK(n > 10);
}

TEST_CASE("Whichever allocation fails, schedule, postpone and reserve leave the wheel as it was",
          "[wheel][exceptions]") {
  std::size_t n = 0;
  while (grows_although_allocation_fails(n))
    ++n;
  CHECK(n > 10); // it did need memory that often
}

TEST_CASE("Cancelling, moving later and advancing need no memory", "[wheel][exceptions]") {
  ledger book;
  const auto payload = std::make_shared<int>(7);
  failing_wheel wheel(kestrel::dynamic_geometry::in_ticks(8, 4, 4), 0, allocator(book));
  std::vector<kestrel::timer_id> ids;
  for (tick i = 0; i != 2'000; ++i)
    ids.push_back(wheel.insert(1 + i * 7 % 400, payload));
  book.until_failure = 0;
  for (std::size_t i = 0; i < ids.size(); i += 3)
    CHECK(wheel.postpone(ids[i], 700));
  for (std::size_t i = 1; i < ids.size(); i += 3)
    CHECK(wheel.cancel(ids[i]));
  int fired = 0;
  CHECK_NOTHROW(wheel.advance(1'000, [&](kestrel::timer_id, payload_type&) { ++fired; }));
  CHECK(fired == 1'333);
}

TEST_CASE("A wheel that cannot be made leaks nothing", "[wheel][exceptions]") {
  std::size_t n = 0;
  for (bool made = false; !made; ++n) {
    ledger book;
    book.until_failure = n;
    try {
      const failing_wheel wheel(kestrel::dynamic_geometry(), 0, allocator(book));
      made = true;
    } catch (const std::bad_alloc&) {
      CHECK(book.live == 0);
    }
  }
  CHECK(n > 3);
}

TEST_CASE("Asking for more timers than a wheel can have is an error and changes nothing",
          "[wheel][exceptions]") {
  kestrel::wheel<int> wheel;
  wheel.insert(5, 1);
  const std::size_t memory = wheel.memory_usage();
  try {
    wheel.reserve((std::size_t{1} << 30) + 1);
    FAIL("reserve accepted it");
  } catch (const std::system_error& e) {
    CHECK(e.code() == kestrel::errc::too_many_timers);
  }
  CHECK(wheel.memory_usage() == memory);
  CHECK(fired_in(wheel, 5) == firings{{1, 5}});
}
