// SPDX-License-Identifier: MIT
//
// kestrel::timer_wheel, with and without its lock, with the exact and the coarse clock, and
// kestrel::steady_timer, against asio::steady_timer, through their public interfaces, with a
// callback of two pointers per timer.
//
//   cmake -P cmake/bench.cmake                     the whole table, in about eight minutes
//   cmake -DARGS=--quick -P cmake/bench.cmake      few timers, few repetitions; a first impression
//   cmake -DARGS=--help -P cmake/bench.cmake       Google Benchmark's own options, which work too
//
// How to read it. A row is an operation with so many timers pending. The figures are nanoseconds
// per operation, of processor time but for `fire`, which might sleep; a ratio says how many times
// as fast as asio::steady_timer. Which timer is next is drawn at random, so that with many timers
// most of what is seen is cache misses, as in a server; drawing costs what the row `empty loop`
// says, in every figure. The repetitions of all benchmarks are shuffled, so that a noisy minute of
// the machine does not fall on one of them alone: compare within a run rather than across runs.
//
//   reset           moves an idle timeout to 60 s from now, as for data on a connection
//   cancel and arm  cancels, and schedules anew for 30 to 60 s from now
//   fire            io_context::run() from the first to the last of the timers that are due
//
// A steady_timer, Asio's or Kestrel's, can only be reset by cancelling the wait. The aborted
// handlers are a part of its price: io_context::poll() gets rid of them after each batch of
// operations. The wheels leave none.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/version.hpp>

#include <benchmark/benchmark.h>

#include "timers.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace kestrel_bench;

// ---- What is measured

constexpr std::int64_t batch = 64; // operations from one clean-up to the next
constexpr std::int64_t operations = 1 << 21;

void empty_loop(benchmark::State& state) {
  random_numbers random;
  for (auto _ : state)
    benchmark::DoNotOptimize(random.below(1'000'000));
}

/// Does `operate(timers, random)` until everything has been stirred, and from then on for `state`.
template <class Timers, class Operate>
void stir(benchmark::State& state, Operate operate) {
  Timers timers(static_cast<std::size_t>(state.range(0)));
  random_numbers random;
  for (std::size_t i = 0; i != timers.size(); ++i)
    timers.arm(i, random.delay());
  const auto operate_batch = [&] {
    for (std::int64_t i = 0; i != batch; ++i)
      operate(timers, random);
    timers.clean_up();
  };
  for (std::int64_t i = 0; i < state.range(0); i += batch)
    operate_batch();
  while (state.KeepRunningBatch(batch))
    operate_batch();
  if (timers.fired() != 0)
    state.SkipWithError("a timer fired: this machine is too slow for so many");
}

template <class Timers>
void reset(benchmark::State& state) {
  stir<Timers>(state, [](Timers& timers, random_numbers& random) {
    timers.reset(random.below(timers.size()));
  });
}

template <class Timers>
void cancel_and_arm(benchmark::State& state) {
  stir<Timers>(state, [](Timers& timers, random_numbers& random) {
    const std::size_t i = random.below(timers.size());
    timers.cancel_and_arm(i, random.delay());
  });
}

/// One round: arms all timers for the same millisecond, lets it pass, and runs them.
template <class Timers>
clock_type::duration fire_all(Timers& timers, random_numbers& random) {
  constexpr auto spread = 1ms;
  constexpr auto wheel_tick = 10ms;
  const auto arming = 5ms + timers.size() * 1us; // more than it takes
  const clock_type::time_point first = clock_type::now() + arming;
  for (std::size_t i = 0; i != timers.size(); ++i)
    timers.arm_at(i, first + std::chrono::nanoseconds(random.below(1'000'000)));
  std::this_thread::sleep_until(first + spread + wheel_tick);

  const clock_type::time_point start = clock_type::now();
  timers.run();
  return clock_type::now() - start;
}

template <class Timers>
void fire(benchmark::State& state) {
  Timers timers(static_cast<std::size_t>(state.range(0)));
  random_numbers random;
  fire_all(timers, random); // so that memory is in place
  std::uint64_t rounds = 1;
  for (auto _ : state) {
    const std::chrono::duration<double> taken = fire_all(timers, random);
    state.SetIterationTime(taken.count() / static_cast<double>(timers.size()));
    ++rounds;
  }
  if (timers.fired() != rounds * timers.size())
    state.SkipWithError("not every timer fired");
}

// ---- The table

struct operation {
  const char* name;
  const char* title;
};
constexpr operation table_rows[] = {
    {"reset", "reset"}, {"cancel_and_arm", "cancel and arm"}, {"fire", "fire"}};
constexpr std::int64_t counts[] = {1'000, 10'000, 100'000, 1'000'000};

struct competitor {
  const char* name;
  const char* title;
};
constexpr competitor competitors[] = {{"asio", "asio"}, // the ratios are to this one
                                      {"kestrel", "timer_wheel"},
                                      {"single_threaded", "without lock"},
                                      {"coarse", "coarse"},
                                      {"coarse_single_threaded", "both"},
                                      {"steady_timer", "steady_timer"}};

std::string compiler() {
#if defined(__clang__)
  return "Clang " + std::to_string(__clang_major__) + '.' + std::to_string(__clang_minor__);
#elif defined(__GNUC__)
  return "GCC " + std::to_string(__GNUC__) + '.' + std::to_string(__GNUC_MINOR__);
#elif defined(_MSC_VER)
  return "MSVC " + std::to_string(_MSC_VER);
#else
  return "an unknown compiler";
#endif
}

std::string asio_version() {
  return "Asio " + std::to_string(ASIO_VERSION / 100000) + '.' +
         std::to_string(ASIO_VERSION / 100 % 1000) + '.' + std::to_string(ASIO_VERSION % 100);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[sizeof "2000-01-01"];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::localtime(&now));
  return text;
}

/// Prints medians and their reliability as they come, and the medians as a table in the end.
class table_reporter : public benchmark::ConsoleReporter {
public:
  table_reporter() : ConsoleReporter(OO_None) {}

  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      const bool aggregate = run.run_type == Run::RT_Aggregate;
      if (run.error_occurred || (aggregate ? run.aggregate_name == "median" : run.repetitions <= 1))
        medians_[run.run_name.function_name + '/' + run.run_name.args] =
            run.run_name.time_type.empty() ? run.GetAdjustedCPUTime() : run.GetAdjustedRealTime();
      if (!aggregate || run.aggregate_name == "median" || run.aggregate_name == "cv")
        shown.push_back(run);
      repetitions_ = std::max(repetitions_, run.repetitions);
    }
    ConsoleReporter::ReportRuns(shown);
  }

  void Finalize() override {
    std::printf("\nNanoseconds per operation, medians of %lld. %s, %s, %d CPUs, %s\n\n",
                static_cast<long long>(repetitions_), compiler().c_str(), asio_version().c_str(),
                benchmark::CPUInfo::Get().num_cpus, today().c_str());
    std::printf("%-14s%9s", "operation", "timers");
    for (const competitor& c : competitors)
      std::printf("%17s", c.title);
    std::puts("");
    for (const auto& [name, title] : table_rows) {
      for (const std::int64_t n : counts)
        print_row(name, title, n);
    }
    if (const double ns = median("empty_loop/"); ns > 0)
      std::printf("empty loop %29.1f\n", ns);
  }

private:
  void print_row(const std::string& name, const char* title, std::int64_t n) const {
    std::string figures;
    double asio = 0;
    for (const competitor& c : competitors) {
      const double ns = median(name + '/' + c.name + '/' + std::to_string(n));
      if (&c == competitors)
        asio = ns;
      char text[32];
      std::snprintf(text, sizeof text, "%9s%8s", figure(ns).c_str(), ratio(asio, ns).c_str());
      figures += text;
    }
    if (figures.find_first_not_of(" -") != std::string::npos)
      std::printf("%-14s%9lld%s\n", title, static_cast<long long>(n), figures.c_str());
  }

  // What a filter left out is 0.
  static std::string figure(double value, const char* unit = "") {
    if (value == 0)
      return "-";
    char text[32];
    std::snprintf(text, sizeof text, "%.1f%s", value, unit);
    return text;
  }

  static std::string ratio(double asio, double other) {
    return figure(other == 0 ? 0 : asio / other, "x");
  }

  double median(const std::string& name) const {
    const auto found = medians_.find(name);
    return found == medians_.end() ? 0 : found->second;
  }

  std::map<std::string, double> medians_; // by the name of the benchmark
  std::int64_t repetitions_ = 1;
};

// ---- Registration

template <class Timers>
void add(const std::string& who, std::int64_t max_count) {
  const auto add_one = [&](const std::string& name, void (*f)(benchmark::State&), std::int64_t n) {
    return benchmark::RegisterBenchmark((name + '/' + who).c_str(), f)->Arg(n);
  };
  for (const std::int64_t n : counts) {
    if (n > max_count)
      continue;
    add_one("reset", reset<Timers>, n)->Iterations(operations);
    add_one("cancel_and_arm", cancel_and_arm<Timers>, n)->Iterations(operations);
    add_one("fire", fire<Timers>, n)->Iterations(1 + 20'000 / n)->UseManualTime();
  }
}

void add_all(bool quick) {
  const std::int64_t max_count = quick ? 10'000 : 1'000'000;
  benchmark::RegisterBenchmark("empty_loop", empty_loop)->Iterations(64 * operations);
  add<waitable_timers<asio::steady_timer>>("asio", max_count);
  add<wheel_timers<kestrel::timer_wheel>>("kestrel", max_count);
  add<wheel_timers<kestrel::single_threaded_timer_wheel>>("single_threaded", max_count);
  add<wheel_timers<kestrel::coarse_timer_wheel>>("coarse", max_count);
  add<wheel_timers<kestrel::single_threaded_coarse_timer_wheel>>("coarse_single_threaded",
                                                                 max_count);
  add<waitable_timers<kestrel::steady_timer>>("steady_timer", max_count);
}

void print_help() {
  std::puts("bench_timer_wheel [--quick] [option of Google Benchmark]...\n");
  benchmark::PrintDefaultHelp();
}

} // namespace

int main(int argc, char** argv) {
  bool quick = false;
  std::vector<std::string> arguments{argv[0], "--benchmark_enable_random_interleaving=true",
                                     "--benchmark_repetitions=9",
                                     "--benchmark_report_aggregates_only=true"};
  for (int i = 1; i != argc; ++i) {
    if (std::string_view(argv[i]) == "--quick") {
      quick = true;
      arguments[2] = "--benchmark_repetitions=3";
    } else {
      arguments.emplace_back(argv[i]); // the last one counts
    }
  }
  std::vector<char*> pointers;
  for (std::string& argument : arguments)
    pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(arguments.size());

  benchmark::Initialize(&count, pointers.data(), print_help);
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data()))
    return 1;
  add_all(quick);
  table_reporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::Shutdown();
}
