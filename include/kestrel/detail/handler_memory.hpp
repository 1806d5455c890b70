// SPDX-License-Identifier: MIT
//
// block_memory: memory for a wheel's callables and for the handlers that it hands to Asio. Blocks
// are kept for the next one, so that in steady state nothing is allocated, from whichever thread.

#ifndef KESTREL_DETAIL_HANDLER_MEMORY_HPP
#define KESTREL_DETAIL_HANDLER_MEMORY_HPP

#include <kestrel/detail/guarded.hpp>
#include <kestrel/version.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What does not fit into a block comes from the heap. Thread safe; giving a block back takes no
/// lock.
template <std::size_t BlockSize>
class block_memory {
  struct free_block {
    free_block* next;
  };

public:
  static constexpr std::size_t block_size = BlockSize;

  block_memory() = default;
  block_memory(const block_memory&) = delete;
  block_memory& operator=(const block_memory&) = delete;

  ~block_memory() {
    free_all(free_);
    free_all(returned_.load(std::memory_order_acquire));
  }

  void* allocate(std::size_t size) {
    if (size > block_size)
      return ::operator new(size);
    {
      const mutex_guard lock(mutex_);
      if (free_ == nullptr && returned_.load(std::memory_order_relaxed) != &retired_)
        free_ = returned_.exchange(nullptr, std::memory_order_acquire);
      if (free_ != nullptr)
        return std::exchange(free_, free_->next);
    }
    void* const block = ::operator new(block_size);
    const mutex_guard lock(mutex_);
    ++blocks_;
    return block;
  }

  void deallocate(void* p, std::size_t size) noexcept {
    if (size > block_size) {
      ::operator delete(p);
      return;
    }
    auto* const block = ::new (p) free_block{returned_.load(std::memory_order_relaxed)};
    do {
      if (block->next == &retired_)
        return drop(block);
    } while (!returned_.compare_exchange_weak(block->next, block, std::memory_order_release,
                                              std::memory_order_relaxed));
  }

  /// For an owner who may go while blocks are in use: the memory goes with the last of them.
  struct retire {
    void operator()(block_memory* memory) const noexcept {
      if (memory->close())
        delete memory;
    }
  };
  using owned = std::unique_ptr<block_memory, retire>;

private:
  /// Returns how many.
  static std::size_t free_all(free_block* first) noexcept {
    std::size_t n = 0;
    for (; first != nullptr && first != &retired_; ++n)
      ::operator delete(std::exchange(first, first->next));
    return n;
  }

  void drop(free_block* block) noexcept {
    ::operator delete(block);
    if (forget_one())
      delete this;
  }

  // Whether no block is in use any more. Says so once, after the owner has gone.

  [[nodiscard]] bool close() noexcept {
    const mutex_guard lock(mutex_);
    blocks_ -= free_all(std::exchange(free_, nullptr));
    blocks_ -= free_all(returned_.exchange(&retired_, std::memory_order_acquire));
    return blocks_ == 0;
  }

  [[nodiscard]] bool forget_one() noexcept {
    const mutex_guard lock(mutex_);
    return --blocks_ == 0;
  }

  inline static free_block retired_{}; // what `returned_` is once the owner has gone
  std::atomic<free_block*> returned_ = nullptr;
  guarded_mutex<std::mutex> mutex_;
  free_block* free_ KESTREL_GUARDED_BY(mutex_) = nullptr;
  std::size_t blocks_ KESTREL_GUARDED_BY(mutex_) = 0; // in all
};

using handler_memory = block_memory<256>;
using callable_memory = block_memory<64 + sizeof(std::shared_ptr<void>)>;

/// The allocator that a handler shows to Asio. The memory outlives its blocks.
template <class T>
class handler_allocator {
public:
  using value_type = T;

  explicit handler_allocator(handler_memory& memory) noexcept : memory_{&memory} {}

  template <class U>
  handler_allocator(const handler_allocator<U>& other) noexcept : memory_{other.memory_} {}

  T* allocate(std::size_t n) {
    if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
      return std::allocator<T>().allocate(n);
    else
      return static_cast<T*>(memory_->allocate(n * sizeof(T)));
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if constexpr (alignof(T) > __STDCPP_DEFAULT_NEW_ALIGNMENT__)
      std::allocator<T>().deallocate(p, n);
    else
      memory_->deallocate(p, n * sizeof(T));
  }

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
