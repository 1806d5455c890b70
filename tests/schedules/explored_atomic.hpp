// SPDX-License-Identifier: MIT
//
// explored_atomic: an atomic at whose steps threads that take turns may be preempted. Timed
// operations whose handlers run on an explored context are made of it.

#ifndef KESTREL_TESTS_SCHEDULES_EXPLORED_ATOMIC_HPP
#define KESTREL_TESTS_SCHEDULES_EXPLORED_ATOMIC_HPP

#include "explored_context.hpp"
#include "turns.hpp"

#include <kestrel/detail/timed_operation.hpp>

#include <atomic>

namespace kestrel_tests {

template <class T>
class explored_atomic {
public:
  explicit explored_atomic(T value) noexcept : value_{value} {}

  [[nodiscard]] T load(std::memory_order order = std::memory_order_seq_cst) const {
    turns::point();
    return value_.load(order);
  }

  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    turns::point();
    value_.store(value, order);
  }

  T fetch_or(T bits, std::memory_order order = std::memory_order_seq_cst) {
    turns::point();
    return value_.fetch_or(bits, order);
  }

  bool compare_exchange_strong(T& expected, T desired, std::memory_order order) {
    turns::point();
    return value_.compare_exchange_strong(expected, desired, order);
  }

private:
  std::atomic<T> value_;
};

} // namespace kestrel_tests

template <class T>
struct kestrel::detail::operation_atomic<T, kestrel_tests::explored_context::executor_type> {
  using type = kestrel_tests::explored_atomic<T>;
};

#endif // KESTREL_TESTS_SCHEDULES_EXPLORED_ATOMIC_HPP
