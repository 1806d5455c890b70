// SPDX-License-Identifier: MIT
//
// timer_notification: what the consumer of a timer_service is told.

#ifndef KESTREL_TIMER_NOTIFICATION_HPP
#define KESTREL_TIMER_NOTIFICATION_HPP

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_task.hpp>

#include <cstdint>

KESTREL_BEGIN_NAMESPACE

/// A timer has fired, `count` times since it was told of last: once, unless the consumer was slow.
struct timer_notification {
  timer_id id;
  timer_kind kind = timer_kind::one_shot;
  std::uint64_t count = 0;

  [[nodiscard]] constexpr bool is_one_shot() const noexcept { return kind == timer_kind::one_shot; }
  [[nodiscard]] constexpr bool is_periodic() const noexcept { return kind == timer_kind::periodic; }

  friend constexpr bool operator==(const timer_notification&,
                                   const timer_notification&) noexcept = default;
};

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_NOTIFICATION_HPP
