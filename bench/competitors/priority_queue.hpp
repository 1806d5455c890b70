// SPDX-License-Identifier: MIT
//
// std::priority_queue of deadlines, with lazy deletion: a timer that is cancelled or moved leaves
// its old entry behind, which is passed over when it comes up. When more than half of the entries
// are such, they are swept away, unless nobody cares.

#ifndef KESTREL_BENCH_COMPETITORS_PRIORITY_QUEUE_HPP
#define KESTREL_BENCH_COMPETITORS_PRIORITY_QUEUE_HPP

#include "../workload.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace kestrel_bench {

template <bool Sweeps>
class lazy_priority_queue_timers {
public:
  using duration = ticks;
  static constexpr bool moves_time = true;

  explicit lazy_priority_queue_timers(std::size_t n) : timers_(n) {
    queue_.reserve(2 * n + slack + 1);
  }

  void arm(std::size_t i, duration delay) {
    timers_[i].call = {&fired_, &timers_[i]};
    timers_[i].armed = true;
    ++armed_;
    push(i, delay);
  }
  bool cancel(std::size_t i) {
    if (!timers_[i].armed)
      return false;
    disarm(timers_[i]);
    return true;
  }
  void reset(std::size_t i, duration delay) {
    ++timers_[i].generation;
    push(i, delay);
  }
  void turn(ticks n) {
    now_ += n;
    while (!queue_.empty() && queue_.top().deadline <= now_) {
      const entry e = queue_.top();
      queue_.pop();
      if (is_current(e)) {
        disarm(timers_[e.index]);
        timers_[e.index].call();
      }
    }
  }

  std::uint64_t fired() const { return fired_; }

private:
  static constexpr std::size_t slack = 64;

  struct timer {
    callback call{};
    std::uint32_t generation = 0;
    bool armed = false;
  };

  struct entry {
    ticks deadline;
    std::uint32_t index;
    std::uint32_t generation;

    friend bool operator>(const entry& a, const entry& b) { return a.deadline > b.deadline; }
  };

  struct queue : std::priority_queue<entry, std::vector<entry>, std::greater<>> {
    void reserve(std::size_t n) { this->c.reserve(n); }

    template <class Predicate>
    void erase_if(Predicate predicate) {
      std::erase_if(this->c, predicate);
      std::ranges::make_heap(this->c, this->comp);
    }
  };

  bool is_current(const entry& e) const { return timers_[e.index].generation == e.generation; }

  void disarm(timer& t) {
    t.armed = false;
    ++t.generation;
    --armed_;
  }

  void push(std::size_t i, duration delay) {
    queue_.push({now_ + delay, static_cast<std::uint32_t>(i), timers_[i].generation});
    if (Sweeps && queue_.size() > 2 * armed_ + slack)
      queue_.erase_if([this](const entry& e) { return !is_current(e); });
  }

  std::vector<timer> timers_;
  queue queue_;
  std::size_t armed_ = 0;
  ticks now_{0};
  std::uint64_t fired_ = 0;
};

using priority_queue_timers = lazy_priority_queue_timers<true>;

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_PRIORITY_QUEUE_HPP
