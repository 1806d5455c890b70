// SPDX-License-Identifier: MIT
//
// The figures that the auditor, the backends and the report have in common: how often timers were
// scheduled, postponed, cancelled and fired, and what went wrong with them.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_TIMER_COUNTS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_TIMER_COUNTS_HPP

#include <array>
#include <cstddef>
#include <cstdint>

namespace demo {

enum class timer_kind : unsigned char { idle, deadline, heartbeat };
inline constexpr std::size_t timer_kind_count = 3;

struct timer_counts {
  std::uint64_t scheduled = 0;
  std::uint64_t postponed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t fired = 0; // a periodic timer counts every time

  timer_counts& operator+=(const timer_counts& other) {
    scheduled += other.scheduled;
    postponed += other.postponed;
    cancelled += other.cancelled;
    fired += other.fired;
    return *this;
  }

  bool operator==(const timer_counts&) const = default;
};

using timer_counts_by_kind = std::array<timer_counts, timer_kind_count>;

inline timer_counts sum_of(const timer_counts_by_kind& kinds) {
  timer_counts sum;
  for (const timer_counts& c : kinds) {
    sum += c;
  }
  return sum;
}

// What must not happen. Every number but `periods_skipped` has to be zero.
struct findings {
  std::uint64_t early = 0;
  std::uint64_t lost = 0;
  std::uint64_t twice = 0;
  std::uint64_t after_cancel = 0;
  std::uint64_t periods_skipped = 0; // by periodic timers that were late: allowed

  bool clean() const { return early == 0 && lost == 0 && twice == 0 && after_cancel == 0; }
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_TIMER_COUNTS_HPP
