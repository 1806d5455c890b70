// SPDX-License-Identifier: MIT
//
// libuv's uv_timer_t, which counts delays from the time at which the loop last looked at its clock.

#ifndef KESTREL_BENCH_COMPETITORS_LIBUV_HPP
#define KESTREL_BENCH_COMPETITORS_LIBUV_HPP

#include <uv.h>

#include "../workload.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

class libuv_timers {
public:
  using duration = std::chrono::nanoseconds;
  static constexpr bool moves_time = false;

  explicit libuv_timers(std::size_t n) : timers_(n), callbacks_(n) {
    uv_loop_init(&loop_);
    for (uv_timer_t& t : timers_)
      uv_timer_init(&loop_, &t);
  }
  libuv_timers(const libuv_timers&) = delete;
  libuv_timers& operator=(const libuv_timers&) = delete;

  ~libuv_timers() {
    for (uv_timer_t& t : timers_)
      uv_close(reinterpret_cast<uv_handle_t*>(&t), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }

  void arm(std::size_t i, duration delay) {
    callbacks_[i] = {&fired_, &timers_[i]};
    timers_[i].data = &callbacks_[i];
    reset(i, delay);
  }
  bool cancel(std::size_t i) {
    const bool was_armed = uv_is_active(reinterpret_cast<uv_handle_t*>(&timers_[i])) != 0;
    uv_timer_stop(&timers_[i]);
    return was_armed;
  }
  void reset(std::size_t i, duration delay) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(delay).count();
    uv_timer_start(&timers_[i], fire, static_cast<std::uint64_t>(ms), 0);
  }
  void turn(ticks) { uv_run(&loop_, UV_RUN_NOWAIT); }

  std::uint64_t fired() const { return fired_; }

private:
  static void fire(uv_timer_t* t) { (*static_cast<const callback*>(t->data))(); }

  uv_loop_t loop_;
  std::vector<uv_timer_t> timers_;
  std::vector<callback> callbacks_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_LIBUV_HPP
