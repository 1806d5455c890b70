// SPDX-License-Identifier: MIT
//
// std::multimap from deadlines to callbacks. A timer that is moved keeps its node.

#ifndef KESTREL_BENCH_COMPETITORS_MULTIMAP_HPP
#define KESTREL_BENCH_COMPETITORS_MULTIMAP_HPP

#include "../workload.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace kestrel_bench {

class multimap_timers {
public:
  using duration = ticks;
  static constexpr bool moves_time = true;

  explicit multimap_timers(std::size_t n) : places_(n, timers_.end()) {}

  void arm(std::size_t i, duration delay) {
    places_[i] = timers_.emplace(now_ + delay, timer{{&fired_, &places_[i]}, i});
  }
  bool cancel(std::size_t i) {
    if (places_[i] == timers_.end())
      return false;
    timers_.erase(std::exchange(places_[i], timers_.end()));
    return true;
  }
  void reset(std::size_t i, duration delay) {
    auto node = timers_.extract(places_[i]);
    node.key() = now_ + delay;
    places_[i] = timers_.insert(std::move(node));
  }
  void turn(ticks n) {
    now_ += n;
    while (!timers_.empty() && timers_.begin()->first <= now_) {
      const auto [call, i] = timers_.begin()->second;
      cancel(i);
      call();
    }
  }

  std::uint64_t fired() const { return fired_; }

private:
  struct timer {
    callback call;
    std::size_t number;
  };
  using map = std::multimap<ticks, timer>;

  map timers_;
  std::vector<map::iterator> places_;
  ticks now_{0};
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_MULTIMAP_HPP
