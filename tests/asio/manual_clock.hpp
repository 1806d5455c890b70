// SPDX-License-Identifier: MIT
//
// What the tests of timer_wheel share: a clock that moves when told to, wheels that go by it, and a
// way to run an io_context until nothing is left to do at the time the clock shows. No sleeping.

#ifndef KESTREL_TESTS_MANUAL_CLOCK_HPP
#define KESTREL_TESTS_MANUAL_CLOCK_HPP

#include <kestrel/timer_wheel.hpp>

#include <asio/basic_waitable_timer.hpp>
#include <asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <ostream>
#include <type_traits>
#include <vector>

namespace kestrel_tests {

using namespace std::chrono_literals;

struct manual_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<manual_clock, duration>;
  static constexpr bool is_steady = false;

  /// Where it starts. An odd number, so that no tick falls on a round one by accident.
  static constexpr time_point start{duration(1'234'567'891'011)};

  static time_point now() noexcept { return time_point(duration(ns_.load())); }
  static void set(time_point time) noexcept { ns_.store(time.time_since_epoch().count()); }
  static void advance(duration d) noexcept { ns_.fetch_add(d.count()); }

private:
  inline static std::atomic<std::int64_t> ns_{start.time_since_epoch().count()};
};

/// However far away a timer is, Asio is told to look at the clock again at once.
struct manual_wait_traits {
  static manual_clock::duration to_wait_duration(const manual_clock::duration&) {
    return manual_clock::duration::zero();
  }
  static manual_clock::duration to_wait_duration(const manual_clock::time_point&) {
    return manual_clock::duration::zero();
  }
};

/// Tells whether this thread holds it, and bears being locked twice, so that user code that runs
/// under a wheel's lock makes a test fail instead of hang.
class checked_mutex {
public:
  void lock() {
    mutex_.lock();
    if (held_++ != 0)
      ++violations_;
  }

  void unlock() {
    --held_;
    mutex_.unlock();
  }

  /// How many of them this thread holds.
  static int held() noexcept { return held_; }

  /// How often one was locked by a thread that held one already. Starts again from zero.
  static int take_violations() noexcept { return violations_.exchange(0); }

private:
  std::recursive_mutex mutex_;
  inline static thread_local int held_ = 0;
  inline static std::atomic<int> violations_{0};
};

struct manual_traits : kestrel::default_wheel_traits {
  using clock = manual_clock;
  using wait_traits = manual_wait_traits;
  using mutex = checked_mutex;
};

struct single_threaded_traits : manual_traits {
  using mutex = kestrel::null_mutex;
};

/// 512 x 10 ms + 64 x 1 s, as the default, but known to the compiler.
struct static_traits : manual_traits {
  using geometry = kestrel::static_geometry<512, 64, 100, 10'000'000>;
};

/// 8 x 10 ms = 80 ms; 4 x 40 ms = 160 ms.
struct tiny_traits : manual_traits {
  using geometry = kestrel::static_geometry<8, 4, 4, 10'000'000>;
};

template <class Traits>
using wheel_with = kestrel::basic_timer_wheel<asio::any_io_executor, Traits>;

using manual_wheel = wheel_with<manual_traits>;

inline constexpr manual_clock::duration tick = 10ms;

/// Runs `io` until nothing is left to do before the clock moves. A timer of the same queue as the
/// wheels' drivers tells when Asio has looked at the clock; what it throws leaves.
inline std::size_t settle(asio::io_context& io) {
  using timer = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;
  std::size_t total = 0;
  // The last work that another thread finishes may stop `io` after it has been given some more.
  const auto poll = [&io] {
    io.restart();
    return io.poll();
  };
  for (;;) {
    timer probe(io, manual_clock::now());
    const auto seen = std::make_shared<bool>(false);
    probe.async_wait([seen](asio::error_code) { *seen = true; });
    std::size_t ran = 0;
    while (!*seen)
      ran += poll();
    ran += poll();
    if (ran == 1)
      return total; // the probe alone
    total += ran - 1;
  }
}

/// Lets time pass in one step, as after a stall.
inline void stall(asio::io_context& io, manual_clock::duration d) {
  manual_clock::advance(d);
  settle(io);
}

/// Lets time pass tick by tick.
inline void pass(asio::io_context& io, manual_clock::duration d,
                 manual_clock::duration step = tick) {
  const auto end = manual_clock::now() + d;
  while (manual_clock::now() < end) {
    manual_clock::advance(std::min(step, end - manual_clock::now()));
    settle(io);
  }
}

/// Does `io` have nothing left to wait for?
inline bool out_of_work(asio::io_context& io) {
  io.restart();
  io.poll();
  return io.stopped();
}

/// The first time at or after `time` at which a wheel made at `epoch` fires.
inline manual_clock::time_point tick_after(manual_clock::time_point time,
                                           manual_clock::time_point epoch,
                                           manual_clock::duration length = tick) {
  const auto since = time - epoch;
  const auto ticks = since / length + (since % length > 0ns ? 1 : 0);
  return epoch + ticks * length;
}

/// That something ran, and when, counted from the start of the clock.
struct event {
  int label;
  manual_clock::duration at;

  friend bool operator==(const event&, const event&) = default;
  friend std::ostream& operator<<(std::ostream& out, const event& e) {
    return out << e.label << " at " << e.at.count() << " ns";
  }
};

struct journal : std::vector<event> {
  using std::vector<event>::vector;

  /// A callback that notes that it ran.
  auto note(int label) {
    return [this, label] { push_back({label, manual_clock::now() - manual_clock::start}); };
  }

  [[nodiscard]] std::vector<int> labels() const {
    std::vector<int> result;
    for (const event& e : *this)
      result.push_back(e.label);
    return result;
  }
};

/// Sets the clock to its start when a test begins; at its end, no user code may have run under a
/// wheel's lock.
struct at_start {
  at_start() {
    manual_clock::set(manual_clock::start);
    checked_mutex::take_violations();
  }
};

/// What most tests begin with, for TEST_CASE_METHOD: the clock at its start, and a wheel on an
/// io_context.
struct one_wheel {
  at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_MANUAL_CLOCK_HPP
