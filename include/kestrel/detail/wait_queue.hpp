// SPDX-License-Identifier: MIT
//
// wait_queue: the waits of one steady_timer, and the pool that the queues of an execution context
// come from. Five cache lines for a timer that somebody waits for, on large pages if there are
// many.

#ifndef KESTREL_DETAIL_WAIT_QUEUE_HPP
#define KESTREL_DETAIL_WAIT_QUEUE_HPP

#include <kestrel/detail/page_table.hpp>
#include <kestrel/detail/timer_wait.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/wait_room.hpp>
#include <kestrel/timer_id.hpp>

#include <algorithm>
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
  wait_op_list<timer_wait> waits; // for the deadline
  wait_op_list<timer_wait> sent;  // on their way: not owned, and taken out as they arrive
  timer_id entry;                 // in the wheel, or none
  wait_queue* previous = nullptr; // see wait_queue_list
  wait_queue* next = nullptr;     // the same, and see wait_queue_pool
  bool may_wait = false;          // somebody, since all waits were cancelled
  std::uint64_t last_ticket = 0;
  wait_room rooms[2];

  /// Where the next wait goes. Most timers have one at a time, and perhaps one that was cancelled
  /// and whose handler has not run yet.
  [[nodiscard]] wait_room& room() noexcept { return rooms[rooms[0].is_free() ? 0 : 1]; }
};

/// Queues in the order in which they were added, linked through themselves.
class wait_queue_list {
public:
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] wait_queue* first() const noexcept { return first_; }

  void push(wait_queue& queue) noexcept {
    queue.previous = last_;
    queue.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &queue;
    last_ = &queue;
    ++size_;
  }

  void remove(wait_queue& queue) noexcept {
    (queue.previous != nullptr ? queue.previous->next : first_) = queue.next;
    (queue.next != nullptr ? queue.next->previous : last_) = queue.previous;
    --size_;
  }

private:
  wait_queue* first_ = nullptr;
  wait_queue* last_ = nullptr;
  std::size_t size_ = 0;
};

/// Queues are used again, and never freed. Under the host's lock.
class wait_queue_pool {
  static constexpr std::size_t page_size = 256;  // queues
  static constexpr std::size_t max_growth = 256; // pages at a time

  struct page {
    alignas(wait_queue) std::byte at[page_size][sizeof(wait_queue)];
  };

public:
  wait_queue_pool() = default;
  wait_queue_pool(const wait_queue_pool&) = delete;
  wait_queue_pool& operator=(const wait_queue_pool&) = delete;

  ~wait_queue_pool() {
    for_each([](wait_queue& queue) { queue.~wait_queue(); });
  }

  wait_queue& acquire() {
    if (free_ != nullptr)
      return *std::exchange(free_, free_->next);
    if (made_ == pages_.size() * page_size)
      pages_.grow_to(pages_.size() + std::clamp<std::size_t>(pages_.size() / 8, 1, max_growth));
    return *::new (address(made_++)) wait_queue;
  }

  /// One without waits.
  void release(wait_queue& queue) noexcept { queue.next = std::exchange(free_, &queue); }

  template <class F>
  void for_each(F&& f) {
    for (std::size_t i = 0; i != made_; ++i)
      f(*std::launder(static_cast<wait_queue*>(address(i))));
  }

private:
  void* address(std::size_t i) const noexcept { return pages_[i / page_size].at[i % page_size]; }

  page_table<page, std::allocator<page>> pages_{std::allocator<page>()};
  std::size_t made_ = 0;
  wait_queue* free_ = nullptr;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WAIT_QUEUE_HPP
