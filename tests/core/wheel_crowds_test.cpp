// SPDX-License-Identifier: MIT
//
// As many timers as memory holds, and as many as can be in one slot: none is lost, and what each
// operation looks at is bounded, however they were chosen.

#include "wheel_support.hpp"

#include "../asio/sanitizers.hpp"

#include <catch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

using namespace kestrel_tests;

namespace {

// Ten million take a second or two when optimised; where every access is checked, or nothing is
// optimised, fewer make the same point.
constexpr bool slow_build =
#if defined(NDEBUG) && defined(__OPTIMIZE__)
    address_sanitizer || thread_sanitizer;
#else
    true;
#endif
constexpr std::uint32_t crowd = slow_build ? 1'000'000 : 10'000'000;
constexpr std::uint32_t million = 1'000'000;

/// Advances, and tells how many entries were looked at. `f` gets each id that is due.
template <class Wheel, class F>
std::size_t entries_looked_at(Wheel& wheel, tick to, F&& f) {
  constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
  std::size_t budget = unlimited;
  for (kestrel::timer_id id; wheel.claim(to, budget, id) == kestrel::claim_status::due;)
    f(id);
  return unlimited - budget;
}

} // namespace

TEST_CASE("Ten million timers are all accounted for", "[wheel][crowds]") {
  using numbers = kestrel::wheel<std::uint32_t>;
  numbers wheel;
  std::vector<kestrel::timer_id> ids;
  ids.reserve(crowd);
  const auto delay = [](std::uint32_t i) { return 1 + tick{i} * 2'654'435'761u % 60'000; };
  for (std::uint32_t i = 0; i != crowd; ++i)
    ids.push_back(wheel.insert(delay(i), i));
  CHECK(wheel.size() == crowd);

  std::size_t refused = 0;
  for (std::uint32_t i = 0; i != crowd; ++i) // half of them later, half of those earlier again
    refused += i % 2 == 0 || wheel.postpone(ids[i], delay(i) + (i % 4 == 1 ? 5'000 : 0)) ? 0u : 1u;
  for (std::uint32_t i = 0; i != crowd; i += 2)
    refused += wheel.cancel(ids[i]) ? 0u : 1u;
  CHECK(refused == 0);
  CHECK(wheel.size() == crowd / 2);

  std::size_t fired = 0;
  std::size_t wrong = 0;
  std::vector<bool> seen(crowd);
  wheel.advance(65'000, [&](kestrel::timer_id id, std::uint32_t i) {
    ++fired;
    const tick due = delay(i) + (i % 4 == 1 ? 5'000 : 0);
    wrong += i % 2 == 1 && !seen[i] && id == ids[i] && wheel.now() == due ? 0u : 1u;
    seen[i] = true;
  });
  CHECK(fired == crowd / 2);
  CHECK(wrong == 0);
  CHECK(wheel.empty());
  CHECK(wheel.check_invariants());
}

namespace {

struct counted {
  static inline std::size_t destroyed = 0;
  bool owner = true;

  counted() = default;
  counted(counted&& other) noexcept : owner{other.owner} { other.owner = false; }
  ~counted() { destroyed += owner ? 1u : 0u; }
};

} // namespace

TEST_CASE("Destroying a wheel destroys a million pending payloads, once each", "[wheel][crowds]") {
  counted::destroyed = 0;
  {
    kestrel::wheel<counted> wheel;
    for (std::uint32_t i = 0; i != million; ++i)
      wheel.insert(1 + i % 50'000, counted());
    CHECK(counted::destroyed == 0);
  }
  CHECK(counted::destroyed == million);
}

// ---- All in one slot

TEST_CASE("A million timers of one slot are looked at once per level, and fire in order",
          "[wheel][crowds][stall]") {
  const tick due = GENERATE(300u, 30'000u); // either level
  kestrel::wheel<std::uint32_t> wheel;
  for (std::uint32_t i = 0; i != million; ++i)
    wheel.insert(due, i);
  std::uint32_t next = 0;
  const std::size_t looked = entries_looked_at(wheel, due, [&](kestrel::timer_id id) {
    next += wheel.claimed_payload(id) == next ? 1u : 0u;
    wheel.end_claimed(id);
  });
  CHECK(next == million);
  CHECK(looked == (due == 300 ? 1u : 2u) * million);
  CHECK(wheel.empty());
}

namespace {

/// An arena that counts how often a wheel looks at one of its timers to clean up or to walk.
struct watched_arena : kestrel::slot_arena<kestrel::detail::timer_record, char> {
  using base = kestrel::slot_arena<kestrel::detail::timer_record, char>;

  kestrel::detail::timer_record& record(std::uint32_t index) noexcept {
    ++looks;
    return base::record(index);
  }

  const kestrel::detail::timer_record& record(std::uint32_t index) const noexcept {
    ++looks;
    return base::record(index);
  }

  mutable std::size_t looks = 0;
};

/// What wheel<T> does, step by step, on such an arena.
class watched_wheel {
public:
  kestrel::timer_id insert_at(tick due) {
    return one_operation([&] {
      levels_.reserve_entries(1, arena_);
      const std::uint32_t index = arena_.allocate().index;
      auto& r = arena_.base::record(index);
      r.deadline = due;
      levels_.file_first(index, r, 0);
      return kestrel::timer_id{index, r.generation};
    });
  }

  void postpone_at(kestrel::timer_id id, tick due) {
    one_operation([&] {
      auto& r = arena_.base::record(id.index());
      const bool later = due >= r.deadline;
      levels_.reserve_entries(1, arena_);
      r.deadline = due;
      if (!later)
        levels_.file_earlier(id.index(), r);
      return id;
    });
  }

  void cancel(kestrel::timer_id id) {
    one_operation([&] {
      auto& r = arena_.base::record(id.index());
      const std::uint32_t old = r.link;
      arena_.invalidate(r);
      levels_.forget(old);
      arena_.reclaim(id.index());
      return id;
    });
  }

  [[nodiscard]] tick next_work() { return levels_.next_work(); }
  [[nodiscard]] std::size_t looks() const { return arena_.looks; }
  [[nodiscard]] std::size_t most_looks() const { return most_looks_; } // of one operation
  [[nodiscard]] std::size_t operations() const { return operations_; }
  [[nodiscard]] std::size_t entries() const { return levels_.entries(); }
  [[nodiscard]] std::size_t bytes() const { return arena_.bytes() + levels_.bytes(); }

private:
  template <class Operation>
  kestrel::timer_id one_operation(Operation operation) {
    const std::size_t before = arena_.looks;
    const kestrel::timer_id id = operation();
    ++operations_;
    most_looks_ = std::max(most_looks_, arena_.looks - before);
    return id;
  }

  watched_arena arena_;
  kestrel::detail::wheel_levels<watched_arena, kestrel::static_geometry<>, std::allocator<char>>
      levels_{{}, 0, {}};
  std::size_t operations_ = 0;
  std::size_t most_looks_ = 0;
};

} // namespace

// Most entries must be stale before a slot of such is cleaned, and each was filed by an operation
// that has paid for it: in all, an operation looks at a few entries on average, however many there
// are.
TEST_CASE("A storm on a slot with a million timers looks at a few entries for each operation",
          "[wheel][crowds][memory]") {
  const tick due = GENERATE(300u, 30'050u); // either level
  const int kind = GENERATE(0, 1, 2);
  constexpr std::uint32_t n = slow_build ? million / 10 : million;
  watched_wheel wheel;
  std::vector<kestrel::timer_id> ids(n);
  for (kestrel::timer_id& id : ids)
    id = wheel.insert_at(due);
  CHECK(wheel.looks() == 0);
  std::mt19937 random;
  const auto rearm = [&](kestrel::timer_id& id) {
    wheel.cancel(id);
    id = wheel.insert_at(due);
  };
  const auto storm = [&](std::uint32_t rounds) {
    for (std::uint32_t round = 0; round != rounds; ++round) {
      for (std::uint32_t i = 0; i != n; ++i) {
        switch (kind) {
        case 0: // one after the other
          rearm(ids[i]);
          break;
        case 1: // those that were armed last, again and again
          rearm(ids[i % 10]);
          break;
        case 2: // to the slot before, and back by another timer
          wheel.postpone_at(ids[i], due - 200);
          rearm(ids[random() % n]);
          break;
        }
      }
    }
  };
  storm(2);
  const std::size_t bytes = wheel.bytes();
  storm(2);
  CHECK(wheel.bytes() <= bytes + bytes / 8); // the order in which chains were cleaned varies
  CHECK(wheel.entries() <= 2 * n + 100);
  CHECK(wheel.looks() <= 2 * wheel.operations());
  CHECK(wheel.most_looks() > n);
  CHECK(wheel.most_looks() <= 5 * std::size_t{n} / 2); // the pause
  for (const kestrel::timer_id id : ids)               // and all at last
    wheel.cancel(id);
  CHECK(wheel.looks() <= 2 * wheel.operations());
  CHECK(wheel.next_work() == kestrel::detail::never);
  CHECK(wheel.entries() == 0);
}
