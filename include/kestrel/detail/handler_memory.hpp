// SPDX-License-Identifier: MIT
//
// handler_memory: memory for the handlers that a wheel itself hands to Asio. Blocks are kept for
// the next handler, so that in steady state nothing is allocated, from whichever thread.

#ifndef KESTREL_DETAIL_HANDLER_MEMORY_HPP
#define KESTREL_DETAIL_HANDLER_MEMORY_HPP

#include <kestrel/version.hpp>

#include <cstddef>
#include <mutex>
#include <new>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Thread safe.
class handler_memory {
  static constexpr std::size_t block_size = 256;

  struct free_block {
    free_block* next;
  };

public:
  handler_memory() = default;
  handler_memory(const handler_memory&) = delete;
  handler_memory& operator=(const handler_memory&) = delete;

  ~handler_memory() {
    while (free_ != nullptr)
      ::operator delete(std::exchange(free_, free_->next));
  }

  void* allocate(std::size_t size) {
    if (size > block_size)
      return ::operator new(size);
    {
      const std::lock_guard lock(mutex_);
      if (free_ != nullptr)
        return std::exchange(free_, free_->next);
    }
    return ::operator new(block_size);
  }

  void deallocate(void* p, std::size_t size) noexcept {
    if (size > block_size) {
      ::operator delete(p);
      return;
    }
    const std::lock_guard lock(mutex_);
    free_ = ::new (p) free_block{free_};
  }

private:
  std::mutex mutex_;
  free_block* free_ = nullptr;
};

/// The allocator that a handler shows to Asio. The handler keeps the memory alive.
template <class T>
class handler_allocator {
public:
  using value_type = T;

  explicit handler_allocator(handler_memory& memory) noexcept : memory_{&memory} {}

  template <class U>
  handler_allocator(const handler_allocator<U>& other) noexcept : memory_{other.memory_} {}

  T* allocate(std::size_t n) { return static_cast<T*>(memory_->allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { memory_->deallocate(p, n * sizeof(T)); }

  friend bool operator==(const handler_allocator& a, const handler_allocator& b) noexcept {
    return a.memory_ == b.memory_;
  }

private:
  template <class U>
  friend class handler_allocator;

  handler_memory* memory_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_HANDLER_MEMORY_HPP
