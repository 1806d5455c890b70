// SPDX-License-Identifier: MIT
//
// wheel_clock: time as a wheel counts it, in nanoseconds since the wheel's construction. It is the
// clock's, unless the wheel's execution context is under virtual time.

#ifndef KESTREL_DETAIL_WHEEL_CLOCK_HPP
#define KESTREL_DETAIL_WHEEL_CLOCK_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/time_source.hpp>
#include <kestrel/detail/timer_record.hpp>
#include <kestrel/error.hpp>
#include <kestrel/wheel_config.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <ratio>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What delays count from: `DelayClock`, which may be behind `Clock` and cheaper to read. Its lag
/// is added to them.
template <class Clock, class DelayClock = Clock>
class wheel_clock {
  static_assert(std::ratio_greater_equal_v<typename Clock::period, std::nano>,
                "kestrel: a clock finer than a nanosecond would be rounded");

  static_assert(std::is_same_v<typename Clock::time_point, typename DelayClock::time_point>,
                "kestrel: the clock of delays must have the time points of the wheel's clock");

public:
  using time_point = typename Clock::time_point;

  /// `source` stands for the clock, unless it is null.
  explicit wheel_clock(std::shared_ptr<time_source> source)
      : source_(std::move(source)), epoch_{ns_now<Clock>()}, lag_{lag_of(source_)} {}

  [[nodiscard]] static constexpr bool is_whole_ticks(std::uint64_t ns) noexcept {
    constexpr std::chrono::nanoseconds tick = typename Clock::duration(1);
    return ns % static_cast<std::uint64_t>(tick.count()) == 0;
  }

  [[nodiscard]] KESTREL_ALWAYS_INLINE std::uint64_t now() const {
    return since_epoch(ns_now<Clock>());
  }

  /// As `DelayClock` shows it: not after `now()`.
  [[nodiscard]] KESTREL_ALWAYS_INLINE std::uint64_t now_for_delay() const {
    return since_epoch(ns_now<DelayClock>());
  }

  /// Where a delay begins that is asked for when `now_for_delay()` is `time`: not before `now()`.
  [[nodiscard]] std::uint64_t start_of_delay(std::uint64_t time) const noexcept {
    if constexpr (std::is_same_v<DelayClock, Clock>)
      return time;
    else
      return saturating_add(time, lag_);
  }

  /// As the clock shows it.
  [[nodiscard]] time_point clock_now() const {
    return time_point(
        std::chrono::floor<typename Clock::duration>(std::chrono::nanoseconds(ns_now<Clock>())));
  }

  /// `now()` as a time point.
  [[nodiscard]] time_point time_now() const {
    return time_of_ns((std::max)(ns_now<Clock>(), epoch_));
  }

  [[nodiscard]] bool is_virtual() const noexcept { return source_ != nullptr; }

  /// For who moves a virtual time.
  KESTREL_ALWAYS_INLINE void note_firing() const {
    if (source_ != nullptr) [[unlikely]]
      source_->note_firing();
  }

  /// Saturates at both ends; rounds up.
  template <class Duration>
  [[nodiscard]] std::uint64_t deadline_of(std::chrono::time_point<Clock, Duration> time) const {
    return since_epoch(instant_of(time));
  }

  /// Of a time in nanoseconds since the epoch of `Clock`.
  [[nodiscard]] std::uint64_t deadline_of_ns(std::int64_t time) const noexcept {
    return since_epoch(time);
  }

  /// Nanoseconds since the epoch of `Clock`, saturated.
  [[nodiscard]] std::int64_t ns_of(std::uint64_t deadline) const noexcept {
    constexpr auto max = static_cast<std::uint64_t>(max_ns);
    const std::int64_t since = deadline < max ? static_cast<std::int64_t>(deadline) : max_ns;
    return saturating_add(epoch_, since);
  }

  [[nodiscard]] time_point time_of(std::uint64_t deadline) const noexcept {
    return time_of_ns(ns_of(deadline));
  }

  [[nodiscard]] static time_point time_of_ns(std::int64_t ns) noexcept {
    return time_point(std::chrono::ceil<typename Clock::duration>(std::chrono::nanoseconds(ns)));
  }

private:
  template <class Shown>
  [[nodiscard]] KESTREL_ALWAYS_INLINE std::int64_t ns_now() const {
    if (source_ != nullptr) [[unlikely]]
      return source_->now<Clock>(); // whatever would be shown
    return ns_of(Shown::now());
  }

  static std::int64_t ns_of(time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  }

  [[nodiscard]] std::uint64_t since_epoch(std::int64_t ns) const noexcept {
    const std::int64_t since = saturating_sub(ns, epoch_);
    return since < 0 ? 0 : static_cast<std::uint64_t>(since);
  }

  static std::uint64_t lag_of([[maybe_unused]] const std::shared_ptr<time_source>& source) {
    if constexpr (!std::is_same_v<DelayClock, Clock>) {
      if (source == nullptr)
        return static_cast<std::uint64_t>(ns_of(time_point(DelayClock::max_lag())));
    }
    return 0;
  }

  std::shared_ptr<time_source> source_;
  std::int64_t epoch_;
  std::uint64_t lag_; // of DelayClock, in nanoseconds
};

template <class Traits>
struct delay_clock_of {
  using type = typename Traits::clock;
};

template <class Traits>
requires requires { typename Traits::delay_clock; }
struct delay_clock_of<Traits> {
  using type = typename Traits::delay_clock;
};

template <class Traits>
using wheel_clock_of = wheel_clock<typename Traits::clock, typename delay_clock_of<Traits>::type>;

/// Throws `std::system_error` with the `errc` of the field that makes no sense with this clock.
template <class Clock, class Geometry = dynamic_geometry>
Geometry checked_geometry(const wheel_config& config) {
  if (config.l0_tick % typename Clock::duration(1) != std::chrono::nanoseconds::zero())
    throw_error(errc::invalid_l0_tick, field_and_value(errc::invalid_l0_tick, config));
  return Geometry(config);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WHEEL_CLOCK_HPP
