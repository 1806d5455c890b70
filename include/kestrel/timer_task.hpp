// SPDX-License-Identifier: MIT
//
// timer_task: the description of a timer, made before there is one, for two-step registration,
// batches and services.

#ifndef KESTREL_TIMER_TASK_HPP
#define KESTREL_TIMER_TASK_HPP

#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/error.hpp>
#include <kestrel/missed_periods.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE

/// Whether a timer fires once, or until it is cancelled.
enum class timer_kind { one_shot, periodic };

namespace detail {

struct do_nothing {
  void operator()() const noexcept {}
};

struct task_access;

} // namespace detail

/// A timer to be: when, how often, and what is to be called. Callables as for basic_timer_wheel;
/// without one, only the timer's notices tell of it. Move-only; the wheel that schedules it takes
/// the callable out, unless scheduling fails. Scheduling it again is an error.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
/// Complexity: O(1).
/// Exceptions: making one throws what copying or moving the callable does, `bad_alloc` if it is not
/// kept in the task itself, and the `errc`s below; nothing else throws.
///
///     auto task = kestrel::timer_task::one_shot(30s, [&] { connection.close(); });
///     kestrel::timer_handle timer = wheel.schedule(task);
class timer_task {
public:
  /// Fires once. `errc::invalid_delay`, `errc::invalid_callback`.
  template <class Rep, class Period, class F = detail::do_nothing>
  [[nodiscard]] static timer_task one_shot(const std::chrono::duration<Rep, Period>& delay,
                                           F&& f = {}) {
    return timer_task(
        {{nullptr, std::forward<F>(f)}, detail::delay_of(delay), 0, missed_periods::skip});
  }

  /// Fires at `initial` + k * `interval` from when it is scheduled. Besides,
  /// `errc::invalid_interval` unless `interval` is positive.
  template <class Rep1, class Period1, class Rep2, class Period2, class F = detail::do_nothing>
  [[nodiscard]] static timer_task periodic(const std::chrono::duration<Rep1, Period1>& initial,
                                           const std::chrono::duration<Rep2, Period2>& interval,
                                           F&& f = {},
                                           missed_periods policy = missed_periods::skip) {
    const std::int64_t period = detail::interval_of(interval);
    return timer_task({{nullptr, std::forward<F>(f)}, detail::delay_of(initial), period, policy});
  }

  /// One-shot or periodic.
  [[nodiscard]] timer_kind type() const noexcept {
    return spec_.interval == 0 ? timer_kind::one_shot : timer_kind::periodic;
  }

  /// Until the first firing.
  [[nodiscard]] std::chrono::nanoseconds delay() const noexcept {
    return std::chrono::nanoseconds(spec_.delay);
  }

  /// Between firings; nothing if it fires once.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> interval() const noexcept {
    if (spec_.interval == 0)
      return std::nullopt;
    return std::chrono::nanoseconds(spec_.interval);
  }

private:
  friend detail::task_access;

  explicit timer_task(detail::timer_spec&& spec) : spec_(std::move(spec)) {}

  detail::timer_spec spec_;
};

namespace detail {

struct task_access {
  static timer_spec& spec(timer_task& task) noexcept { return task.spec_; }
};

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_TASK_HPP
