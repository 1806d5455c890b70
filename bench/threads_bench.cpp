// SPDX-License-Identifier: MIT
//
// One wheel, or one context of steady_timers, and one or two threads that do nothing but reset
// their timers, or cancel them and arm them again. Each thread has ten thousand of its own.
//
//   cmake -DBENCH=threads -P cmake/bench.cmake
//
// The figures are nanoseconds of real time for an operation of one thread: with two threads, twice
// as many are done in that time.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <benchmark/benchmark.h>

#include "competitors/steady_timer.hpp"
#include "competitors/timer_wheel.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <cstddef>
#include <memory>
#include <string>

namespace {

using namespace kestrel_bench;

constexpr std::size_t timers_per_thread = 10'000;

/// Does `operate(timers, i, delay)` to timers of this thread's own. Of what is cancelled, the first
/// thread runs the handlers, as the one that runs the context.
template <class Timers, class Operate>
void hammer(benchmark::State& state, Operate operate) {
  static std::unique_ptr<Timers> timers;
  const auto thread = static_cast<std::size_t>(state.thread_index());
  if (thread == 0) {
    timers =
        std::make_unique<Timers>(timers_per_thread * static_cast<std::size_t>(state.threads()));
    random_numbers random;
    for (std::size_t i = 0; i != timers_per_thread * static_cast<std::size_t>(state.threads()); ++i)
      timers->arm(i, random.delay());
  }
  constexpr int operations_per_turn = 64;
  const std::size_t first = thread * timers_per_thread;
  random_numbers random;
  while (state.KeepRunningBatch(operations_per_turn)) { // all threads begin when all are here
    const auto operations = [&] {
      for (int i = 0; i != operations_per_turn; ++i)
        operate(*timers, first + random.below(timers_per_thread), random.delay());
    };
    if constexpr (requires { timers->in_handler(operations); }) {
      if (thread == 0) {
        timers->in_handler(operations);
        continue;
      }
    }
    operations();
  }
  if (thread == 0) { // and all have ended
    if (timers->fired() != 0)
      state.SkipWithError("a timer fired");
    timers.reset();
  }
}

template <class Timers>
void reset(benchmark::State& state) {
  hammer<Timers>(state,
                 [](Timers& timers, std::size_t i, ticks) { timers.reset(i, idle_timeout); });
}

template <class Timers>
void cancel_and_arm(benchmark::State& state) {
  hammer<Timers>(state, [](Timers& timers, std::size_t i, ticks delay) {
    timers.cancel(i);
    timers.arm(i, delay);
  });
}

using wheel = timer_wheel_timers<kestrel::timer_wheel>;
using coarse_wheel = timer_wheel_timers<kestrel::coarse_timer_wheel>;
using kestrel_timers = steady_timers<kestrel::steady_timer, asio::io_context>;
using asio_timers = steady_timers<asio::steady_timer, asio::io_context>;

void register_all(bool quick) {
  const auto add = [quick](const std::string& name, void (*f)(benchmark::State&)) {
    for (const int threads : {1, 2}) {
      const auto slash = name.find('/');
      const std::string who = threads == 1 ? "_by_one" : "_by_two";
      benchmark::RegisterBenchmark((name.substr(0, slash) + who + name.substr(slash)).c_str(), f)
          ->Arg(timers_per_thread)
          ->Threads(threads)
          ->MinTime(quick ? 0.05 : 0.3)
          ->UseRealTime();
    }
  };
  add("reset/asio", reset<asio_timers>);
  add("reset/timer_wheel", reset<wheel>);
  add("reset/coarse", reset<coarse_wheel>);
  add("reset/steady_timer", reset<kestrel_timers>);
  add("cancel_and_arm/asio", cancel_and_arm<asio_timers>);
  add("cancel_and_arm/timer_wheel", cancel_and_arm<wheel>);
  add("cancel_and_arm/coarse", cancel_and_arm<coarse_wheel>);
  add("cancel_and_arm/steady_timer", cancel_and_arm<kestrel_timers>);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
