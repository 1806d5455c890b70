// SPDX-License-Identifier: MIT
//
// wait_queue: the waits of one steady_timer, the pool that the queues of an execution context come
// from, and places for the few that are idle. Four cache lines for a timer, on large pages if there
// are many.

#ifndef KESTREL_DETAIL_WAIT_QUEUE_HPP
#define KESTREL_DETAIL_WAIT_QUEUE_HPP

#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/page_table.hpp>
#include <kestrel/detail/timer_wait.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/wait_rooms.hpp>
#include <kestrel/timer_id.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What one timer's waits are kept in. Under the host's lock, but for the last three, which are
/// the timer's; rooms may be freed on any thread.
struct alignas(64) wait_queue {
  explicit wait_queue(handler_memory& elsewhere) noexcept : rooms(elsewhere) {}

  wait_op_list<timer_wait> waits; // for the deadline
  wait_op_list<timer_wait> sent;  // on their way: not owned, and taken out as they arrive
  timer_id entry;                 // in the wheel, or none
  wait_queue* next_free = nullptr;
  std::uint8_t idle_place = 0; // see idle_queues
  bool may_wait = false;       // somebody, since all waits were cancelled
  std::uint64_t last_ticket = 0;
  wait_rooms rooms;
};

/// A few queues, each in a place of its own.
class idle_queues {
  static constexpr std::uint32_t places = 16;
  static constexpr std::uint32_t all = (1u << places) - 1;

public:
  /// One of them, or null.
  [[nodiscard]] wait_queue* any() const noexcept {
    return taken_ != 0 ? at_[static_cast<std::uint32_t>(std::countr_zero(taken_))] : nullptr;
  }

  /// Where no place is free, they take turns to leave: returns the one that does, else null.
  wait_queue* add(wait_queue& queue) noexcept {
    const std::uint32_t place =
        taken_ == all ? turn_++ % places : static_cast<std::uint32_t>(std::countr_one(taken_));
    taken_ |= 1u << place;
    queue.idle_place = static_cast<std::uint8_t>(place);
    return std::exchange(at_[place], &queue);
  }

  void remove(wait_queue& queue) noexcept {
    taken_ &= ~(1u << queue.idle_place);
    at_[queue.idle_place] = nullptr;
  }

private:
  std::array<wait_queue*, places> at_{};
  std::uint32_t taken_ = 0; // a bit for each place
  std::uint32_t turn_ = 0;
};

/// Queues are used again, and never freed. Under the host's lock.
class wait_queue_pool {
  static constexpr std::size_t page_size = 256;  // queues
  static constexpr std::size_t max_growth = 256; // pages at a time

  struct page {
    alignas(wait_queue) std::byte at[page_size][sizeof(wait_queue)];
  };

public:
  explicit wait_queue_pool(handler_memory& elsewhere) noexcept : elsewhere_{elsewhere} {}

  wait_queue_pool(const wait_queue_pool&) = delete;
  wait_queue_pool& operator=(const wait_queue_pool&) = delete;

  ~wait_queue_pool() {
    for_each([](wait_queue& queue) { queue.~wait_queue(); });
  }

  wait_queue& acquire() {
    if (free_ != nullptr)
      return *std::exchange(free_, free_->next_free);
    if (made_ == pages_.size() * page_size)
      pages_.grow_to(pages_.size() + std::clamp<std::size_t>(pages_.size() / 8, 1, max_growth));
    return *::new (address(made_++)) wait_queue(elsewhere_);
  }

  /// One without waits.
  void release(wait_queue& queue) noexcept { queue.next_free = std::exchange(free_, &queue); }

  template <class F>
  void for_each(F&& f) {
    for (std::size_t i = 0; i != made_; ++i)
      f(*std::launder(static_cast<wait_queue*>(address(i))));
  }

private:
  void* address(std::size_t i) const noexcept { return pages_[i / page_size].at[i % page_size]; }

  handler_memory& elsewhere_;
  page_table<page, std::allocator<page>> pages_{std::allocator<page>()};
  std::size_t made_ = 0;
  wait_queue* free_ = nullptr;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WAIT_QUEUE_HPP
