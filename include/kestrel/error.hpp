// SPDX-License-Identifier: MIT
//
// The errors of Kestrel: errc, its category, and the one place that throws them. Every value names
// the input that was wrong; an operation that reports one has changed nothing. Needs nothing but
// the standard library; without exceptions, what would throw ends the program instead.

#ifndef KESTREL_ERROR_HPP
#define KESTREL_ERROR_HPP

#include <kestrel/version.hpp>

#include <cstdlib>
#include <string>
#include <system_error>
#include <type_traits>

KESTREL_BEGIN_NAMESPACE

/// Converts to and compares with `std::error_code`, and that of Boost, which keeps the former
/// inside.
enum class errc {
  invalid_l0_tick = 1,   ///< `l0_tick` is zero, negative, or no whole number of clock ticks
  invalid_l0_slots,      ///< `l0_slots` is zero, no power of two, or above 2^20
  invalid_l1_tick,       ///< `l1_tick` is no positive multiple of `l0_tick`, or longer than level 0
  invalid_l1_slots,      ///< `l1_slots` is zero, no power of two, above 2^20, or its span overflows
  invalid_delay,         ///< a delay, or an expiry, is not a number
  invalid_interval,      ///< a period is zero, negative or not a number
  invalid_callback,      ///< an empty std::function, a null function pointer, or a used task
  too_many_timers,       ///< more than 2^30 timers, or the wheel's limit, would be pending
  invalid_slot,          ///< a timer_slot is empty, was used, or belongs to another wheel
  batch_length_mismatch, ///< as many slots, delays or callbacks as timers are needed
  invalid_capacity,      ///< the capacity of a timer_service is zero
  no_such_timer,         ///< the timer to wait for has fired, was cancelled, or never was
  shut_down,             ///< the wheel was shut down, or its execution context is gone
  wheel_in_use,          ///< the execution context has a wheel already, of another geometry
  other_time,            ///< a wheel of the execution context goes by another time
  other_clock,           ///< a timer_service was asked by another clock than its wheel's
};

namespace detail {

class error_category_impl final : public std::error_category {
public:
  const char* name() const noexcept override { return "kestrel"; }

  std::string message(int value) const override {
    switch (static_cast<errc>(value)) {
    case errc::invalid_l0_tick:
      return "l0_tick must be positive and a whole number of clock ticks";
    case errc::invalid_l0_slots:
      return "l0_slots must be a power of two from 1 to 2^20";
    case errc::invalid_l1_tick:
      return "l1_tick must be a positive multiple of l0_tick, and at most l0_tick * l0_slots";
    case errc::invalid_l1_slots:
      return "l1_slots must be a power of two from 1 to 2^20, and l1_tick * l1_slots must not "
             "overflow";
    case errc::invalid_delay:
      return "a delay must be a number";
    case errc::invalid_interval:
      return "an interval must be positive";
    case errc::invalid_callback:
      return "callback must not be empty";
    case errc::too_many_timers:
      return "at most 2^30 timers, or as many as the wheel's limit, can be pending at once";
    case errc::invalid_slot:
      return "the slot is empty, was used, or belongs to another wheel";
    case errc::batch_length_mismatch:
      return "the ranges of a batch must be of one length";
    case errc::invalid_capacity:
      return "capacity must be positive";
    case errc::no_such_timer:
      return "there is no such timer, or no longer";
    case errc::shut_down:
      return "the timer wheel or timer service was shut down";
    case errc::wheel_in_use:
      return "the execution context has a wheel of another geometry already";
    case errc::other_time:
      return "a wheel of the execution context goes by another time already";
    case errc::other_clock:
      return "the wheel of the timer service has another clock";
    }
    return "unknown kestrel error";
  }
};

} // namespace detail

/// The category of every `errc`.
[[nodiscard]] inline const std::error_category& error_category() noexcept {
  static const detail::error_category_impl category;
  return category;
}

/// So that an `errc` converts.
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
  return {static_cast<int>(e), error_category()};
}

namespace detail {

[[noreturn]] inline void throw_error(errc e) {
#if defined(__cpp_exceptions)
  throw std::system_error(make_error_code(e));
#else
  static_cast<void>(e);
  std::abort();
#endif
}

/// `what` names the field and its value; the message of `e` follows it.
[[noreturn]] inline void throw_error(errc e, [[maybe_unused]] const std::string& what) {
#if defined(__cpp_exceptions)
  throw std::system_error(make_error_code(e), what);
#else
  throw_error(e);
#endif
}

} // namespace detail

KESTREL_END_NAMESPACE

/// @cond
template <>
struct std::is_error_code_enum<kestrel::errc> : std::true_type {};
/// @endcond

#endif // KESTREL_ERROR_HPP
