// SPDX-License-Identifier: MIT
//
// slot_arena: slots are used again, ids are not; pages stay where they are.

#include <kestrel/slot_arena.hpp>

#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

using kestrel::timer_id;

namespace {

struct test_record {
  std::uint32_t generation;
  std::uint32_t link;
  std::uint64_t other;
};

template <class Payload>
using arena = kestrel::slot_arena<test_record, Payload>;

// Releases a slot the way an owner does: the id first, then the payload, then the slot.
template <class Arena>
void release(Arena& a, std::uint32_t index) {
  a.invalidate(a.record(index));
  a.destroy_payload(index);
  a.reclaim(index);
}

// An arena whose payloads are destroyed at the end of a test.
struct string_arena : arena<std::string> {
  using arena<std::string>::slot_arena;
  string_arena() = default;
  ~string_arena() {
    for (std::uint32_t i = 0; i != used(); ++i) {
      if (is_live(record(i)))
        release(*this, i);
    }
  }
};

} // namespace

TEST_CASE("An allocated slot is found by its id and holds its payload", "[arena]") {
  string_arena a;
  CHECK(a.size() == 0);
  const std::uint32_t index = a.allocate(3u, 'x').index;
  const timer_id id = a.id_of(index);
  CHECK(a.size() == 1);
  CHECK(a.find(id) == &a.record(index));
  CHECK(std::as_const(a).find(id) == &a.record(index));
  CHECK(a.payload(index) == "xxx");
  CHECK(id.index() == index);
  CHECK(a.is_live(a.record(index)));
  CHECK(a.check_invariants());
}

TEST_CASE("A released slot is used again under a new generation", "[arena]") {
  string_arena a;
  const std::uint32_t first = a.allocate("first").index;
  const timer_id old = a.id_of(first);
  release(a, first);
  CHECK(a.size() == 0);
  CHECK(a.find(old) == nullptr);
  const std::uint32_t second = a.allocate("second").index;
  CHECK(second == first);
  CHECK(a.id_of(second) != old);
  CHECK(a.find(old) == nullptr);
  CHECK(a.find(a.id_of(second)) != nullptr);
  CHECK(a.used() == 1);
}

TEST_CASE("An id is stale as soon as its slot is invalidated, before it is reclaimed", "[arena]") {
  string_arena a;
  const std::uint32_t index = a.allocate("payload").index;
  const timer_id id = a.id_of(index);
  a.invalidate(a.record(index));
  CHECK(a.find(id) == nullptr);
  CHECK(a.size() == 0);
  CHECK(a.payload(index) == "payload"); // until it is destroyed
  const std::uint32_t other = a.allocate("other").index;
  CHECK(other != index); // not free yet
  a.destroy_payload(index);
  a.reclaim(index);
  CHECK(a.allocate("third").index == index);
  CHECK(a.check_invariants());
}

TEST_CASE("Ids are unique over many reuses, and odd generations are live", "[arena]") {
  arena<int> a;
  std::set<std::uint64_t> ids;
  std::vector<std::uint32_t> live;
  for (int round = 0; round != 3'000; ++round) {
    live.push_back(a.allocate(round).index);
    const timer_id id = a.id_of(live.back());
    REQUIRE(id.generation() % 2 == 1);
    REQUIRE(ids.insert(id.value()).second);
    if (round % 3 != 0) {
      const std::size_t victim = static_cast<std::size_t>(round) * 7 % live.size();
      release(a, live[victim]);
      live[victim] = live.back();
      live.pop_back();
    }
  }
  CHECK(a.size() == live.size());
  CHECK(a.check_invariants());
}

TEST_CASE("A slot whose generations are used up is retired", "[arena]") {
  const std::uint32_t first = GENERATE(0u, 2u, 0x7fff'fffeu, 0xffff'fffeu);
  arena<int> a(first);
  const std::uint32_t index = a.allocate(1).index;
  CHECK(a.id_of(index).generation() == first + 1);
  // As if it had been used two billion times: the last generation is the one before the first.
  a.record(index).generation = first - 1;
  const timer_id last = a.id_of(index);
  CHECK(a.find(last) != nullptr);
  release(a, index);
  CHECK(a.find(last) == nullptr);
  CHECK(a.size() == 0);
  CHECK(a.check_invariants());
  for (int i = 0; i != 2'000; ++i)
    CHECK(a.allocate(i).index != index);
  CHECK(a.find(timer_id(index, first + 1)) == nullptr);
  CHECK(a.check_invariants());
}

TEST_CASE("A slot that is not at its end goes on past the wrap of the counter", "[arena]") {
  arena<int> a(100);
  const std::uint32_t index = a.allocate(1).index;
  a.record(index).generation = 0xffff'ffffu;
  const timer_id before = a.id_of(index);
  release(a, index);
  REQUIRE(a.allocate(2).index == index);
  CHECK(a.id_of(index).generation() == 1);
  CHECK(a.find(before) == nullptr);
  CHECK(a.check_invariants());
}

TEST_CASE("Looking up any number at all is safe", "[arena]") {
  string_arena a;
  CHECK(a.find(timer_id{}) == nullptr);
  CHECK(a.find(timer_id(0, 1)) == nullptr);
  const std::uint32_t index = a.allocate("x").index;
  const std::uint32_t generation = a.record(index).generation;
  for (const std::uint32_t i : {1u, 511u, 512u, 0x7fff'ffffu, 0xffff'ffffu}) {
    CHECK(a.find(timer_id(i, generation)) == nullptr);
    a.prefetch_record(i);
    a.prefetch_payload(i);
  }
  CHECK(a.find(timer_id(index, generation + 1)) == nullptr);
  CHECK(a.find(timer_id(index, generation - 1)) == nullptr);
}

TEST_CASE("Arenas do not know each other's ids", "[arena]") {
  arena<int> a;
  arena<int> b;
  CHECK(a.first_generation() != b.first_generation());
  const timer_id id = a.id_of(a.allocate(1).index);
  b.allocate(1);
  CHECK(b.find(id) == nullptr);
}

TEST_CASE("Records and payloads stay where they are while the arena grows", "[arena]") {
  arena<int> a;
  std::vector<std::pair<test_record*, int*>> addresses;
  for (int i = 0; i != 5'000; ++i) {
    const std::uint32_t index = a.allocate(i).index;
    addresses.emplace_back(&a.record(index), &a.payload(index));
  }
  std::size_t wrong = 0;
  for (std::uint32_t i = 0; i != 5'000; ++i) {
    wrong += &a.record(i) == addresses[i].first && &a.payload(i) == addresses[i].second ? 0u : 1u;
    wrong += a.payload(i) == static_cast<int>(i) ? 0u : 1u;
  }
  CHECK(wrong == 0);
}

TEST_CASE("After reserve(n), n allocations need no memory", "[arena]") {
  const std::size_t n = GENERATE(as<std::size_t>{}, 0, 1, 512, 513, 5'000);
  kestrel_tests::ledger book;
  kestrel::slot_arena<test_record, int, kestrel_tests::ledger_allocator<int>> a(
      2, kestrel_tests::ledger_allocator<int>(book));
  a.reserve(n);
  CHECK(a.capacity() >= n);
  CHECK(a.size() == 0);
  const std::size_t bytes = a.bytes();
  book.until_failure = 0;
  for (std::size_t i = 0; i != n; ++i)
    a.allocate(1);
  CHECK(a.size() == n);
  CHECK(a.bytes() == bytes);
  a.reserve(n); // there is room already
}

TEST_CASE("Memory follows the largest number of live slots", "[arena]") {
  arena<int> a;
  for (int i = 0; i != 1'000; ++i)
    a.allocate(i);
  const std::size_t bytes = a.bytes();
  for (int round = 0; round != 100; ++round) {
    for (std::uint32_t i = 0; i != 1'000; ++i)
      release(a, i);
    for (int i = 0; i != 1'000; ++i)
      a.allocate(i);
  }
  CHECK(a.bytes() == bytes);
  CHECK(a.used() == 1'000);
  CHECK(a.check_invariants());
}

TEST_CASE("An arena that could not grow once has room for what it says after it has shrunk",
          "[arena]") {
  constexpr std::size_t page = 512;
  constexpr std::size_t no_failure = kestrel_tests::ledger::no_failure;
  kestrel_tests::ledger book;
  kestrel::slot_arena<test_record, int, kestrel_tests::ledger_allocator<int>> a(
      2, kestrel_tests::ledger_allocator<int>(book));
  a.reserve(page);
  // Now one or both of its kinds of pages grow, so that they come in blocks of other sizes.
  book.until_failure = GENERATE(range(0u, 6u));
  CHECK_THROWS_AS(a.reserve(6 * page), std::bad_alloc);
  book.until_failure = no_failure;
  a.reserve(11 * page);
  for (std::size_t i = 0; i != 4 * page; ++i)
    a.allocate(1);
  a.shrink_to_fit(a.free_slots());
  CHECK(a.used() == 4 * page);
  const std::size_t room = a.capacity();
  book.until_failure = 0;
  while (a.size() != room)
    a.allocate(1); // under a sanitizer, into memory that is there
  CHECK_THROWS_AS(a.allocate(1), std::bad_alloc);
  CHECK(a.check_invariants());
}

TEST_CASE("An arena gives up no page of which a slot has few generations left", "[arena]") {
  constexpr std::uint32_t first = 2;
  arena<int> a(first);
  const std::uint32_t index = a.allocate(1).index;
  const auto used_until = GENERATE(first + (1u << 31), first + (1u << 31) + 2);
  release(a, index);
  a.record(index).generation = used_until; // as after so many uses
  a.shrink_to_fit(a.free_slots());
  CHECK((a.used() == 0) == (used_until == first + (1u << 31)));
  const std::uint32_t next = a.allocate(1).index;
  CHECK(a.id_of(next).generation() == used_until + 1);
  release(a, next);
}

TEST_CASE("More slots than an arena can have is an error, and changes nothing", "[arena]") {
  arena<int> a;
  try {
    a.reserve(arena<int>::max_size + 1);
    FAIL("reserve accepted it");
  } catch (const std::system_error& e) {
    CHECK(e.code() == kestrel::errc::too_many_timers);
    CHECK(std::string(e.what()).find("timers = 1073741825") == 0);
  }
  CHECK(a.capacity() == 0);
}

TEST_CASE(
    "When the last slot is taken the next is an error, changes nothing, and may be tried again",
    "[arena]") {
  constexpr std::uint32_t most = 3 * 512;
  using small_arena = kestrel::slot_arena<test_record, int, std::allocator<int>, most>;
  small_arena a;
  for (std::uint32_t i = 0; i != most; ++i)
    CHECK(a.allocate(static_cast<int>(i)).index == i);
  const std::size_t bytes = a.bytes();
  const auto refused = [&] {
    for (const auto& f : {std::function<void()>([&] { a.allocate(0); }),
                          std::function<void()>([&] { static_cast<void>(a.take()); })}) {
      try {
        f();
        FAIL("there was one more");
      } catch (const std::system_error& e) {
        CHECK(e.code() == kestrel::errc::too_many_timers);
        CHECK(std::string(e.what()).find("timers = 1537") == 0);
      }
    }
    CHECK(a.used() == most);
    CHECK(a.capacity() == most);
    CHECK(a.bytes() == bytes);
    CHECK(a.check_invariants());
  };
  refused();
  CHECK(a.size() == most);
  const timer_id old = a.id_of(700);
  release(a, 700);
  CHECK(a.allocate(1).index == 700);
  CHECK(a.find(old) == nullptr);
  refused();
  // One that is retired makes no room.
  a.record(9).generation = a.first_generation() - 1;
  release(a, 9);
  refused();
  CHECK(a.size() == most - 1);
}

TEST_CASE("A failed allocation changes nothing", "[arena]") {
  const bool in_two_steps = GENERATE(false, true);
  kestrel_tests::ledger book;
  {
    kestrel::slot_arena<test_record, int, kestrel_tests::ledger_allocator<int>> a(
        2, kestrel_tests::ledger_allocator<int>(book));
    const auto allocate = [&] {
      if (!in_two_steps)
        return a.allocate(1).index;
      return a.occupy(a.take().index(), 1).index;
    };
    std::size_t failures = 0;
    for (std::size_t i = 0; i != 3'000; ++i) {
      const std::size_t capacity = a.capacity();
      book.until_failure = i % 2;
      try {
        allocate();
      } catch (const std::bad_alloc&) {
        ++failures;
        REQUIRE(a.size() == i);
        REQUIRE(a.used() == i);
        REQUIRE(a.capacity() == capacity);
        book.until_failure = kestrel_tests::ledger::no_failure;
        CHECK(allocate() == i);
      }
    }
    CHECK(failures >= 3);
    CHECK(a.check_invariants());
  }
  CHECK(book.live == 0);
}

namespace {

struct picky {
  explicit picky(bool good) {
    if (!good)
      throw std::runtime_error("picky");
  }
};

} // namespace

TEST_CASE("A payload whose constructor throws leaves its slot set aside", "[arena]") {
  arena<picky> a;
  const timer_id id = a.take();
  CHECK_THROWS_AS(a.occupy(id.index(), false), std::runtime_error);
  CHECK(a.size() == 0);
  CHECK(a.find(id) == nullptr);
  CHECK(a.take() != id); // it is not free
  a.occupy(id.index(), true);
  CHECK(a.find(id) == &a.record(id.index()));
  CHECK(a.size() == 1);
}

TEST_CASE("A payload whose constructor throws leaves the arena unchanged", "[arena]") {
  arena<picky> a;
  CHECK_THROWS_AS(a.allocate(false), std::runtime_error);
  CHECK(a.size() == 0);
  CHECK(a.used() == 0);
  const std::uint32_t index = a.allocate(true).index;
  const timer_id id = a.id_of(index);
  CHECK_THROWS_AS(a.allocate(false), std::runtime_error);
  CHECK(a.used() == 1);
  release(a, index);
  CHECK_THROWS_AS(a.allocate(false), std::runtime_error); // on a slot that is used again
  CHECK(a.size() == 0);
  CHECK(a.find(id) == nullptr);
  CHECK(a.find(timer_id(index, id.generation() + 2)) == nullptr);
  CHECK(a.check_invariants());
  CHECK(a.allocate(true).index == index);
}

TEST_CASE("Move-only payloads of any alignment are held", "[arena]") {
  struct alignas(64) wide {
    std::unique_ptr<int> p;
  };
  arena<wide> a;
  std::size_t misaligned = 0;
  for (int i = 0; i != 600; ++i) {
    const std::uint32_t index = a.allocate(wide{std::make_unique<int>(i)}).index;
    misaligned += reinterpret_cast<std::uintptr_t>(&a.payload(index)) % 64 == 0 ? 0u : 1u;
    CHECK(*a.payload(index).p == i);
  }
  CHECK(misaligned == 0);
  for (std::uint32_t i = 0; i != a.used(); ++i)
    release(a, i);
}

TEST_CASE("A moved arena keeps its slots, and the one moved from is empty", "[arena]") {
  arena<int> from;
  const timer_id id = from.id_of(from.allocate(7).index);
  arena<int> to(std::move(from));
  REQUIRE(to.find(id) != nullptr);
  CHECK(to.payload(id.index()) == 7);
  CHECK(to.size() == 1);
  CHECK(from.size() == 0);
  CHECK(from.used() == 0);
  CHECK(from.find(id) == nullptr);
  CHECK(from.check_invariants());
}
