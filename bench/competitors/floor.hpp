// SPDX-License-Identifier: MIT
//
// No timers, but the least that any could cost: each operation reads and writes one record of 64
// bytes, in memory as good as Kestrel's. What was armed for soon is due at the next turn, in the
// order of arming.

#ifndef KESTREL_BENCH_COMPETITORS_FLOOR_HPP
#define KESTREL_BENCH_COMPETITORS_FLOOR_HPP

#include <kestrel/detail/large_pages.hpp>

#include "../workload.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace kestrel_bench {

class floor_timers {
public:
  using duration = ticks;
  static constexpr bool moves_time = true;
  static constexpr bool ignores_time = true;

  explicit floor_timers(std::size_t n) {
    records_.reserve(n);
    kestrel::detail::prefer_large_pages(records_.data(), n * sizeof(record));
    records_.resize(n);
    due_.reserve(n);
  }

  void arm(std::size_t i, duration delay) {
    records_[i] = {delay, {&fired_, &records_[i]}, true};
    if (delay < shortest_delay)
      due_.push_back(static_cast<std::uint32_t>(i));
  }
  bool cancel(std::size_t i) { return std::exchange(records_[i].armed, false); }
  void reset(std::size_t i, duration delay) { records_[i].deadline += delay; }
  void turn(ticks) {
    for (const std::uint32_t i : due_) {
      records_[i].armed = false;
      records_[i].call();
    }
    due_.clear();
  }

  std::uint64_t fired() const { return fired_; }

private:
  struct alignas(64) record {
    ticks deadline{0};
    callback call{};
    bool armed = false;
  };

  std::vector<record> records_;
  std::vector<std::uint32_t> due_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_FLOOR_HPP
