// SPDX-License-Identifier: MIT
//
// The timers of a busy server's connections, some of which throw or block.

#ifndef KESTREL_TESTS_SOAK_CONNECTIONS_HPP
#define KESTREL_TESTS_SOAK_CONNECTIONS_HPP

#include "totals.hpp"

#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

namespace kestrel_soak {

/// What a callback throws now and then.
struct fault {};

/// Thread safe. One-shot timers have a wheel of their own, where every number is exact at any time.
class connections {
  static constexpr auto heartbeat_interval = 1s;
  static constexpr auto lost_after = 20s; // later than anything that blocks makes a timer

  /// What should become of one timer. Under the lock of its connection.
  struct account {
    kestrel::timer_id id;
    std::uint64_t number = 0; // of the timer that is pending; 0 if none is
    clock_type::time_point deadline;
  };

  struct connection {
    std::mutex mutex;
    account idle, request, retry, heartbeat;
    std::uint64_t last_number = 0;
    std::uint64_t beat_under_way = 0; // the last one that ran although its timer was cancelled
  };

public:
  connections(asio::io_context& io, std::size_t n, totals& t)
      : totals_{t}, all_(n), wheel_{io}, beats_{io} {
    wheel_.reserve(3 * n);
    memory_ = wheel_.stats().memory;
    for (connection& c : all_) {
      const std::lock_guard lock(c.mutex);
      arm(c, c.idle, 5s);
      start_heartbeat(c);
    }
  }

  /// What one peer does, in any thread.
  template <class Random>
  void act(Random& random) {
    const auto between = [&random](int from, int to) {
      return std::chrono::milliseconds(std::uniform_int_distribution<int>(from, to)(random));
    };
    const auto which = random() % all_.size();
    if (which % 4 == 0 && random() % 256 != 0)
      return; // one of the quiet ones, whose timers are left alone until they fire
    connection& c = all_[which];
    const std::lock_guard lock(c.mutex);
    const auto what = random() % 1000;
    if (what < 800) {
      postpone(c.idle, between(500, 8'000));
    } else if (what < 900) {
      if (cancel(wheel_, c.request))
        arm(c, c.request, between(100, 3'000));
    } else if (what < 999) {
      if (c.retry.number == 0)
        arm(c, c.retry, between(0, 50));
    } else if (cancel(beats_, c.heartbeat)) {
      start_heartbeat(c);
    }
  }

  /// At any time: no timer is overdue, each is accounted for, and their memory is what it was.
  void audit() {
    for (connection& c : all_) {
      const std::lock_guard lock(c.mutex);
      const clock_type::time_point latest = clock_type::now() - lost_after;
      for (account* a : {&c.idle, &c.request, &c.retry, &c.heartbeat}) {
        if (a->number == 0 || a->deadline >= latest)
          continue;
        ++totals_.lost;
        a->deadline = clock_type::now(); // it is told once
      }
    }
    const kestrel::timer_wheel_stats is = wheel_.stats();
    totals_.unaccounted += is.scheduled != is.fired + is.cancelled + is.live ? 1u : 0u;
    totals_.grown += is.memory != memory_ ? 1u : 0u;
  }

  void cancel_everything() {
    for (connection& c : all_) {
      for (account* a : {&c.idle, &c.request, &c.retry, &c.heartbeat}) {
        for (;;) { // until it has run, if it has begun
          const std::lock_guard lock(c.mutex);
          if (cancel(a == &c.heartbeat ? beats_ : wheel_, *a))
            break;
        }
      }
    }
  }

  /// Of both wheels.
  [[nodiscard]] kestrel::timer_wheel_stats stats() const {
    kestrel::timer_wheel_stats sum = wheel_.stats();
    const kestrel::timer_wheel_stats beats = beats_.stats();
    sum.scheduled += beats.scheduled;
    sum.fired += beats.fired;
    sum.cancelled += beats.cancelled;
    sum.postponed += beats.postponed;
    sum.live += beats.live;
    return sum;
  }

private:
  // ---- What connections do. Under their locks.

  void arm(connection& c, account& a, clock_type::duration delay) {
    a.number = ++c.last_number;
    a.deadline = clock_type::now() + delay; // no later than what the wheel makes of it
    a.id = wheel_.schedule_after(delay, [this, &c, &a, n = a.number] { on_expiry(c, a, n); });
    ++totals_.scheduled;
  }

  void start_heartbeat(connection& c) {
    account& a = c.heartbeat;
    a.number = ++c.last_number;
    a.deadline = clock_type::now() + heartbeat_interval;
    a.id = beats_.schedule_every(heartbeat_interval, heartbeat_interval,
                                 [this, &c, n = a.number](kestrel::timer_id, std::uint64_t missed) {
                                   on_heartbeat(c, n, missed);
                                 });
    ++totals_.scheduled;
  }

  void postpone(account& a, clock_type::duration delay) {
    const clock_type::time_point deadline = clock_type::now() + delay;
    if (a.number != 0 && wheel_.postpone(a.id, delay)) {
      a.deadline = deadline;
      ++totals_.postponed;
    } // else it has begun to run
  }

  /// True if none is pending afterwards. Else it has begun to run.
  bool cancel(kestrel::timer_wheel& wheel, account& a) {
    if (a.number != 0 && wheel.cancel(a.id)) {
      a.number = 0;
      ++totals_.cancelled;
    }
    return a.number == 0;
  }

  // ---- What timers do

  void on_expiry(connection& c, account& a, std::uint64_t number) {
    const clock_type::time_point now = clock_type::now();
    ++totals_.fired;
    {
      const std::lock_guard lock(c.mutex);
      if (a.number != number) {
        ++totals_.twice;
        return;
      }
      totals_.note_firing(a.deadline, now);
      a.number = 0;
      if (&a == &c.idle)
        arm(c, a, 5s); // the next client
    }
    misbehave();
  }

  /// One callback may have begun, and wait for the lock, while its timer is cancelled: not two.
  void on_heartbeat(connection& c, std::uint64_t number, std::uint64_t missed) {
    const clock_type::time_point now = clock_type::now();
    ++totals_.fired;
    {
      const std::lock_guard lock(c.mutex);
      account& a = c.heartbeat;
      if (a.number == number) {
        totals_.note_firing(a.deadline, now);
        a.deadline += heartbeat_interval * static_cast<std::int64_t>(1 + missed);
      } else if (number <= c.beat_under_way) {
        ++totals_.twice;
      } else {
        c.beat_under_way = number;
      }
    }
    misbehave();
  }

  void misbehave() {
    static thread_local std::minstd_rand random(std::random_device{}());
    const auto chance = random() % 50'000;
    if (chance == 0) {
      ++totals_.blocked;
      const clock_type::time_point begin = clock_type::now();
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 200));
      totals_.held_up.add(begin, clock_type::now());
    } else if (chance < 10) {
      throw fault{};
    }
  }

  totals& totals_;
  std::deque<connection> all_;
  std::size_t memory_; // of room for all of them
  kestrel::timer_wheel wheel_;
  kestrel::timer_wheel beats_;
};

} // namespace kestrel_soak

#endif // KESTREL_TESTS_SOAK_CONNECTIONS_HPP
