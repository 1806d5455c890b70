// SPDX-License-Identifier: MIT
//
// A program that has nothing to do for an hour: ten thousand timers that are an hour and more away,
// and a thread that runs their io_context. How often it is woken up, and what that costs.
//
//   cmake -DBENCH=idle -P cmake/bench.cmake
//
// Measured is a minute, or as many seconds as the row names; `wakeups_per_hour` and
// `cpu_ms_per_hour` are that multiplied. What happens less often than once a minute is not seen:
// Asio itself looks at the clock every five minutes, 12 times an hour, as long as it has a timer.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/packaged_task.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <benchmark/benchmark.h>

#include "../examples/echo_server/process.hpp"
#include "competitors/steady_timer.hpp"
#include "competitors/timer_wheel.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <thread>

namespace {

using namespace kestrel_bench;

constexpr std::size_t timers_pending = 10'000;

struct usage {
  double seconds;
  std::uint64_t sleeps;
};

usage usage_of_this_thread() { return {demo::thread_cpu_seconds(), demo::thread_sleeps()}; }

struct no_timers {
  asio::io_context io{1};

  asio::io_context& context() { return io; }
};

template <class Timers>
struct far_timers : Timers {
  far_timers() : Timers(timers_pending) {
    random_numbers random;
    for (std::size_t i = 0; i != timers_pending; ++i)
      this->arm(i, random.between<ticks>(1h, 2h));
  }
};

template <class Timers>
void idle(benchmark::State& state) {
  const std::chrono::seconds length(state.range(0));
  Timers timers;
  asio::io_context& io = timers.context();
  const auto work = asio::make_work_guard(io);
  std::thread thread([&io] { io.run(); });
  const auto ask = [&io] {
    return asio::post(io, std::packaged_task<usage()>(usage_of_this_thread)).get();
  };
  for (auto _ : state) {
    // To ask wakes it up too: once in each of these spans.
    const usage first = ask();
    std::this_thread::sleep_for(100ms);
    const usage before = ask();
    std::this_thread::sleep_for(length);
    const usage after = ask();
    const double per_hour = std::chrono::duration<double>(1h) / length;
    const double asking = before.seconds - first.seconds;
    const double seconds = std::max(0.0, after.seconds - before.seconds - asking);
    state.SetIterationTime(seconds);
    state.counters["wakeups_per_hour"] =
        per_hour * static_cast<double>(after.sleeps - before.sleeps - 1);
    state.counters["cpu_ms_per_hour"] = per_hour * 1000 * seconds;
  }
  io.stop();
  thread.join();
}

void register_all(bool quick) {
  const auto add = [quick](const char* name, void (*f)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name, f)
        ->Arg(quick ? 3 : 60)
        ->Iterations(1)
        ->Repetitions(1)
        ->UseManualTime();
  };
  add("idle/none", idle<no_timers>);
  add("idle/timer_wheel", idle<far_timers<timer_wheel_timers<kestrel::timer_wheel>>>);
  add("idle/steady_timer",
      idle<far_timers<steady_timers<kestrel::steady_timer, asio::io_context>>>);
  add("idle/asio", idle<far_timers<steady_timers<asio::steady_timer, asio::io_context>>>);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
