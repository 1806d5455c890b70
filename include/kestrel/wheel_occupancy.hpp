// SPDX-License-Identifier: MIT
//
// wheel_occupancy: how full the slots of a wheel are, for those who want to see it turn.

#ifndef KESTREL_WHEEL_OCCUPANCY_HPP
#define KESTREL_WHEEL_OCCUPANCY_HPP

#include <kestrel/version.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// A picture of the two levels at one moment.
///
/// A timer that was postponed counts in the slot where it was filed, until that slot comes up. One
/// that is due, or on its way from one level to the other, is in none.
///
/// The slot at the hand is the one that the present belongs to. Of level 1, that slot and those
/// after it, as many as fit into level 0, have come down already: what is in them waits for another
/// turn.
struct wheel_occupancy {
  /// One of the two.
  struct level {
    std::vector<std::uint32_t> timers; ///< in each slot
    std::size_t hand = 0;              ///< the number of the slot at the hand
  };

  level l0; ///< a slot for each tick
  level l1; ///< a slot for each tick of level 1
};

KESTREL_END_NAMESPACE

#endif // KESTREL_WHEEL_OCCUPANCY_HPP
