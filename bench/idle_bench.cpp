// SPDX-License-Identifier: MIT
//
// A program that has nothing to do for an hour: ten thousand timers that are an hour and more away,
// and a thread that runs their io_context. How often it is woken up, and what that costs.
//
//   cmake -DBENCH=idle -P cmake/bench.cmake
//
// Measured is half a minute, or as many `seconds` as it says; `wakeups_per_hour` and
// `cpu_ms_per_hour` are that multiplied. What happens less often is not seen: Asio looks at the
// clock every five minutes, 12 times an hour, as long as it waits for a timer. What the wheel
// itself asks to be woken for within an hour is counted by the wheel, in virtual time:
// wakeups_in_virtual_hour.

#include <kestrel/steady_timer.hpp>
#include <kestrel/testing.hpp>
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
#include "resources.hpp"
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

constexpr std::int64_t timers_pending = 10'000;

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
  far_timers() : Timers(std::size_t{timers_pending}) {
    random_numbers random;
    for (std::size_t i = 0; i != std::size_t{timers_pending}; ++i)
      this->arm(i, random.between<ticks>(1h, 2h));
  }
};

template <class Timers>
void idle(benchmark::State& state, std::chrono::seconds length) {
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
    state.counters["seconds"] = static_cast<double>(length.count());
    state.counters["wakeups_per_hour"] =
        per_hour * static_cast<double>(after.sleeps - before.sleeps - 1);
    state.counters["cpu_ms_per_hour"] = per_hour * 1000 * seconds;
  }
  io.stop();
  thread.join();
}

void virtual_hour(benchmark::State& state) {
  random_numbers random;
  asio::io_context io{1};
  kestrel::testing::virtual_time time{io};
  kestrel::timer_wheel wheel{io};
  for (std::int64_t i = 0; i != timers_pending; ++i)
    wheel.schedule_after(random.between<ticks>(1h, 2h), [] {});
  for (auto _ : state) {
    const stopwatch taken;
    time.advance(1h - 1s);
    state.SetIterationTime(taken.sample_of(1).seconds);
    state.counters["wakeups_in_virtual_hour"] = static_cast<double>(wheel.stats().wakeups);
  }
}

void register_all(bool quick) {
  const auto add = [](const char* name, const auto& f) {
    benchmark::RegisterBenchmark(name, f)
        ->Arg(timers_pending)
        ->Iterations(1)
        ->Repetitions(1)
        ->UseManualTime();
  };
  const auto idle_with = [&]<class Timers>(const char* name) {
    const std::chrono::seconds length = quick ? 3s : 30s;
    add(name, [length](benchmark::State& state) { idle<Timers>(state, length); });
  };
  idle_with.operator()<no_timers>("idle/none");
  idle_with.operator()<far_timers<timer_wheel_timers<kestrel::timer_wheel>>>("idle/timer_wheel");
  idle_with.operator()<far_timers<steady_timers<kestrel::steady_timer, asio::io_context>>>(
      "idle/steady_timer");
  idle_with.operator()<far_timers<steady_timers<asio::steady_timer, asio::io_context>>>(
      "idle/asio");
  add("virtual_hour/timer_wheel", virtual_hour);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
