// SPDX-License-Identifier: MIT
//
// coarse_steady_clock: std::chrono::steady_clock, read at a fraction of the cost and late by a
// known bound. For wheels whose delays may count from a moment up to that bound later.

#ifndef KESTREL_COARSE_STEADY_CLOCK_HPP
#define KESTREL_COARSE_STEADY_CLOCK_HPP

#include <kestrel/version.hpp>

#include <chrono>

#if defined(__linux__)
#include <time.h>
#endif

KESTREL_BEGIN_NAMESPACE

/// A clock whose time points are those of `std::chrono::steady_clock`.
///
/// It is never ahead of that clock, and behind it by `max_lag()` at most. On Linux it is
/// CLOCK_MONOTONIC_COARSE, which the kernel sets at its ticks: 1 to 10 ms apart, most often 4.
/// Elsewhere it is `steady_clock` itself, and not behind.
///
/// The resolution that the system states is no bound: the kernel is up to two ticks behind, and
/// while the processor that keeps its time is held up, as on a busy virtual machine, about seven
/// until another one takes over (Linux 5.18 or newer). So `max_lag()` is eight.
///
/// Thread safety: safe. Complexity: O(1), with neither a system call nor a fence.
struct coarse_steady_clock {
  ///@{
  /// Those of `std::chrono::steady_clock`.
  using duration = std::chrono::steady_clock::duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::steady_clock::time_point;
  static constexpr bool is_steady = true;
  ///@}

#if defined(__linux__) && defined(CLOCK_MONOTONIC_COARSE)
  /// The time, up to `max_lag()` ago.
  [[nodiscard]] static time_point now() noexcept {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return time_point(duration_of(time));
  }

  /// How far it may be behind `std::chrono::steady_clock`.
  [[nodiscard]] static duration max_lag() noexcept {
    timespec tick;
    clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
    return 8 * duration_of(tick);
  }

private:
  static duration duration_of(const timespec& t) noexcept {
    return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
  }
#else
  [[nodiscard]] static time_point now() noexcept { return std::chrono::steady_clock::now(); }
  [[nodiscard]] static duration max_lag() noexcept { return duration::zero(); }
#endif
};

KESTREL_END_NAMESPACE

#endif // KESTREL_COARSE_STEADY_CLOCK_HPP
