// SPDX-License-Identifier: MIT
//
// timer_wheel_stats: what a wheel has done and what it holds.

#ifndef KESTREL_TIMER_WHEEL_STATS_HPP
#define KESTREL_TIMER_WHEEL_STATS_HPP

#include <kestrel/lateness_histogram.hpp>
#include <kestrel/version.hpp>

#include <cstddef>
#include <cstdint>

KESTREL_BEGIN_NAMESPACE

/// A snapshot of a wheel's counters, all since its construction.
struct timer_wheel_stats {
  std::size_t live = 0;             ///< timers that are pending now
  std::uint64_t scheduled = 0;      ///< timers that were scheduled
  std::uint64_t fired = 0;          ///< callbacks that were started; a periodic timer counts each
  std::uint64_t cancelled = 0;      ///< `cancel` that returned true
  std::uint64_t postponed = 0;      ///< `postpone` that returned true
  std::uint64_t missed_periods = 0; ///< periods that were skipped because the loop was late
  std::uint64_t wakeups = 0;        ///< times the driver woke, whether something was due or not
  std::size_t stale_entries = 0;    ///< entries of cancelled or moved timers, not yet cleaned away
  std::size_t capacity = 0;         ///< timers whose records and payloads there is room for
  std::size_t memory = 0;           ///< bytes of records, payloads and slots

  /// How late the callbacks were started, after `expiry(id)`: one count for each in `fired`. Not
  /// the time itself at which one starts, but the last reading of the clock before it, which is the
  /// reason that this costs next to nothing: too little by what the callbacks since then took, up
  /// to 31 of them, and never too much. Of a callback on an executor of its own, it is the time.
  lateness_histogram lateness;
};

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_WHEEL_STATS_HPP
