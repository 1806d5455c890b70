// SPDX-License-Identifier: MIT
//
// timer_record: the hot part of a timer, 16 bytes, and how it notes where the timer is filed.

#ifndef KESTREL_DETAIL_TIMER_RECORD_HPP
#define KESTREL_DETAIL_TIMER_RECORD_HPP

#include <kestrel/version.hpp>

#include <cstdint>
#include <limits>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// All that cancel, postpone and the walk over a slot need to see of a timer.
struct timer_record {
  std::uint64_t deadline;
  std::uint32_t generation;
  std::uint32_t link; // a place while the timer is pending; the arena's while the slot is free
};

/// Where a timer is, in one word: the number and colour of its slot, or the number of the claim
/// under which it is out. Beside them, whether the timer's payload needs a destructor call.
struct place {
  static constexpr std::uint32_t needs_destruction = 1;
  static constexpr std::uint32_t next_colour = 2; // added; there are three colours
  static constexpr std::uint32_t last_colour = 2 * next_colour;
  static constexpr std::uint32_t slot_shift = 3;
  static constexpr std::uint32_t claimed = 1u << 31; // above every slot
  static constexpr std::uint32_t claim_shift = 1;
  static constexpr std::uint32_t max_claim = (claimed >> claim_shift) - 1;

  static constexpr bool is_claimed(std::uint32_t link) noexcept { return (link & claimed) != 0; }

  static constexpr std::uint32_t of(const timer_record& r) noexcept {
    return r.link & ~needs_destruction;
  }

  static constexpr void set(timer_record& r, std::uint32_t where) noexcept {
    r.link = where | (r.link & needs_destruction);
  }
};

inline constexpr std::uint64_t never = (std::numeric_limits<std::uint64_t>::max)();

constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  const std::uint64_t sum = a + b;
  return sum >= a ? sum : never;
}

constexpr std::uint64_t saturating_mul(std::uint64_t a, std::uint64_t b) noexcept {
  return b == 0 || a <= never / b ? a * b : never;
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_RECORD_HPP
