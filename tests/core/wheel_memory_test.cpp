// SPDX-License-Identifier: MIT
//
// Steady state allocates nothing, memory follows the largest number of pending timers, and payloads
// are moved, kept in place and destroyed exactly once.

#include "wheel_support.hpp"

#include <catch.hpp>

#include <cstddef>
#include <memory>
#include <random>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

using counting_wheel = kestrel::wheel<int, kestrel::static_geometry<>, ledger_allocator<int>>;

// Schedules, cancels, postpones both ways, fires and schedules from callbacks, with `n` timers or a
// few less pending all the time.
void storm(counting_wheel& wheel, std::size_t n, int rounds) {
  std::mt19937_64 random;
  std::vector<kestrel::timer_id> ids(n);
  const auto delay = [&] {
    const tick longest = random() % 2 == 0 ? 400 : 20'000;
    return 1 + random() % longest;
  };
  for (int round = 0; round != rounds; ++round) {
    for (kestrel::timer_id& id : ids) {
      if (wheel.get(id) == nullptr && wheel.size() < n)
        id = wheel.insert(delay(), 0);
      else if (random() % 4 == 0)
        wheel.cancel(id);
      else
        wheel.postpone(id, delay());
    }
    wheel.advance(random() % 200, [&](kestrel::timer_id, int again) {
      if (again < 3 && wheel.size() < n)
        wheel.insert(delay(), again + 1);
    });
  }
}

// Schedules `n` timers for one tick, and moves each away from it and back, which leaves as many
// stale entries as there can be.
std::vector<kestrel::timer_id> insert_and_stir(counting_wheel& wheel, std::size_t n, tick due,
                                               int rounds) {
  std::vector<kestrel::timer_id> ids;
  for (std::size_t i = 0; i != n; ++i)
    ids.push_back(wheel.insert_at(due, 0));
  for (int round = 0; round != rounds; ++round) {
    for (const kestrel::timer_id id : ids) {
      wheel.postpone_at(id, due + 1);
      wheel.postpone_at(id, due);
    }
  }
  return ids;
}

} // namespace

TEST_CASE("After reserve(n), n timers never allocate, whatever is done with them",
          "[wheel][memory]") {
  const std::size_t n = GENERATE(as<std::size_t>{}, 1, 2, 100, 512, 5'000);
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  wheel.reserve(n);
  const std::size_t allocations = book.allocations;
  storm(wheel, n, 200);
  CHECK(book.allocations == allocations);
  CHECK(wheel.check_invariants());
}

TEST_CASE("After reserve(n), n timers of one slot never allocate", "[wheel][memory]") {
  const std::size_t n = GENERATE(as<std::size_t>{}, 1, 7, 512, 5'000);
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  wheel.reserve(n);
  const std::size_t allocations = book.allocations;
  for (int round = 0; round != 20; ++round) {
    insert_and_stir(wheel, n, wheel.now() + 300, 5);
    wheel.advance(150, [](kestrel::timer_id, int) {});
    CHECK(wheel.size() == n);
    wheel.advance(150, [](kestrel::timer_id, int) {});
    CHECK(wheel.empty());
  }
  CHECK(book.allocations == allocations);
}

TEST_CASE("After reserve(n), callbacks that cancel and replace all others do not allocate",
          "[wheel][memory]") {
  const std::size_t n = GENERATE(as<std::size_t>{}, 10, 1'000, 10'000, 700'000);
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  wheel.reserve(n);
  const std::size_t allocations = book.allocations;
  std::vector<kestrel::timer_id> ids = insert_and_stir(wheel, n, 300, 2);
  for (std::size_t i = 1; i != n; ++i) { // the first one remains so, before entries of no use
    wheel.cancel(ids[i]);
    ids[i] = wheel.insert_at(300, 0);
  }
  int fired = 0;
  wheel.advance(300, [&](kestrel::timer_id, int) {
    if (fired++ != 0)
      return;
    for (const kestrel::timer_id id : ids)
      wheel.cancel(id);
    for (const kestrel::timer_id id : insert_and_stir(wheel, n, 400, 2)) {
      wheel.cancel(id);
      wheel.insert(100, 0);
    }
  });
  CHECK(fired == 1);
  CHECK(wheel.size() == n);
  CHECK(book.allocations == allocations);
  CHECK(wheel.check_invariants());
}

TEST_CASE("Once it has grown, a wheel that goes on as before allocates nothing",
          "[wheel][memory]") {
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  storm(wheel, 1'000, 300);
  const std::size_t allocations = book.allocations;
  const std::size_t memory = wheel.memory_usage();
  storm(wheel, 1'000, 300);
  CHECK(book.allocations == allocations);
  CHECK(wheel.memory_usage() == memory);
}

TEST_CASE("A million timers scheduled and cancelled leave the memory where it was",
          "[wheel][memory]") {
  const tick delay = GENERATE(1u, 3000u, 700'000u);
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  wheel.insert(delay, 1);
  const auto pair = [&](int i) {
    wheel.cancel(wheel.insert(delay + static_cast<tick>(i & 1023), i));
  };
  for (int i = 0; i != 20 * 1024; ++i)
    pair(i); // one round of cleaning up in every slot
  const std::size_t memory = wheel.memory_usage();
  const std::size_t bytes = book.live_bytes;
  for (int i = 0; i != 1'000'000; ++i)
    pair(i);
  CHECK(wheel.memory_usage() == memory);
  CHECK(book.live_bytes == bytes);
  CHECK(wheel.size() == 1);
  CHECK(wheel.stale_entries() < 20);
}

TEST_CASE("A hundred thousand resets of a timeout leave the memory where it was",
          "[wheel][memory]") {
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  const kestrel::timer_id id = wheel.insert(3000, 1);
  const std::size_t memory = wheel.memory_usage();
  for (int i = 0; i != 100'000; ++i) {
    wheel.postpone(id, 3000);
    wheel.advance(1, [](kestrel::timer_id, int) {});
  }
  CHECK(wheel.memory_usage() == memory);
  CHECK(wheel.size() == 1);
}

TEST_CASE("memory_usage is what the allocator was asked for", "[wheel][memory]") {
  ledger book;
  counting_wheel wheel({}, 0, ledger_allocator<int>(book));
  const auto difference = [&] {
    const std::size_t told = wheel.memory_usage();
    return told > book.live_bytes ? told - book.live_bytes : book.live_bytes - told;
  };
  CHECK(difference() < 256);
  wheel.reserve(20'000);
  CHECK(difference() < 256);
  storm(wheel, 30'000, 3);
  CHECK(difference() < 256);
}

TEST_CASE("A wheel gives back all its memory", "[wheel][memory]") {
  ledger book;
  {
    counting_wheel wheel({}, 0, ledger_allocator<int>(book));
    storm(wheel, 3'000, 10);
    CHECK(!wheel.empty());
    counting_wheel moved(std::move(wheel));
    CHECK(!moved.empty());
    moved.insert(5, 1);
  }
  CHECK(book.live == 0);
  CHECK(book.live_bytes == 0);
}

TEST_CASE("Destroying a wheel destroys a hundred thousand pending payloads, once each",
          "[wheel][memory]") {
  const auto payload = std::make_shared<int>(1);
  {
    kestrel::wheel<std::shared_ptr<int>> wheel;
    for (tick i = 0; i != 100'000; ++i)
      wheel.insert(i, payload);
    CHECK(payload.use_count() == 100'001);
  }
  CHECK(payload.use_count() == 1);
}

TEST_CASE("A payload is destroyed once, whether it fires, is cancelled or is cleared away",
          "[wheel][memory]") {
  const auto payload = std::make_shared<int>(1);
  kestrel::wheel<std::shared_ptr<int>> wheel;
  const kestrel::timer_id fired = wheel.insert(1, payload);
  const kestrel::timer_id cancelled = wheel.insert(600, payload);
  const kestrel::timer_id cleared = wheel.insert(600, payload);
  CHECK(payload.use_count() == 4);
  long during = 0;
  wheel.advance(1, [&](kestrel::timer_id id, std::shared_ptr<int>& p) {
    CHECK(id == fired);
    during = p.use_count();
  });
  CHECK(during == 4); // it lives until its callback has returned
  CHECK(payload.use_count() == 3);
  CHECK(wheel.postpone(cancelled, 5));
  CHECK(payload.use_count() == 3);
  CHECK(wheel.cancel(cancelled));
  CHECK(payload.use_count() == 2);
  wheel.clear();
  CHECK(payload.use_count() == 1);
  CHECK(wheel.get(cleared) == nullptr);
}

TEST_CASE("A callback may move its payload out", "[wheel][memory]") {
  kestrel::wheel<std::unique_ptr<int>> wheel;
  wheel.insert(5, std::make_unique<int>(42));
  std::unique_ptr<int> kept;
  wheel.advance(5, [&](kestrel::timer_id, std::unique_ptr<int>& p) { kept = std::move(p); });
  REQUIRE(kept != nullptr);
  CHECK(*kept == 42);
}

TEST_CASE("A payload stays where it is while the wheel grows", "[wheel][memory]") {
  kestrel::wheel<int> wheel;
  const kestrel::timer_id id = wheel.insert(60'000, 42);
  const int* address = wheel.get(id);
  for (int i = 0; i != 10'000; ++i)
    wheel.insert(static_cast<tick>(i), i);
  wheel.postpone(id, 3);
  CHECK(wheel.get(id) == address);
  CHECK(*address == 42);
}

TEST_CASE("A payload may need more than the usual alignment", "[wheel][memory]") {
  struct alignas(128) wide {
    int value;
  };
  kestrel::wheel<wide> wheel;
  std::size_t misaligned = 0;
  for (int i = 0; i != 2'000; ++i) {
    const kestrel::timer_id id = wheel.insert(5, wide{i});
    misaligned += reinterpret_cast<std::uintptr_t>(wheel.get(id)) % alignof(wide) == 0 ? 0u : 1u;
  }
  CHECK(misaligned == 0);
}

TEST_CASE("A wheel can be moved, with its timers and between two halves of a tick",
          "[wheel][memory]") {
  static_assert(std::is_nothrow_move_constructible_v<kestrel::wheel<int>>);
  kestrel::wheel<int> from;
  const kestrel::timer_id near = from.insert(10, 1);
  from.insert(10, 2);
  from.insert(10, 3);
  const kestrel::timer_id far = from.insert(7000, 4);
  CHECK_THROWS_AS(from.advance(10, [](kestrel::timer_id, int) { throw 1; }), int);
  kestrel::wheel<int> to(std::move(from));
  CHECK(to.size() == 3);
  CHECK(to.now() == 10);
  CHECK_FALSE(to.cancel(near));
  CHECK(*to.get(far) == 4);
  CHECK(to.check_invariants());
  CHECK(fired_until(to, 10'000) == firings{{2, 10}, {3, 10}, {4, 7000}});

  CHECK(from.size() == 0);
  CHECK(from.empty());
  CHECK(from.get(far) == nullptr);
  CHECK_FALSE(from.cancel(far));
}
