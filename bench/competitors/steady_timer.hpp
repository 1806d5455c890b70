// SPDX-License-Identifier: MIT
//
// asio::steady_timer, Boost.Asio's, and Kestrel's with the same interface.
//
// It can only be reset by cancelling the wait. The aborted handlers are a part of its price:
// io_context::poll() gets rid of them. One thread uses it in handlers, as network programs do.

#ifndef KESTREL_BENCH_COMPETITORS_STEADY_TIMER_HPP
#define KESTREL_BENCH_COMPETITORS_STEADY_TIMER_HPP

#include "../workload.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

template <class Timer, class Context>
class steady_timers {
public:
  using duration = std::chrono::nanoseconds;
  static constexpr bool moves_time = false;

  explicit steady_timers(std::size_t n) {
    timers_.reserve(n);
    while (timers_.size() != n)
      timers_.emplace_back(io_);
  }

  void arm(std::size_t i, duration delay) {
    timers_[i].expires_after(delay);
    timers_[i].async_wait(callback{&fired_, &timers_[i]});
  }
  bool cancel(std::size_t i) { return timers_[i].cancel() != 0; }
  void reset(std::size_t i, duration delay) { arm(i, delay); }
  template <class F>
  void in_handler(F&& f) {
    post(io_, [&f] { f(); });
    turn(ticks(0));
  }
  void turn(ticks) {
    io_.restart();
    io_.poll();
  }

  std::uint64_t fired() const { return fired_; }
  Context& context() { return io_; }

private:
  Context io_{1};
  std::vector<Timer> timers_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_STEADY_TIMER_HPP
