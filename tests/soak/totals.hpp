// SPDX-License-Identifier: MIT
//
// What the parts of the soak count, and how late timers are.

#ifndef KESTREL_TESTS_SOAK_TOTALS_HPP
#define KESTREL_TESTS_SOAK_TOTALS_HPP

#include "hold_ups.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace kestrel_soak {

using counter = std::atomic<std::uint64_t>;

/// By the powers of two of microseconds.
class lateness {
public:
  void add(clock_type::duration late) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(late).count();
    const auto bucket = std::bit_width(static_cast<std::uint64_t>(us < 0 ? 0 : us));
    ++buckets_[static_cast<std::size_t>(bucket)];
    for (auto w = worst_.load(); w < us && !worst_.compare_exchange_weak(w, us);) {
    }
  }

  [[nodiscard]] std::chrono::microseconds worst() const {
    return std::chrono::microseconds(worst_.load());
  }

  /// An upper bound of this share of all.
  [[nodiscard]] std::chrono::microseconds quantile(double share) const {
    std::uint64_t all = 0;
    for (const counter& n : buckets_)
      all += n;
    std::uint64_t below = 0;
    for (std::size_t i = 0; i != buckets_.size(); ++i) {
      below += buckets_[i];
      if (static_cast<double>(below) >= share * static_cast<double>(all))
        return std::chrono::microseconds(std::int64_t{1} << i);
    }
    return {};
  }

private:
  std::array<counter, 64> buckets_{};
  std::atomic<std::int64_t> worst_ = 0; // microseconds
};

struct totals {
  /// Of so many connections.
  explicit totals(std::size_t connections)
      : slack{1s + std::chrono::microseconds(20) * static_cast<std::int64_t>(connections)} {}

  const clock_type::duration slack; // when all timers are due at once, and on a busy machine
  counter scheduled, fired, cancelled, postponed; // timers of the connections
  counter other; // that have ended: sessions, waits and operations with a timeout
  counter thrown, blocked, stalls;
  counter early, lost, twice; // the last one also after a cancellation
  counter unaccounted, late, grown;
  lateness how_late;
  hold_ups held_up;

  [[nodiscard]] std::uint64_t violations() const {
    return early + lost + twice + unaccounted + (overloaded() ? 0 : late.load()) + grown;
  }

  /// Where the machine cannot keep up, lateness says nothing about the library.
  [[nodiscard]] bool overloaded() const { return how_late.quantile(0.5) > 250ms; }

  /// A timer has fired that was due at a time.
  void note_firing(clock_type::time_point deadline, clock_type::time_point now) {
    early += now < deadline ? 1u : 0u;
    how_late.add(now - deadline);
    if (now - deadline > slack && now - deadline > slack + held_up.since(deadline, now))
      ++late;
  }
};

} // namespace kestrel_soak

#endif // KESTREL_TESTS_SOAK_TOTALS_HPP
