// SPDX-License-Identifier: MIT
//
// wheel_clock: time as a wheel counts it, in nanoseconds since the wheel's construction.

#ifndef KESTREL_DETAIL_WHEEL_CLOCK_HPP
#define KESTREL_DETAIL_WHEEL_CLOCK_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/error.hpp>

#include <chrono>
#include <cstdint>
#include <ratio>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Clock>
class wheel_clock {
  static_assert(std::ratio_greater_equal_v<typename Clock::period, std::nano>,
                "kestrel: a clock finer than a nanosecond would be rounded");

public:
  using time_point = typename Clock::time_point;

  wheel_clock() : epoch_{ns_of(Clock::now())} {}

  [[nodiscard]] static constexpr bool is_whole_ticks(std::uint64_t ns) noexcept {
    constexpr std::chrono::nanoseconds tick = typename Clock::duration(1);
    return ns % static_cast<std::uint64_t>(tick.count()) == 0;
  }

  [[nodiscard]] KESTREL_ALWAYS_INLINE std::uint64_t now() const {
    return since_epoch(ns_of(Clock::now()));
  }

  /// Saturates at both ends; rounds up.
  template <class Duration>
  [[nodiscard]] std::uint64_t deadline_of(std::chrono::time_point<Clock, Duration> time) const {
    return since_epoch(ceil_ns(time.time_since_epoch(), errc::invalid_delay));
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
  static std::int64_t ns_of(time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  }

  [[nodiscard]] std::uint64_t since_epoch(std::int64_t ns) const noexcept {
    const std::int64_t since = saturating_sub(ns, epoch_);
    return since < 0 ? 0 : static_cast<std::uint64_t>(since);
  }

  std::int64_t epoch_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WHEEL_CLOCK_HPP
