// SPDX-License-Identifier: MIT
//
// missed_periods: what a periodic timer does about the periods it was too late for.

#ifndef KESTREL_MISSED_PERIODS_HPP
#define KESTREL_MISSED_PERIODS_HPP

#include <kestrel/version.hpp>

KESTREL_BEGIN_NAMESPACE

/// Firing number k of a periodic timer is due at start + initial + k * interval. When a stalled
/// program gets to one so late that the next are over too, it
enum class missed_periods {
  skip, ///< goes on with the next period still to come, and tells the callback how many were not
  catch_up, ///< fires for each of them, one after the other, until it is in time again
  delay, ///< starts anew from each firing, which is always a little late. It alone drifts, and it
         ///< alone keeps firings an interval apart
};

KESTREL_END_NAMESPACE

#endif // KESTREL_MISSED_PERIODS_HPP
