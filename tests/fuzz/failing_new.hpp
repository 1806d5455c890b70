// SPDX-License-Identifier: MIT
//
// Allocations that fail on demand, also under the sanitizers. Link failing_new.cpp.

#ifndef KESTREL_TESTS_FAILING_NEW_HPP
#define KESTREL_TESTS_FAILING_NEW_HPP

#include <cstddef>
#include <limits>
#include <utility>

namespace kestrel_tests {

inline constexpr std::size_t no_failure = std::numeric_limits<std::size_t>::max();

/// How many more allocations of this program's one thread succeed; then all of them fail.
inline std::size_t until_failure = no_failure;

/// While one lives, `n` allocations succeed and all others fail.
class memory_for {
public:
  explicit memory_for(std::size_t n) : before_{std::exchange(until_failure, n)} {}
  memory_for(const memory_for&) = delete;
  memory_for& operator=(const memory_for&) = delete;
  ~memory_for() { until_failure = before_; }

private:
  std::size_t before_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_FAILING_NEW_HPP
