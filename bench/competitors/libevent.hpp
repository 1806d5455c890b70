// SPDX-License-Identifier: MIT
//
// libevent's timers, without its lists of common timeouts.

#ifndef KESTREL_BENCH_COMPETITORS_LIBEVENT_HPP
#define KESTREL_BENCH_COMPETITORS_LIBEVENT_HPP

#include <event2/event.h>
#include <event2/event_struct.h>

#include "../workload.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

class libevent_timers {
public:
  using duration = std::chrono::nanoseconds;
  static constexpr bool moves_time = false;

  explicit libevent_timers(std::size_t n) : base_{event_base_new()}, timers_(n), callbacks_(n) {
    for (std::size_t i = 0; i != n; ++i)
      evtimer_assign(&timers_[i], base_, fire, &callbacks_[i]);
  }
  libevent_timers(const libevent_timers&) = delete;
  libevent_timers& operator=(const libevent_timers&) = delete;

  ~libevent_timers() {
    for (event& t : timers_)
      evtimer_del(&t);
    event_base_free(base_);
  }

  void arm(std::size_t i, duration delay) {
    callbacks_[i] = {&fired_, &timers_[i]};
    reset(i, delay);
  }
  bool cancel(std::size_t i) {
    const bool was_armed = evtimer_pending(&timers_[i], nullptr) != 0;
    evtimer_del(&timers_[i]);
    return was_armed;
  }
  void reset(std::size_t i, duration delay) {
    const auto us = std::chrono::ceil<std::chrono::microseconds>(delay).count();
    const timeval time{us / 1'000'000, us % 1'000'000};
    evtimer_add(&timers_[i], &time);
  }
  void turn(ticks) { event_base_loop(base_, EVLOOP_NONBLOCK); }

  std::uint64_t fired() const { return fired_; }

private:
  static void fire(evutil_socket_t, short, void* f) { (*static_cast<const callback*>(f))(); }

  event_base* base_;
  std::vector<event> timers_;
  std::vector<callback> callbacks_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_LIBEVENT_HPP
