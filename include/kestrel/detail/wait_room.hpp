// SPDX-License-Identifier: MIT
//
// wait_room: memory for a wait, and for its handler on its way once it was cancelled, beside the
// other things that its timer touches. What finds no free room, or none that is big enough, comes
// from elsewhere.

#ifndef KESTREL_DETAIL_WAIT_ROOM_HPP
#define KESTREL_DETAIL_WAIT_ROOM_HPP

#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/version.hpp>

#include <atomic>
#include <cstddef>
#include <type_traits>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class timer_wait;

/// Memory for one wait of a timer, or for its handler after it. It is taken by the timer, whose
/// waits begin one at a time, and freed on any thread.
class wait_room {
public:
  static constexpr std::size_t size = 112; // for a handler of three words
  static constexpr std::size_t alignment = alignof(std::max_align_t);

  [[nodiscard]] bool is_free() const noexcept { return !taken_.load(std::memory_order_acquire); }

  /// Null if it will not do.
  void* allocate(std::size_t n) noexcept {
    if (n > size || !is_free())
      return nullptr;
    taken_.store(true, std::memory_order_relaxed);
    return room_;
  }

  /// On any thread. False if `p` is not from here.
  bool deallocate(const void* p) noexcept {
    if (p != room_)
      return false;
    taken_.store(false, std::memory_order_release);
    return true;
  }

private:
  std::atomic<bool> taken_ = false;
  alignas(alignment) std::byte room_[size];
};

/// What a wait is allocated as.
template <class T>
concept memory_of_wait = std::is_base_of_v<timer_wait, typename T::holds>;

/// For a wait, and for the handler that is posted in its place: a room. For a wait on its way to
/// its executor, and for what has no place in a room, the memory of the context's timers.
template <class T>
class wait_allocator : public handler_allocator<T> {
public:
  wait_allocator(wait_room& room, handler_memory& memory) noexcept
      : handler_allocator<T>(memory), room_{&room} {}

  template <class U>
  wait_allocator(const wait_allocator<U>& other) noexcept
      : handler_allocator<T>(other), room_{other.room_} {}

  T* allocate(std::size_t n) {
    if constexpr (memory_of_wait<T>) {
      if (void* const p = alignof(T) <= wait_room::alignment ? room_->allocate(sizeof(T)) : nullptr)
        return static_cast<T*>(p);
    }
    return handler_allocator<T>::allocate(n);
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if (!room_->deallocate(p))
      handler_allocator<T>::deallocate(p, n);
  }

  friend bool operator==(const wait_allocator& a, const wait_allocator& b) noexcept {
    return a.room_ == b.room_ && static_cast<const handler_allocator<T>&>(a) ==
                                     static_cast<const handler_allocator<T>&>(b);
  }

private:
  template <class U>
  friend class wait_allocator;

  wait_room* room_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WAIT_ROOM_HPP
