// SPDX-License-Identifier: MIT
//
// counting_allocator: counts what it has allocated and not freed.

#ifndef KESTREL_TESTS_COUNTING_ALLOCATOR_HPP
#define KESTREL_TESTS_COUNTING_ALLOCATOR_HPP

#include <cstddef>
#include <memory>

namespace kestrel_tests {

template <class T>
struct counting_allocator {
  using value_type = T;

  explicit counting_allocator(int& l) noexcept : live{&l} {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) noexcept : live{other.live} {}

  T* allocate(std::size_t n) {
    ++*live;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    --*live;
    std::allocator<T>().deallocate(p, n);
  }

  template <class U>
  bool operator==(const counting_allocator<U>& other) const noexcept {
    return live == other.live;
  }

  int* live;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_COUNTING_ALLOCATOR_HPP
