// SPDX-License-Identifier: MIT
//
// Ages a wheel, as if its slots had been used, and its timers claimed, billions of times.

#ifndef KESTREL_TESTS_AGING_HPP
#define KESTREL_TESTS_AGING_HPP

#include <kestrel/wheel.hpp>

#include <cstdint>

KESTREL_BEGIN_NAMESPACE

struct detail::aging {
  /// Slots that were used and are free can be used this many times more, or less often if they
  /// could before. Not while slots are set aside, nor inside a callback.
  template <class Wheel>
  static void leave(Wheel& wheel, std::uint32_t uses) {
    auto& arena = wheel.arena_;
    for (std::uint32_t i = 0; i != arena.used(); ++i) {
      std::uint32_t& generation = arena.record(i).generation;
      const std::uint32_t left = arena.first_generation() - generation; // 0: none, or all
      if (!arena.is_live(arena.record(i)) && left > 2 * uses)
        generation += left - 2 * uses;
    }
  }

  /// So many more claims have numbers that are not those of the first.
  template <class Wheel>
  static void leave_claims(Wheel& wheel, std::uint32_t claims) {
    wheel.levels_.claims_ = place::max_claim - claims;
  }
};

KESTREL_END_NAMESPACE

#endif // KESTREL_TESTS_AGING_HPP
