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
  bool waits = false; // for many seconds, unless time can be moved
  std::int64_t min_timers = 0;
  std::int64_t max_timers = 10'000'000;
};

constexpr operation operations[] = {
    {"schedule", "schedule"},
    {"cancel", "cancel"},
    {"reset", "reset"},
    {"cancel_and_arm", "cancel and arm"},
    {"server_mix", "server mix"},
    {"expire_within_level", "expire within a level"},
    {"expire_across_levels", "expire across levels", true},
    {"fire", "fire"},
    {"one_hour", "an hour's life", false, 100'000, 1'000'000},
};

struct competitor {
  const char* name;
  const char* title;
  std::int64_t max_timers;
  bool moves_time;
  /// Null where the operation cannot be measured.
  void (*measure[std::size(operations)])(benchmark::State&, std::chrono::milliseconds patience);
};

/// One that fires when it is time.
template <class Timers>
concept keeps_virtual_time = Timers::moves_time && !requires {
  Timers::ignores_time;
};

/// `InVirtualTime` are the same on a clock that is moved, if `Timers` go by one that is not.
template <class Timers, class InVirtualTime = Timers>
constexpr competitor entrant(const char* name, const char* title, std::int64_t max_timers) {
  competitor c{name,
               title,
               max_timers,
               Timers::moves_time,
               {measure<Timers, schedule>, measure<Timers, cancel>, measure<Timers, reset>,
                measure<Timers, cancel_and_arm>, measure<Timers, server_mix>,
                measure<Timers, expire_within_level>, measure<Timers, expire_across_levels>,
                measure<Timers, fire>, nullptr}};
  if constexpr (keeps_virtual_time<InVirtualTime>)
    c.measure[std::size(operations) - 1] = measure<InVirtualTime, one_hour>;
  return c;
}

constexpr std::int64_t million = 1'000'000;

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITOR_HPP
