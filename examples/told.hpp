// SPDX-License-Identifier: MIT
//
// What the examples tell of themselves while they run, and whether it is as they say it should be.
// Nothing to start a program from.

#ifndef KESTREL_EXAMPLES_TOLD_HPP
#define KESTREL_EXAMPLES_TOLD_HPP

#include <chrono>
#include <iostream>
#include <string_view>

namespace told {

inline bool all_true = true;

inline void check(bool truth, std::string_view what) {
  if (!truth) {
    std::cout << "NOT TRUE: " << what << '\n';
    all_true = false;
  }
}

// Begins a line with the time since the first one.
inline std::ostream& tell() {
  using clock_type = std::chrono::steady_clock;
  static const auto start = clock_type::now();
  return std::cout << (clock_type::now() - start) / std::chrono::milliseconds(1) << " ms\t";
}

inline std::ostream& tell(std::string_view who) { return tell() << who << '\t'; }

// Tells how it ended, and returns the exit status.
inline int verdict() {
  std::cout << (all_true ? "all as it should be\n" : "this went wrong\n");
  return all_true ? 0 : 1;
}

} // namespace told

#endif // KESTREL_EXAMPLES_TOLD_HPP
