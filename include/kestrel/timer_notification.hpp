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
  /// Which timer.
  timer_id id;
  /// Whether it may fire again.
  timer_kind kind = timer_kind::one_shot;
  /// How often it has fired since its last notification.
  std::uint64_t count = 0;

  /// Whether `kind` is `timer_kind::one_shot`.
  [[nodiscard]] constexpr bool is_one_shot() const noexcept { return kind == timer_kind::one_shot; }
  /// Whether `kind` is `timer_kind::periodic`.
  [[nodiscard]] constexpr bool is_periodic() const noexcept { return kind == timer_kind::periodic; }

  /// Member by member.
  friend constexpr bool operator==(const timer_notification&,
                                   const timer_notification&) noexcept = default;
};

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_NOTIFICATION_HPP
