// SPDX-License-Identifier: MIT
//
// The picture of a turning wheel: both levels, what comes down from one to the other, and the
// figures beside them.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_PICTURE_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_PICTURE_HPP

#include "canvas.hpp"
#include "falls.hpp"
#include "meter.hpp"

#include <kestrel/timer_wheel_stats.hpp>
#include <kestrel/wheel_config.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace turn {

// What there is to see at one time.
struct view {
  std::chrono::duration<double> time; // since the beginning
  kestrel::wheel_occupancy slots;
  kestrel::timer_wheel_stats stats;
  double messages_per_second;
  std::uint64_t early;
};

class picture {
public:
  explicit picture(const kestrel::wheel_config& config) : falls_{config} {}

  // To be shown each view, also where it is not drawn: it notes what moves.
  void look(const view& v);

  canvas draw(const view& v) const;

private:
  // How many timers a full slot of a level has: as many as one in fifty has, or more. This becomes
  // less only slowly, so that colours do not flicker.
  class fullness {
  public:
    void look(std::vector<std::uint32_t> timers);
    double of(std::uint32_t timers) const { return std::min(1.0, timers / full_); }
    double full() const { return full_; }

  private:
    double full_ = 1;
  };

  void draw_level_1(canvas& c, const view& v) const;
  void draw_falls(canvas& c, const view& v) const;
  void draw_level_0(canvas& c, const view& v) const;
  void draw_legend(canvas& c, const view& v) const;
  void draw_rates(canvas& c) const;
  void draw_timers(canvas& c, const view& v) const;
  void draw_lateness(canvas& c, const view& v) const;

  falls falls_;
  meter meter_;
  fullness l0_;
  fullness l1_;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_PICTURE_HPP
