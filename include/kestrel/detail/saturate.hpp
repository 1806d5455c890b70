// SPDX-License-Identifier: MIT
//
// From any std::chrono duration to nanoseconds, without overflow: what does not fit becomes the
// largest or smallest value. Fractions round away from early, that is up.

#ifndef KESTREL_DETAIL_SATURATE_HPP
#define KESTREL_DETAIL_SATURATE_HPP

#include <kestrel/error.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <limits>
#include <ratio>
#include <string>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

inline constexpr std::int64_t max_ns = (std::numeric_limits<std::int64_t>::max)();
inline constexpr std::int64_t min_ns = (std::numeric_limits<std::int64_t>::min)();

constexpr std::int64_t saturating_add(std::int64_t a, std::int64_t b) noexcept {
  if (b > 0 ? a > max_ns - b : a < min_ns - b)
    return b > 0 ? max_ns : min_ns;
  return a + b;
}

constexpr std::int64_t saturating_sub(std::int64_t a, std::int64_t b) noexcept {
  if (b < 0 ? a > max_ns + b : a < min_ns + b)
    return b < 0 ? max_ns : min_ns;
  return a - b;
}

/// `factor` is positive.
constexpr std::int64_t saturating_mul(std::int64_t a, std::int64_t factor) noexcept {
  if (a > max_ns / factor)
    return max_ns;
  if (a < min_ns / factor)
    return min_ns;
  return a * factor;
}

template <std::integral Rep>
constexpr std::int64_t saturating_int64(Rep value) noexcept {
  if (std::in_range<std::int64_t>(value))
    return static_cast<std::int64_t>(value);
  return std::cmp_less(value, 0) ? min_ns : max_ns;
}

template <class Rep, class Period>
constexpr bool is_nan(std::chrono::duration<Rep, Period> d) noexcept {
  return d.count() != d.count();
}

/// Rounded up.
template <std::integral Rep, class Period>
constexpr std::int64_t ceil_ns(std::chrono::duration<Rep, Period> d) noexcept {
  using scale = std::ratio_divide<Period, std::nano>;
  static_assert(scale::num <= max_ns / scale::den, "kestrel: this duration's period is too odd");
  const std::int64_t count = saturating_int64(d.count());
  const std::int64_t whole = saturating_mul(count / scale::den, scale::num);
  const std::int64_t rest = count % scale::den * scale::num; // truncated division: sign of count
  return saturating_add(whole, rest / scale::den + (rest % scale::den > 0 ? 1 : 0));
}

/// Not for a NaN. By hand, since <cmath> would be a tenth of what including Asio takes to compile.
template <std::floating_point Rep, class Period>
constexpr std::int64_t ceil_ns(std::chrono::duration<Rep, Period> d) noexcept {
  using scale = std::ratio_divide<Period, std::nano>;
  const long double ns =
      static_cast<long double>(d.count()) * (static_cast<long double>(scale::num) / scale::den);
  constexpr long double limit = 9223372036854775808.0L; // 2^63, which both bounds round to
  if (ns >= limit)
    return max_ns;
  if (ns < -limit)
    return min_ns;
  const auto whole = static_cast<std::int64_t>(ns); // towards zero
  return static_cast<long double>(whole) < ns ? saturating_add(whole, 1) : whole;
}

// ---- What users pass, in nanoseconds

template <class Rep, class Period>
std::int64_t delay_of(const std::chrono::duration<Rep, Period>& delay) {
  if (is_nan(delay))
    throw_error(errc::invalid_delay, "delay = nan");
  return ceil_ns(delay);
}

/// Since the epoch of the clock.
template <class Clock, class Duration>
std::int64_t instant_of(const std::chrono::time_point<Clock, Duration>& time) {
  if (is_nan(time.time_since_epoch()))
    throw_error(errc::invalid_delay, "expiry = nan");
  return ceil_ns(time.time_since_epoch());
}

template <class Rep, class Period>
std::int64_t interval_of(const std::chrono::duration<Rep, Period>& interval) {
  if (is_nan(interval))
    throw_error(errc::invalid_interval, "interval = nan");
  const std::int64_t ns = ceil_ns(interval);
  if (ns <= 0)
    throw_error(errc::invalid_interval, "interval = " + std::to_string(ns) + " ns");
  return ns;
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_SATURATE_HPP
