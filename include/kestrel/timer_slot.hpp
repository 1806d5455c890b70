// SPDX-License-Identifier: MIT
//
// timer_slot: the first of two steps to a timer. Its id is known before there is a callback, which
// may therefore hold it.

#ifndef KESTREL_TIMER_SLOT_HPP
#define KESTREL_TIMER_SLOT_HPP

#include <kestrel/detail/timer_host.hpp>
#include <kestrel/slot_arena.hpp>
#include <kestrel/timer_id.hpp>

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

namespace detail {
struct slot_access;
}

/// A slot of a wheel that is set aside for one timer. Scheduling a task in it makes it empty; one
/// that is destroyed unused gives its slot back. It may outlive the wheel.
///
/// Until then its id names no timer: `cancel` and `postpone` return false.
///
/// Thread safety: distinct objects safe, if the wheel is; shared objects unsafe.
/// Complexity: O(1).
/// Exceptions: none; those of `allocate` and `schedule` are the wheel's.
///
///     kestrel::timer_slot slot = wheel.allocate();
///     auto task = kestrel::timer_task::periodic(1s, 1s, [&, id = slot.id()] {
///       if (++ticks == 3)
///         wheel.cancel(id);
///     });
///     wheel.schedule(std::move(slot), task);
class timer_slot {
public:
  /// An empty slot. Scheduling in it is an error.
  timer_slot() = default;

  /// The one moved from is empty.
  timer_slot(timer_slot&& other) noexcept
      : host_(std::move(other.host_)), id_{std::exchange(other.id_, timer_id())} {}

  /// Gives back the slot it had. The one moved from is empty.
  timer_slot& operator=(timer_slot&& other) noexcept {
    timer_slot moved(std::move(other));
    std::swap(host_, moved.host_);
    std::swap(id_, moved.id_);
    return *this;
  }

  ~timer_slot() {
    if (host_ != nullptr)
      host_->deallocate({&id_, 1});
  }

  /// The id that the timer will have. A default-made one if the slot is empty.
  [[nodiscard]] timer_id id() const noexcept { return id_; }

  /// Whether it is not empty.
  explicit operator bool() const noexcept { return host_ != nullptr; }

private:
  friend detail::slot_access;

  std::shared_ptr<detail::timer_host> host_;
  timer_id id_;
};

namespace detail {

struct slot_access {
  static const std::shared_ptr<timer_host>& host(const timer_slot& slot) noexcept {
    return slot.host_;
  }

  /// `n` of them, or none.
  template <class Host>
  static std::vector<timer_slot> make(const std::shared_ptr<Host>& host, std::size_t n) {
    require_at_most(max_timers, n);
    std::vector<timer_slot> slots(n);
    slots_aside aside(*host, n);
    for (std::size_t i = 0; i != n; ++i) {
      slots[i].host_ = host;
      slots[i].id_ = aside.ids()[i];
    }
    aside.use();
    return slots;
  }

  /// The slot is empty afterwards.
  static timer_id take(timer_slot& slot) noexcept {
    slot.host_ = nullptr;
    return std::exchange(slot.id_, timer_id());
  }

  static void put_back(timer_slot& slot, const std::shared_ptr<timer_host>& host,
                       timer_id id) noexcept {
    slot.host_ = host;
    slot.id_ = id;
  }
};

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_SLOT_HPP
