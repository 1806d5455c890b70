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

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

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
  // The fullest slot of a level, which falls slowly, so that colours do not flicker.
  class fullest {
  public:
    void look(const std::vector<std::uint32_t>& timers);
    double part(std::uint32_t timers) const { return timers / most_; }
    double most() const { return most_; }

  private:
    double most_ = 1;
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
  fullest l0_;
  fullest l1_;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_PICTURE_HPP
