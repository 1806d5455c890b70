// SPDX-License-Identifier: MIT
//
// kestrel::timer_wheel, with and without its lock, with the exact and the coarse clock.

#ifndef KESTREL_BENCH_COMPETITORS_TIMER_WHEEL_HPP
#define KESTREL_BENCH_COMPETITORS_TIMER_WHEEL_HPP

#include <kestrel/timer_id.hpp>

#include <asio/io_context.hpp>

#include "../workload.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

template <class Wheel>
class timer_wheel_timers {
public:
  using duration = std::chrono::nanoseconds;
  static constexpr bool moves_time = false;

  explicit timer_wheel_timers(std::size_t n) : ids_(n) { wheel_.reserve(n); }

  void arm(std::size_t i, duration delay) {
    ids_[i] = wheel_.schedule_after(delay, callback{&fired_, &ids_[i]});
  }
  bool cancel(std::size_t i) { return wheel_.cancel(ids_[i]); }
  void reset(std::size_t i, duration delay) { wheel_.postpone(ids_[i], delay); }
  void turn(ticks) {
    io_.restart();
    io_.poll();
  }

  std::uint64_t fired() const { return fired_; }
  asio::io_context& context() { return io_; }
  Wheel& wheel() { return wheel_; }
  [[nodiscard]] kestrel::timer_id id(std::size_t i) const { return ids_[i]; }

private:
  asio::io_context io_{1};
  Wheel wheel_{io_};
  std::vector<kestrel::timer_id> ids_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_TIMER_WHEEL_HPP
