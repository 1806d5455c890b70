// SPDX-License-Identifier: MIT
//
// What the tests of wheel<T> share: short names for "advance and tell what fired", and an allocator
// that counts what it hands out and fails on demand.

#ifndef KESTREL_TESTS_WHEEL_SUPPORT_HPP
#define KESTREL_TESTS_WHEEL_SUPPORT_HPP

#include <kestrel/wheel.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <ostream>
#include <vector>

namespace kestrel_tests {

using tick = std::uint64_t;

/// That a payload fired, and when.
struct firing {
  int payload;
  tick at;

  friend bool operator==(const firing&, const firing&) = default;
  friend std::ostream& operator<<(std::ostream& out, const firing& f) {
    return out << f.payload << " at " << f.at;
  }
};

using firings = std::vector<firing>;

template <class Wheel>
firings fired_until(Wheel& wheel, tick to) {
  firings fired;
  wheel.advance_to(to, [&](kestrel::timer_id, int payload) {
    fired.push_back({payload, wheel.now()});
  });
  return fired;
}

template <class Wheel>
firings fired_in(Wheel& wheel, tick n) {
  return fired_until(wheel, wheel.now() + n);
}

template <class Wheel>
std::vector<int> payloads_until(Wheel& wheel, tick to) {
  std::vector<int> fired;
  wheel.advance_to(to, [&](kestrel::timer_id, int payload) { fired.push_back(payload); });
  return fired;
}

/// What the allocators that point to it have done, and which allocation is to fail.
struct ledger {
  static constexpr std::size_t no_failure = std::numeric_limits<std::size_t>::max();

  std::size_t allocations = 0; // that succeeded
  std::size_t live = 0;        // that were not given back
  std::size_t live_bytes = 0;
  std::size_t until_failure = no_failure; // how many more may succeed
};

template <class T>
class ledger_allocator {
public:
  using value_type = T;

  explicit ledger_allocator(ledger& l) noexcept : ledger_{&l} {}

  template <class U>
  ledger_allocator(const ledger_allocator<U>& other) noexcept : ledger_{other.book()} {}

  T* allocate(std::size_t n) {
    if (ledger_->until_failure == 0)
      throw std::bad_alloc();
    if (ledger_->until_failure != ledger::no_failure)
      --ledger_->until_failure;
    void* p = ::operator new (n * sizeof(T), std::align_val_t{alignof(T)});
    ++ledger_->allocations;
    ++ledger_->live;
    ledger_->live_bytes += n * sizeof(T);
    return static_cast<T*>(p);
  }

  void deallocate(T* p, std::size_t n) noexcept {
    --ledger_->live;
    ledger_->live_bytes -= n * sizeof(T);
    ::operator delete (p, n * sizeof(T), std::align_val_t{alignof(T)});
  }

  [[nodiscard]] ledger* book() const noexcept { return ledger_; }

  template <class U>
  friend bool operator==(const ledger_allocator& a, const ledger_allocator<U>& b) noexcept {
    return a.book() == b.book();
  }

private:
  ledger* ledger_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_WHEEL_SUPPORT_HPP
