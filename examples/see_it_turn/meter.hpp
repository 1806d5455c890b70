// SPDX-License-Identifier: MIT
//
// Counters become rates: how much was done per second, over the last second.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_METER_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_METER_HPP

#include <kestrel/timer_wheel_stats.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

namespace turn {

class meter {
public:
  using seconds = std::chrono::duration<double>; // since the beginning

  void note(seconds time, const kestrel::timer_wheel_stats& stats) {
    marks_.push_back({time, stats});
    while (marks_.size() > 2 && marks_[1].time <= time - window) {
      marks_.pop_front();
    }
    if (time >= next_entry_) {
      next_entry_ = time + seconds(0.5);
      history_.push_front(operations());
      if (history_.size() > entries) {
        history_.pop_back();
      }
    }
  }

  double per_second(std::uint64_t kestrel::timer_wheel_stats::*counter) const {
    if (marks_.size() < 2) {
      return 0;
    }
    const mark& first = marks_.front();
    const mark& last = marks_.back();
    return static_cast<double>(last.stats.*counter - first.stats.*counter) /
           (last.time - first.time).count();
  }

  // All that users of a wheel do to timers, and what it does for them.
  double operations() const {
    using stats = kestrel::timer_wheel_stats;
    return per_second(&stats::scheduled) + per_second(&stats::postponed) +
           per_second(&stats::cancelled) + per_second(&stats::fired);
  }

  // Operations per second, every half second, the latest first.
  const std::deque<double>& history() const { return history_; }

  static constexpr std::size_t entries = 28;

private:
  static constexpr seconds window{1.0};

  struct mark {
    seconds time;
    kestrel::timer_wheel_stats stats;
  };

  std::deque<mark> marks_;
  std::deque<double> history_;
  seconds next_entry_{1.0};
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_METER_HPP
