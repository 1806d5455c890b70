// SPDX-License-Identifier: MIT
//
// What lazy deletion saves and what it keeps: ten thousand idle timeouts of 60 s, a hundred
// thousand resets a second, for three minutes of virtual time.
//
//   cmake -DBENCH=lazy_deletion -P cmake/bench.cmake
//
// The figures are nanoseconds of processor time per reset, with everything that is done later
// because of it; `bytes_per_timer` is the most that was allocated meanwhile. `priority_queue`
// sweeps entries away that are of no use, when they are more than half; `never_swept` waits until
// they are due.

#include <kestrel/wheel.hpp>

#include <benchmark/benchmark.h>

#include "competitors/multimap.hpp"
#include "competitors/priority_queue.hpp"
#include "competitors/textbook_wheel.hpp"
#include "competitors/wheel.hpp"
#include "resources.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

namespace {

using namespace kestrel_bench;

template <class Timers>
void reset(Timers& timers, std::size_t i) {
  timers.reset(i, idle_timeout);
}

template <class Timers>
void cancel_and_arm(Timers& timers, std::size_t i) {
  timers.cancel(i);
  timers.arm(i, idle_timeout);
}

template <class Timers, void (*Operation)(Timers&, std::size_t)>
void while_time_passes(benchmark::State& state) {
  constexpr ticks length = 180s;
  constexpr std::size_t operations_per_tick = 1000;
  const auto n = static_cast<std::size_t>(state.range(0));
  const std::size_t before = allocated_bytes();
  Timers timers(n);
  for (std::size_t i = 0; i != n; ++i)
    timers.arm(i, idle_timeout);
  random_numbers random;
  std::size_t most = 0;
  for (auto _ : state) {
    const stopwatch taken;
    for (ticks t{0}; t != length; ++t) {
      for (std::size_t i = 0; i != operations_per_tick; ++i)
        Operation(timers, random.below(n));
      timers.turn(ticks(1));
      if (t % 100 == ticks(0))
        most = std::max(most, allocated_bytes() - before);
    }
    const auto done = static_cast<std::size_t>(length.count()) * operations_per_tick;
    state.SetIterationTime(taken.sample_of(done).seconds / static_cast<double>(done));
  }
  if (knows_allocated_bytes)
    state.counters["bytes_per_timer"] = static_cast<double>(most) / static_cast<double>(n);
  if (timers.fired() > n / 10)
    state.SkipWithError("timeouts were reached");
}

template <class Timers>
void add(const std::string& name, int repetitions) {
  const auto add_operation = [&](const char* operation, void (*f)(benchmark::State&)) {
    benchmark::RegisterBenchmark((operation + name).c_str(), f)
        ->Arg(10'000)
        ->Iterations(1)
        ->Repetitions(repetitions)
        ->UseManualTime();
  };
  add_operation("reset/", while_time_passes<Timers, reset<Timers>>);
  add_operation("cancel_and_arm/", while_time_passes<Timers, cancel_and_arm<Timers>>);
}

void register_all(bool quick) {
  const int repetitions = quick ? 1 : 3;
  add<wheel_timers<kestrel::wheel<callback>>>("wheel", repetitions);
  add<wheel_timers<textbook_wheel<callback>>>("textbook", repetitions);
  add<multimap_timers>("multimap", repetitions);
  add<priority_queue_timers>("priority_queue", repetitions);
  add<lazy_priority_queue_timers<false>>("never_swept", repetitions);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
