// SPDX-License-Identifier: MIT
//
// divisor: division by a number that is chosen once at run time, by a multiplication and a check.

#ifndef KESTREL_DETAIL_DIVISOR_HPP
#define KESTREL_DETAIL_DIVISOR_HPP

#include <kestrel/version.hpp>

#include <cstdint>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class divisor {
public:
  /// `value` is positive.
  constexpr explicit divisor(std::uint64_t value) noexcept
      : value_{value}, reciprocal_{~std::uint64_t{0} / value} {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }

  [[nodiscard]] constexpr std::uint64_t divide(std::uint64_t n) const noexcept {
#if defined(__SIZEOF_INT128__)
    __extension__ using wide = unsigned __int128;
    // The reciprocal is short by at most 1 in its last place, hence the quotient by at most 1.
    const auto estimate = static_cast<std::uint64_t>((wide{n} * reciprocal_) >> 64);
    return estimate + (n - estimate * value_ >= value_ ? 1 : 0);
#else
    return n / value_;
#endif
  }

private:
  std::uint64_t value_;
  std::uint64_t reciprocal_; // floor((2^64 - 1) / value)
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_DIVISOR_HPP
