// SPDX-License-Identifier: MIT
//
// The table of operations, and what a competitor's line in the table of competitors consists of.

#ifndef KESTREL_BENCH_COMPETITOR_HPP
#define KESTREL_BENCH_COMPETITOR_HPP

#include <benchmark/benchmark.h>

#include "operations.hpp"

#include <chrono>
#include <cstdint>
#include <iterator>

namespace kestrel_bench {

struct operation {
  const char* name;
  const char* title;
  bool waits; // for many seconds, unless time can be moved
};

constexpr operation operations[] = {
    {"schedule", "schedule", false},
    {"cancel", "cancel", false},
    {"reset", "reset", false},
    {"cancel_and_arm", "cancel and arm", false},
    {"server_mix", "server mix", false},
    {"expire_within_level", "expire within a level", false},
    {"expire_across_levels", "expire across levels", true},
    {"fire", "fire", false},
};

struct competitor {
  const char* name;
  const char* title;
  std::int64_t max_timers;
  bool moves_time;
  void (*measure[std::size(operations)])(benchmark::State&, std::chrono::milliseconds patience);
};

template <class Timers>
constexpr competitor entrant(const char* name, const char* title, std::int64_t max_timers) {
  return {name,
          title,
          max_timers,
          Timers::moves_time,
          {measure<Timers, schedule>, measure<Timers, cancel>, measure<Timers, reset>,
           measure<Timers, cancel_and_arm>, measure<Timers, server_mix>,
           measure<Timers, expire_within_level>, measure<Timers, expire_across_levels>,
           measure<Timers, fire>}};
}

constexpr std::int64_t million = 1'000'000;

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITOR_HPP
