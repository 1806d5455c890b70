// SPDX-License-Identifier: MIT
//
// What the demo prints: a live progress line, and at the end the table, the histogram of lateness
// and the verdict. It is handed numbers and decides nothing but the verdict.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_REPORT_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_REPORT_HPP

#include "lateness.hpp"
#include "timer_counts.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

// How the run stands, while it runs.
struct progress {
  std::chrono::duration<double> elapsed{};
  std::uint64_t open = 0;
  double messages_per_second = 0;
  std::uint64_t fired = 0;
  std::uint64_t closed_idle = 0;
  std::chrono::nanoseconds p99{};
  bool clean = true;
};

// Writes progress to standard output: one line again and again on a terminal, else a line now and
// then.
class progress_line {
public:
  progress_line();
  bool show(const progress& p); // true if it was time to show it
  void finish();                // leaves the terminal's cursor at the beginning of a fresh line

private:
  bool terminal_;
  std::chrono::duration<double> next_{1};
};

// How the run ended.
struct run_result {
  std::string_view backend;
  std::string_view wakeup_note;
  std::size_t connections = 0;
  unsigned threads = 1;
  std::uint64_t seed = 0;
  std::chrono::duration<double> chatted{}; // from the first connection to the clients' goodbye
  std::chrono::duration<double> drained{}; // from then until the io_context ran out of work

  std::uint64_t accepted = 0;
  std::uint64_t closed_idle = 0;
  std::uint64_t vanished = 0;
  std::uint64_t closed_by_peer = 0;
  std::uint64_t connect_errors = 0; // at either end
  std::uint64_t messages = 0;
  std::uint64_t expired = 0;

  timer_counts_by_kind timers{};
  lateness_summary lateness;
  findings found;
  std::uint64_t wakeups = 0;
  std::uint64_t sleeps = 0; // of the server's threads
  double server_cpu = 0;    // seconds
  double client_cpu = 0;

  std::vector<std::string> troubles; // what went wrong apart from the timers, in words

  bool good() const { return found.clean() && troubles.empty(); }
};

void print_report(const run_result& r, bool ascii);

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_REPORT_HPP
