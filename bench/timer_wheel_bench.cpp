// SPDX-License-Identifier: MIT
//
// Kestrel's timers against those that people could use instead, through public interfaces, with a
// callback of two pointers per timer.
//
//   cmake -P cmake/bench.cmake                     all of it, with plots
//   cmake -DARGS=--quick -P cmake/bench.cmake      few timers, few repetitions; a first impression
//   cmake -DARGS=--help -P cmake/bench.cmake       Google Benchmark's own options, which work too
//
// How to read it. A row is an operation with so many timers pending. The figures are nanoseconds of
// processor time per operation; a ratio says how many times as fast as asio::steady_timer. Which
// timer is next is drawn at random, so that with many timers most of what is seen is cache misses,
// as in a server; drawing is in every figure. The repetitions of all benchmarks are shuffled, so
// that a noisy minute of the machine does not fall on one of them alone: compare within a run
// rather than across runs.
//
//   schedule             arms timers for 30 to 60 s from now until so many are pending
//   cancel               cancels all of them
//   reset                moves an idle timeout to 60 s from now, as for data on a connection
//   cancel_and_arm       cancels, and schedules anew for 30 to 60 s from now
//   server_mix           80 % resets, 10 % cancel_and_arm, 10 % short timers, while time goes on
//   expire_within_level  runs timers that were scheduled into level 0 of a wheel
//   expire_across_levels runs timers that were scheduled into level 1
//   fire                 runs timers that are all due in the same millisecond, or tick
//   one_hour             the whole life of a timer of an hour, from scheduling to firing
//
// Those without a clock (wheel<T>, the textbook's, containers) are stepped; the others live in real
// time, but for the hour, for which timer_wheel and asio::steady_timer go by a clock that is moved.
// The bytes are those that all of it takes when all are pending, the timers' ids, or the objects
// that stand for them, included.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_wheel.hpp>
#include <kestrel/wheel.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <benchmark/benchmark.h>

#include "competitor.hpp"
#include "competitors/floor.hpp"
#include "competitors/manual_clock.hpp"
#include "competitors/multimap.hpp"
#include "competitors/priority_queue.hpp"
#include "competitors/steady_timer.hpp"
#include "competitors/textbook_wheel.hpp"
#include "competitors/timer_wheel.hpp"
#include "competitors/wheel.hpp"
#include "run.hpp"
#include "workload.hpp"

#if defined(KESTREL_BENCH_BOOST)
#include "competitors/boost.hpp"
#endif
#if defined(KESTREL_BENCH_LIBUV)
#include "competitors/libuv.hpp"
#endif
#if defined(KESTREL_BENCH_LIBEVENT)
#include "competitors/libevent.hpp"
#endif

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>

namespace {

using namespace kestrel_bench;

constexpr std::int64_t counts[] = {1'000, 10'000, 100'000, 1'000'000, 10'000'000};

// Those that live in real time and take microseconds to arm a timer are spared ten million: when
// the last was armed, the first would be due.
const competitor competitors[] = {
    entrant<floor_timers>("floor", "floor", 10 * million),
    entrant<wheel_timers<kestrel::wheel<callback>>>("wheel", "wheel<T>", 10 * million),
    entrant<wheel_timers<textbook_wheel<callback>>>("textbook", "textbook wheel", 10 * million),
    entrant<priority_queue_timers>("priority_queue", "std::priority_queue", 10 * million),
    entrant<multimap_timers>("multimap", "std::multimap", 10 * million),
    entrant<timer_wheel_timers<kestrel::timer_wheel>, manual_timer_wheel_timers>(
        "timer_wheel", "timer_wheel", 10 * million),
    entrant<timer_wheel_timers<kestrel::single_threaded_timer_wheel>>(
        "single_threaded", "  without lock", 10 * million),
    entrant<timer_wheel_timers<kestrel::coarse_timer_wheel>>("coarse", "  coarse", 10 * million),
    entrant<timer_wheel_timers<kestrel::single_threaded_coarse_timer_wheel>>(
        "coarse_single_threaded", "  both", 10 * million),
    entrant<steady_timers<kestrel::steady_timer, asio::io_context>>(
        "steady_timer", "kestrel::steady_timer", million),
    entrant<steady_timers<asio::steady_timer, asio::io_context>, manual_steady_timers>(
        "asio", "asio::steady_timer", million),
#if defined(KESTREL_BENCH_BOOST)
    boost_entrant(),
#endif
#if defined(KESTREL_BENCH_LIBUV)
    entrant<libuv_timers>("libuv", "libuv", million),
#endif
#if defined(KESTREL_BENCH_LIBEVENT)
    entrant<libevent_timers>("libevent", "libevent", million),
#endif
};

constexpr const char* yardstick = "asio";

circumstances libraries() {
  return {
#if defined(KESTREL_BENCH_BOOST)
    {"boost", boost_version()},
#endif
#if defined(KESTREL_BENCH_LIBUV)
        {"libuv", uv_version_string()},
#endif
#if defined(KESTREL_BENCH_LIBEVENT)
        {"libevent", event_get_version()},
#endif
  };
}

void register_all(bool quick) {
  using std::chrono::milliseconds;
  for (const competitor& c : competitors) {
    for (std::size_t i = 0; i != std::size(operations); ++i) {
      if (c.measure[i] == nullptr)
        continue;
      const bool waits = operations[i].waits && !c.moves_time;
      if (quick && waits)
        continue;
      const std::int64_t min_count = operations[i].min_timers;
      std::int64_t max_count = std::min(c.max_timers, operations[i].max_timers);
      if (quick)
        max_count = std::min(max_count, std::max<std::int64_t>(10'000, min_count));
      const milliseconds patience = waits ? once : milliseconds(quick ? 20 : 300);
      const auto run = [f = c.measure[i], patience](benchmark::State& state) {
        f(state, patience);
      };
      const std::string name = std::string(operations[i].name) + '/' + c.name;
      for (const std::int64_t n : counts) {
        if (n < min_count || n > max_count)
          continue;
        auto* const b = benchmark::RegisterBenchmark(name.c_str(), run);
        b->Arg(n)->Iterations(1)->UseManualTime();
        if (n == 10 * million)
          b->Repetitions(1); // to set the stage takes very long
      }
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  return run(argc, argv, register_all, libraries(), [](const figures& all) {
    std::puts("\nNanoseconds per operation, medians.");
    print_tables(all, operations, competitors, yardstick);
  });
}
