// SPDX-License-Identifier: MIT
//
// wait_rooms: memory for a timer's waits, and for their handlers on their way once they were
// cancelled, beside the other things that the timer touches. What finds no free room, or none that
// is big enough, comes from elsewhere.

#ifndef KESTREL_DETAIL_WAIT_ROOMS_HPP
#define KESTREL_DETAIL_WAIT_ROOMS_HPP

#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class timer_wait;

/// Room for two: most timers have one wait at a time, and perhaps one that was cancelled and whose
/// handler has not run yet. Taken by the timer, whose waits begin one at a time, and freed on any
/// thread. Which of the two it is changes with every wait, so nothing branches on that.
class wait_rooms {
  static constexpr std::size_t size = 96; // for a handler of three words; on Boost, of two
  static constexpr std::size_t alignment = alignof(std::max_align_t);
  static_assert(size % alignment == 0);

public:
  /// What finds no room here is of `elsewhere`, which outlives this.
  explicit wait_rooms(handler_memory& elsewhere) noexcept : elsewhere_{&elsewhere} {}

  [[nodiscard]] handler_memory& elsewhere() const noexcept { return *elsewhere_; }

  /// Null if there is no room for a `T`.
  template <class T>
  void* take() noexcept {
    const std::size_t number = is_taken(0) ? 1 : 0;
    if (sizeof(T) > size || alignof(T) > alignment || is_taken(number))
      return nullptr;
    taken_[number].store(true, std::memory_order_relaxed);
    return rooms_[number];
  }

  /// False if `p` is not from here.
  bool give_back(const void* p) noexcept {
    const std::uintptr_t offset =
        reinterpret_cast<std::uintptr_t>(p) - reinterpret_cast<std::uintptr_t>(rooms_);
    if (offset >= sizeof(rooms_))
      return false;
    taken_[offset / size].store(false, std::memory_order_release);
    return true;
  }

private:
  [[nodiscard]] bool is_taken(std::size_t number) const noexcept {
    return taken_[number].load(std::memory_order_acquire);
  }

  handler_memory* elsewhere_;
  std::atomic<bool> taken_[2] = {};
  alignas(alignment) std::byte rooms_[2][size];
};

/// What a wait is allocated as.
template <class T>
concept memory_of_wait = std::is_base_of_v<timer_wait, typename T::holds>;

/// For a wait, and for the handler that is posted in its place: a room. For a wait on its way to
/// its executor, and for what has no place in a room, the memory of the context's timers.
template <class T>
class wait_allocator {
public:
  using value_type = T;

  explicit wait_allocator(wait_rooms& rooms) noexcept : rooms_{&rooms} {}

  template <class U>
  wait_allocator(const wait_allocator<U>& other) noexcept : rooms_{other.rooms_} {}

  T* allocate(std::size_t n) {
    if constexpr (memory_of_wait<T>) {
      if (void* const room = rooms_->template take<T>())
        return static_cast<T*>(room);
    }
    return elsewhere().allocate(n);
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if (!rooms_->give_back(p))
      elsewhere().deallocate(p, n);
  }

  friend bool operator==(const wait_allocator& a, const wait_allocator& b) noexcept {
    return a.rooms_ == b.rooms_;
  }

private:
  template <class U>
  friend class wait_allocator;

  handler_allocator<T> elsewhere() const noexcept {
    return handler_allocator<T>(rooms_->elsewhere());
  }

  wait_rooms* rooms_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WAIT_ROOMS_HPP
