// SPDX-License-Identifier: MIT
//
// handler_memory: a few blocks for the handlers that a wheel itself hands to Asio, so that arming
// the driver allocates nothing, from whichever thread.

#ifndef KESTREL_DETAIL_HANDLER_MEMORY_HPP
#define KESTREL_DETAIL_HANDLER_MEMORY_HPP

#include <kestrel/version.hpp>

#include <atomic>
#include <cstddef>
#include <new>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Thread safe. Beyond its blocks it falls back on the heap.
class handler_memory {
  static constexpr std::size_t block_size = 256;

  struct block {
    alignas(std::max_align_t) std::byte bytes[block_size];
    std::atomic<bool> taken{false};
  };

public:
  handler_memory() = default;
  handler_memory(const handler_memory&) = delete;
  handler_memory& operator=(const handler_memory&) = delete;

  void* allocate(std::size_t size) {
    if (size <= block_size) {
      for (block& b : blocks_) {
        if (!b.taken.exchange(true, std::memory_order_acquire))
          return b.bytes;
      }
    }
    return ::operator new(size);
  }

  void deallocate(void* p) noexcept {
    for (block& b : blocks_) {
      if (p == b.bytes) {
        b.taken.store(false, std::memory_order_release);
        return;
      }
    }
    ::operator delete(p);
  }

private:
  // One wait is pending, and up to three that were cancelled by an earlier deadline may be queued.
  block blocks_[4];
};

/// The allocator that a handler shows to Asio. Its handler keeps the memory alive.
template <class T>
class handler_allocator {
public:
  using value_type = T;

  explicit handler_allocator(handler_memory& memory) noexcept : memory_{&memory} {}

  template <class U>
  handler_allocator(const handler_allocator<U>& other) noexcept : memory_{other.memory_} {}

  T* allocate(std::size_t n) { return static_cast<T*>(memory_->allocate(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) noexcept { memory_->deallocate(p); }

  friend bool operator==(handler_allocator a, handler_allocator b) noexcept {
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
