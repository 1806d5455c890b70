// SPDX-License-Identifier: MIT
//
// kestrel::wheel<T>, or another wheel with its interface, stepped by hand.

#ifndef KESTREL_BENCH_COMPETITORS_WHEEL_HPP
#define KESTREL_BENCH_COMPETITORS_WHEEL_HPP

#include <kestrel/timer_id.hpp>

#include "../workload.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

/// `Wheel` holds `callback`s.
template <class Wheel>
class wheel_timers {
public:
  using duration = ticks;
  static constexpr bool moves_time = true;

  explicit wheel_timers(std::size_t n) : ids_(n) { wheel_.reserve(n); }

  void arm(std::size_t i, duration delay) {
    ids_[i] = wheel_.insert(count(delay), callback{&fired_, &ids_[i]});
  }
  bool cancel(std::size_t i) { return wheel_.cancel(ids_[i]); }
  void reset(std::size_t i, duration delay) { wheel_.postpone(ids_[i], count(delay)); }
  void turn(ticks n) {
    wheel_.advance(count(n), [](kestrel::timer_id, const callback& f) { f(); });
  }

  std::uint64_t fired() const { return fired_; }

private:
  static std::uint64_t count(ticks n) { return static_cast<std::uint64_t>(n.count()); }

  Wheel wheel_;
  std::vector<kestrel::timer_id> ids_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_WHEEL_HPP
