// SPDX-License-Identifier: MIT
//
// What holds up the threads that run the context, as one of Asio's timers and whoever blocks see
// it: this much a timer may be late, and no more.

#ifndef KESTREL_TESTS_SOAK_HOLD_UPS_HPP
#define KESTREL_TESTS_SOAK_HOLD_UPS_HPP

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>

namespace kestrel_soak {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

/// Thread safe.
class hold_ups {
  static constexpr auto remembered = 60s;
  static constexpr auto not_worth_mentioning = 1ms;

  struct interval {
    clock_type::time_point begin, end;
  };

public:
  /// Nothing went on from `begin` to `end`. To work off what has become due meanwhile may take as
  /// long again, during which Asio's timers are served.
  void add(clock_type::time_point begin, clock_type::time_point end) {
    if (end - begin < not_worth_mentioning)
      return;
    const std::lock_guard lock(mutex_);
    all_.push_back(doubled({begin, end}));
    while (all_.front().end < end - remembered)
      all_.pop_front();
  }

  /// Asio's timer is due at this time, and has been served until now.
  void expect(clock_type::time_point due) {
    const std::lock_guard lock(mutex_);
    due_ = due;
  }

  /// How late a timer may be now that was due at a time.
  [[nodiscard]] clock_type::duration since(clock_type::time_point time,
                                           clock_type::time_point now) const {
    const auto shared = [&](const interval& i) {
      return std::max<clock_type::duration>(std::min(i.end, now) - std::max(i.begin, time), 0s);
    };
    const std::lock_guard lock(mutex_);
    clock_type::duration sum = shared({due_, now}); // which goes on
    for (const interval& i : all_)
      sum += shared(i);
    return sum;
  }

private:
  static interval doubled(interval i) { return {i.begin, i.end + (i.end - i.begin)}; }

  mutable std::mutex mutex_;
  std::deque<interval> all_;
  clock_type::time_point due_ = clock_type::time_point::max();
};

} // namespace kestrel_soak

#endif // KESTREL_TESTS_SOAK_HOLD_UPS_HPP
