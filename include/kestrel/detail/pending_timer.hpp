// SPDX-License-Identifier: MIT
//
// pending_timer: what a timer_engine's wheel keeps of a timer, apart from its deadline.

#ifndef KESTREL_DETAIL_PENDING_TIMER_HPP
#define KESTREL_DETAIL_PENDING_TIMER_HPP

#include <kestrel/detail/callback.hpp>
#include <kestrel/missed_periods.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

struct pending_timer {
  /// Longer intervals than this, 36 years, never end.
  static constexpr std::int64_t max_interval = (std::int64_t{1} << 60) - 1;

  /// `callable` makes the callback: in its place, since moving one at once stalls the processor.
  template <class... Callable>
  pending_timer(std::int64_t period, missed_periods missed, bool watch, Callable&&... callable)
      : action(std::forward<Callable>(callable)...),
        interval{static_cast<std::uint64_t>((std::min)(period, max_interval)) & max_interval},
        policy{static_cast<std::uint64_t>(missed) & 3u},
        watched{watch} {}

  pending_timer(pending_timer&&) noexcept = default;

  [[nodiscard]] bool is_periodic() const noexcept { return interval != 0; }

  /// See wheel: cancelling it need not look at it.
  [[nodiscard]] bool trivially_discardable() const noexcept {
    return action.trivially_discardable() && !watched;
  }

  callback action;
  std::uint64_t interval : 60;   // in nanoseconds; 0 for a timer that fires once
  std::uint64_t policy : 2;      // a missed_periods
  std::uint64_t on_hold : 1 = 0; // it is claimed, and has not begun to run
  std::uint64_t watched : 1;     // someone is told what becomes of it
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_PENDING_TIMER_HPP
