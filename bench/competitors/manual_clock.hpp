// SPDX-License-Identifier: MIT
//
// kestrel::timer_wheel and asio::steady_timer on a clock that moves when told to, so that hours
// pass at once. Nothing but the clock differs from theirs.

#ifndef KESTREL_BENCH_COMPETITORS_MANUAL_CLOCK_HPP
#define KESTREL_BENCH_COMPETITORS_MANUAL_CLOCK_HPP

#include <kestrel/timer_wheel.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>

#include "../workload.hpp"
#include "steady_timer.hpp"
#include "timer_wheel.hpp"

#include <chrono>
#include <cstddef>

namespace kestrel_bench {

struct manual_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<manual_clock>;
  static constexpr bool is_steady = false;

  static time_point now() noexcept { return now_; }
  static void advance(duration d) noexcept { now_ += d; }

private:
  inline static time_point now_{24h};
};

/// However far away a timer is, Asio is told to look at the clock again at once.
struct look_at_once {
  static manual_clock::duration to_wait_duration(const manual_clock::duration&) {
    return manual_clock::duration::zero();
  }
  static manual_clock::duration to_wait_duration(const manual_clock::time_point&) {
    return manual_clock::duration::zero();
  }
};

struct manual_traits : kestrel::default_wheel_traits {
  using clock = manual_clock;
  using wait_traits = look_at_once;
};

using manual_timer_wheel = kestrel::basic_timer_wheel<asio::any_io_executor, manual_traits>;
using manual_steady_timer = asio::basic_waitable_timer<manual_clock, look_at_once>;

/// Those of `Timers`, all of which are on the manual clock.
template <class Timers>
class on_manual_clock : public Timers {
public:
  static constexpr bool moves_time = true;

  using Timers::Timers;

  void turn(ticks n) {
    manual_clock::advance(n);
    // When a timer that is due now has run, so have those that were due before it.
    manual_steady_timer probe(this->context(), manual_clock::now());
    bool seen = false;
    probe.async_wait([&seen](asio::error_code) { seen = true; });
    while (!seen) {
      this->context().restart();
      this->context().poll();
    }
    this->context().poll();
  }
};

using manual_timer_wheel_timers = on_manual_clock<timer_wheel_timers<manual_timer_wheel>>;
using manual_steady_timers = on_manual_clock<steady_timers<manual_steady_timer, asio::io_context>>;

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_MANUAL_CLOCK_HPP
