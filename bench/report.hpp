// SPDX-License-Identifier: MIT
//
// Collects the medians of benchmarks that are named operation/competitor/timers, and writes them as
// a table to read, as JSON and as CSV.

#ifndef KESTREL_BENCH_REPORT_HPP
#define KESTREL_BENCH_REPORT_HPP

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <ostream>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace kestrel_bench {

struct figure {
  double ns = 0; // per operation, the median
  double cv = 0; // the coefficient of variation
  std::map<std::string, double> counters;

  [[nodiscard]] double counter(const std::string& name) const {
    const auto found = counters.find(name);
    return found != counters.end() ? found->second : 0;
  }
};

/// By operation, competitor, and number of timers.
using figures = std::map<std::tuple<std::string, std::string, std::int64_t>, figure>;

/// Where and with what they were taken: name and value.
using circumstances = std::vector<std::pair<std::string, std::string>>;

inline std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name"))
      return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

inline std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#elif defined(_MSC_VER)
  return "MSVC " + std::to_string(_MSC_VER);
#else
  return "unknown";
#endif
}

inline std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[sizeof "2000-01-01"];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

/// Shows medians and their reliability as they come, and keeps them.
class collector : public benchmark::ConsoleReporter {
public:
  collector() : ConsoleReporter(OO_None) {}

  void ReportRuns(const std::vector<Run>& runs) override {
    std::vector<Run> shown;
    for (const Run& run : runs) {
      failed_ = failed_ || has_failed(run);
      const bool aggregate = run.run_type == Run::RT_Aggregate;
      const bool median = aggregate ? run.aggregate_name == "median" : run.repetitions <= 1;
      if (median)
        keep(run);
      if (aggregate && run.aggregate_name == "cv")
        figures_[key(run)].cv = run.real_accumulated_time;
      if (median || has_failed(run))
        shown.push_back(run);
    }
    ConsoleReporter::ReportRuns(shown);
  }

  [[nodiscard]] const figures& result() const { return figures_; }
  [[nodiscard]] bool failed() const { return failed_; }

private:
  template <class AnyRun>
  static bool has_failed(const AnyRun& run) {
    if constexpr (requires { run.error_occurred; }) // Google Benchmark before 1.8
      return run.error_occurred;
    else
      return run.skipped != 0;
  }

  static figures::key_type key(const Run& run) {
    const std::string& name = run.run_name.function_name;
    const auto slash = name.find('/');
    return {name.substr(0, slash), name.substr(slash + 1), std::stoll(run.run_name.args)};
  }

  void keep(const Run& run) {
    if (has_failed(run))
      return;
    figure& f = figures_[key(run)];
    f.ns = run.GetAdjustedRealTime();
    for (const auto& [name, counter] : run.counters)
      f.counters[name] = counter.value;
  }

  figures figures_;
  bool failed_ = false;
};

// ---- Writing

/// Of any row.
inline std::set<std::string> counter_names(const figures& all) {
  std::set<std::string> names;
  for (const auto& [key, f] : all) {
    for (const auto& [name, value] : f.counters)
      names.insert(name);
  }
  return names;
}

inline std::string text_of(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", value < 10 ? 3 : 1, value);
  return text;
}

inline void write_json(std::ostream& out, const figures& all, const circumstances& where) {
  out << "{\n";
  for (const auto& [name, value] : where)
    out << "  \"" << name << "\": \"" << value << "\",\n";
  out << "  \"rows\": [";
  const char* separator = "\n";
  for (const auto& [key, f] : all) {
    const auto& [operation, competitor, timers] = key;
    out << std::exchange(separator, ",\n") << R"(    {"operation": ")" << operation
        << R"(", "competitor": ")" << competitor << R"(", "timers": )" << timers << R"(, "ns": )"
        << text_of(f.ns) << R"(, "cv": )" << text_of(f.cv);
    for (const auto& [name, value] : f.counters)
      out << ", \"" << name << "\": " << text_of(value);
    out << '}';
  }
  out << "\n  ]\n}\n";
}

inline void write_csv(std::ostream& out, const figures& all) {
  const std::set<std::string> names = counter_names(all);
  out << "operation,competitor,timers,ns,cv";
  for (const std::string& name : names)
    out << ',' << name;
  out << '\n';
  for (const auto& [key, f] : all) {
    const auto& [operation, competitor, timers] = key;
    out << operation << ',' << competitor << ',' << timers << ',' << text_of(f.ns) << ','
        << text_of(f.cv);
    for (const std::string& name : names)
      out << ',' << (f.counters.contains(name) ? text_of(f.counter(name)) : "");
    out << '\n';
  }
}

/// A table for each operation, a line for each competitor; ratios are to the time of `yardstick`.
template <class Operations, class Competitors>
void print_tables(const figures& all, const Operations& tables, const Competitors& lines,
                  const std::string& yardstick) {
  std::set<std::int64_t> sizes;
  for (const auto& [key, f] : all)
    sizes.insert(std::get<2>(key));
  const auto print = [](int width, double value, const char* unit) {
    if (value > 0)
      std::printf("%*.1f%s", width, value, unit);
    else
      std::printf("%*s", width + static_cast<int>(std::strlen(unit)), "-");
  };
  for (const auto& table : tables) {
    std::printf("\n%-24s", table.title);
    for (const std::int64_t n : sizes)
      std::printf("%18lld", static_cast<long long>(n));
    std::printf("%14s\n", "bytes/timer");
    for (const auto& who : lines) {
      const auto find = [&](const std::string& name, std::int64_t n) {
        const auto found = all.find({table.name, name, n});
        return found != all.end() ? found->second : figure{};
      };
      if (std::ranges::all_of(sizes, [&](std::int64_t n) { return find(who.name, n).ns == 0; }))
        continue;
      std::printf("  %-22s", who.title);
      double bytes = 0;
      for (const std::int64_t n : sizes) {
        const figure f = find(who.name, n);
        print(9, f.ns, "");
        print(8, f.ns > 0 ? find(yardstick, n).ns / f.ns : 0, "x");
        bytes = std::max(bytes, f.counter("bytes_per_timer"));
      }
      print(14, bytes, "");
      std::puts("");
    }
  }
}

} // namespace kestrel_bench

#endif // KESTREL_BENCH_REPORT_HPP
