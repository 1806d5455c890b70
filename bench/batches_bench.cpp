// SPDX-License-Identifier: MIT
//
// Data came on many connections in one turn of the loop: their idle timeouts are reset one by one,
// or 64 of them at once, under one lock and by one reading of the clock.
//
//   cmake -DBENCH=batches -P cmake/bench.cmake
//
// The figures are nanoseconds for each timer.

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <benchmark/benchmark.h>

#include "competitors/steady_timer.hpp"
#include "competitors/timer_wheel.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace kestrel_bench;

constexpr std::size_t batch = 64;

template <class Timers>
class one_by_one : public Timers {
public:
  using Timers::Timers;

  void reset_all(std::span<const std::size_t> which) {
    perform(*this, [&] {
      for (const std::size_t i : which)
        this->reset(i, idle_timeout);
    });
  }
};

template <class Wheel>
class at_once : public timer_wheel_timers<Wheel> {
public:
  using timer_wheel_timers<Wheel>::timer_wheel_timers;

  void reset_all(std::span<const std::size_t> which) {
    moves_.clear();
    for (const std::size_t i : which)
      moves_.emplace_back(this->id(i), idle_timeout);
    this->wheel().postpone(moves_);
  }

private:
  std::vector<std::pair<kestrel::timer_id, ticks>> moves_;
};

template <class Timers>
void reset(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  Timers timers(n);
  random_numbers random;
  for (std::size_t i = 0; i != n; ++i)
    timers.arm(i, random.delay());
  std::array<std::size_t, batch> which{};
  while (state.KeepRunningBatch(batch)) {
    for (std::size_t& i : which)
      i = random.below(n);
    timers.reset_all(which);
  }
  if (timers.fired() != 0)
    state.SkipWithError("a timer fired");
}

template <class Timers>
void add(const std::string& name, bool quick) {
  auto* const b = benchmark::RegisterBenchmark(("reset_" + name).c_str(), reset<Timers>);
  b->Arg(10'000)->MinTime(quick ? 0.05 : 0.3)->UseRealTime();
  if (!quick)
    b->Arg(1'000'000);
}

void register_all(bool quick) {
  add<one_by_one<steady_timers<asio::steady_timer, asio::io_context>>>("one_by_one/asio", quick);
  add<one_by_one<timer_wheel_timers<kestrel::timer_wheel>>>("one_by_one/timer_wheel", quick);
  add<one_by_one<timer_wheel_timers<kestrel::coarse_timer_wheel>>>("one_by_one/coarse", quick);
  add<at_once<kestrel::timer_wheel>>("at_once/timer_wheel", quick);
  add<at_once<kestrel::coarse_timer_wheel>>("at_once/coarse", quick);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
