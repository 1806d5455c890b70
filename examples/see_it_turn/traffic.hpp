// SPDX-License-Identifier: MIT
//
// What a busy server does to its timers. Each connection has an idle timeout, which each message
// postpones; some messages begin a request, whose deadline the next one cancels. One connection in
// five is silent; when its timeout runs out, it makes room for another. Now and then a crowd
// reconnects.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_TRAFFIC_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_TRAFFIC_HPP

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace turn {

// Single-threaded; on the wheel's executor.
class traffic {
  using clock = kestrel::timer_wheel::clock_type;

public:
  traffic(kestrel::single_threaded_timer_wheel& wheel, std::size_t connections,
          double messages_per_second)
      : wheel_{wheel}, connections_(connections), rate_{messages_per_second} {
    wheel_.reserve(2 * connections);
    std::uniform_real_distribution<double> age(0.0, 1.0);
    for (std::size_t i = 0; i != connections; ++i) {
      begin(i);
      connect(i, shortest + (connections_[i].timeout - shortest) * age(random_));
    }
    work_ = wheel_.schedule_every(pace, pace, [this] { work(); });
  }

  ~traffic() {
    wheel_.cancel(work_);
    for (const connection& c : connections_) {
      wheel_.cancel(c.idle);
      wheel_.cancel(c.request);
    }
  }

  traffic(const traffic&) = delete;
  traffic& operator=(const traffic&) = delete;

  double messages_per_second() const { return rate_; }
  void messages_per_second(double rate) { rate_ = rate; }

  std::size_t connections() const { return connections_.size(); }

  // Callbacks that ran before their time, by a clock of our own: none, if the library is right.
  std::uint64_t early() const { return early_; }

private:
  using seconds = std::chrono::duration<double>;
  using time_point = std::chrono::time_point<clock, seconds>;

  static constexpr auto pace = std::chrono::milliseconds(10);
  static constexpr auto at_a_time = std::chrono::milliseconds(5); // the rest is left undone
  static constexpr std::size_t messages_per_look = 256;
  static constexpr seconds request_deadline{3.0};
  static constexpr seconds from_crowd_to_crowd{7.0};
  static constexpr seconds crowd_lasts{1.5};
  static constexpr double crowds = 12; // that there are in all connections
  static constexpr seconds shortest{2.0};
  static constexpr seconds longest{60.0};

  struct connection {
    kestrel::timer_id idle;
    kestrel::timer_id request;
    seconds timeout{};
    bool is_silent = false;
    time_point idle_due; // no later than the deadline that the wheel keeps
    time_point request_due;
  };

  void begin(std::size_t i) {
    std::uniform_real_distribution<double> timeout(shortest.count(), longest.count());
    connections_[i].timeout = seconds(timeout(random_));
    connections_[i].is_silent = random_() % 5 == 0;
  }

  std::size_t any() { return random_() % connections_.size(); }

  void connect(std::size_t i, seconds delay) {
    connection& c = connections_[i];
    c.idle_due = clock::now() + delay;
    c.idle = wheel_.schedule_after(delay, [this, i] {
      note_start(connections_[i].idle_due);
      begin(i);
      connect(i, connections_[i].timeout);
    });
  }

  void begin_request(std::size_t i, time_point now) {
    connection& c = connections_[i];
    c.request_due = now + request_deadline;
    c.request = wheel_.schedule_after(request_deadline,
                                      [this, i] { note_start(connections_[i].request_due); });
  }

  void note_start(time_point due) {
    if (clock::now() < due) {
      ++early_;
    }
  }

  void message(std::size_t i, time_point now) {
    connection& c = connections_[i];
    if (c.is_silent) {
      return;
    }
    c.idle_due = now + c.timeout;
    wheel_.postpone(c.idle, c.timeout);
    if (!wheel_.cancel(c.request) && random_() % 3 == 0) {
      begin_request(i, now);
    }
  }

  void reconnect(std::size_t i) {
    wheel_.cancel(connections_[i].idle);
    connections_[i].timeout = longest / 2;
    connect(i, connections_[i].timeout);
  }

  // What should have been done by now, but not for longer than others can wait.
  void work() {
    const time_point now = clock::now();
    const seconds passed = std::min(now - last_work_, seconds(0.1));
    last_work_ = now;
    if (std::fmod((now - start_).count(), from_crowd_to_crowd.count()) < crowd_lasts.count()) {
      coming_ += static_cast<double>(connections_.size()) / crowds * (passed / crowd_lasts);
    }
    for (; coming_ >= 1; --coming_) {
      reconnect(any());
    }
    open_ += rate_ * passed.count();
    for (std::size_t n = 1; open_ >= 1; ++n, --open_) {
      message(any(), now);
      if (n % messages_per_look == 0 && clock::now() - now > at_a_time) {
        open_ = std::min(open_, rate_ * passed.count());
        return;
      }
    }
  }

  kestrel::single_threaded_timer_wheel& wheel_;
  std::vector<connection> connections_;
  double rate_;
  double open_ = 0;   // messages that should have come by now
  double coming_ = 0; // connections of a crowd, the same
  time_point start_ = clock::now();
  time_point last_work_ = start_;
  kestrel::timer_id work_;
  std::minstd_rand random_;
  std::uint64_t early_ = 0;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_TRAFFIC_HPP
