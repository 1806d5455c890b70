// SPDX-License-Identifier: MIT
//
// What the programs of benchmarks have in common: the command line, the order of things, which is
// shuffled, and the files with the results.

#ifndef KESTREL_BENCH_RUN_HPP
#define KESTREL_BENCH_RUN_HPP

#include <kestrel/version.hpp>

#include <asio/version.hpp>

#include <benchmark/benchmark.h>

#include "report.hpp"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

namespace kestrel_bench {

/// What is asked for on the command line; the rest is Google Benchmark's.
struct options {
  options(int argc, char** argv) {
    constexpr std::string_view out_option = "--out=";
    std::vector<std::string> others;
    for (int i = 1; i != argc; ++i) {
      const std::string_view argument = argv[i];
      if (argument == "--quick")
        quick = true;
      else if (argument.starts_with(out_option))
        out = argument.substr(out_option.size());
      else
        others.emplace_back(argument);
    }
    arguments = {argv[0], "--benchmark_enable_random_interleaving=true",
                 "--benchmark_repetitions=3", "--benchmark_report_aggregates_only=true"};
    arguments.insert(arguments.end(), others.begin(), others.end()); // the last one counts
  }

  bool quick = false;
  std::string out;
  std::vector<std::string> arguments;
};

inline std::string dotted(int major, int minor, int patch) {
  return std::to_string(major) + '.' + std::to_string(minor) + '.' + std::to_string(patch);
}

inline circumstances here_and_now() {
  return {{"date", today()},
          {"processor", processor()},
          {"compiler", compiler()},
          {"kestrel", KESTREL_VERSION_STRING},
          {"asio", dotted(ASIO_VERSION / 100000, ASIO_VERSION / 100 % 1000, ASIO_VERSION % 100)}};
}

inline void print_help() {
  std::puts("[--quick] [--out=<file without .json or .csv>] [option of Google Benchmark]...\n");
  benchmark::PrintDefaultHelp();
}

/// The main() of a program. `register_all(quick)` registers benchmarks that are named
/// operation/competitor and have a number of timers; `print(figures)` shows what came of it, after
/// the circumstances, to which `libraries` belong. Returns the exit status.
template <class Register, class Print>
int run(int argc, char** argv, Register register_all, const circumstances& libraries, Print print) {
  options chosen(argc, argv);
  std::vector<char*> pointers;
  for (std::string& argument : chosen.arguments)
    pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  int count = static_cast<int>(chosen.arguments.size());
  benchmark::Initialize(&count, pointers.data(), print_help);
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data()))
    return 1;

  register_all(chosen.quick);
  collector results;
  benchmark::RunSpecifiedBenchmarks(&results);
  benchmark::Shutdown();

  circumstances where = here_and_now();
  where.insert(where.end(), libraries.begin(), libraries.end());
  for (const auto& [name, value] : where)
    std::printf("%s: %s\n", name.c_str(), value.c_str());
  print(results.result());
  if (!chosen.out.empty()) {
    std::ofstream json(chosen.out + ".json");
    write_json(json, results.result(), where);
    std::ofstream csv(chosen.out + ".csv");
    write_csv(csv, results.result());
    if (!json.flush() || !csv.flush()) {
      std::cerr << "could not write " << chosen.out << ".json and .csv\n";
      return 1;
    }
  }
  return results.failed() ? 1 : 0;
}

template <class Register>
int run(int argc, char** argv, Register register_all) {
  return run(argc, argv, register_all, {}, [](const figures&) {});
}

} // namespace kestrel_bench

#endif // KESTREL_BENCH_RUN_HPP
