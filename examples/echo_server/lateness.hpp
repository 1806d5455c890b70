// SPDX-License-Identifier: MIT
//
// How late timers were: a recorder that one thread writes to while others read, and the summary
// that the report draws. Quantiles come from log-linear buckets and are too high by 3 % at most;
// the maximum and the rows of the histogram are exact.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_LATENESS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_LATENESS_HPP

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace demo {

// Upper bounds of the rows of the histogram; the last row has none.
inline constexpr std::array<std::chrono::microseconds, 11> lateness_bounds{
    std::chrono::microseconds{100},    std::chrono::microseconds{1'000},
    std::chrono::microseconds{2'000},  std::chrono::microseconds{4'000},
    std::chrono::microseconds{6'000},  std::chrono::microseconds{8'000},
    std::chrono::microseconds{10'000}, std::chrono::microseconds{12'000},
    std::chrono::microseconds{15'000}, std::chrono::microseconds{20'000},
    std::chrono::microseconds{50'000}};
inline constexpr std::size_t lateness_row_count = lateness_bounds.size() + 1;

namespace lateness_buckets {

// Values in nanoseconds: exact below 64, then 32 buckets for every doubling, up to 2^40 (18 min).
inline constexpr unsigned largest_exponent = 40;
inline constexpr std::size_t count = 64 + (largest_exponent - 6) * 32;

inline std::size_t index_of(std::uint64_t value) {
  value = std::min(value, (std::uint64_t{1} << largest_exponent) - 1);
  if (value < 64) {
    return static_cast<std::size_t>(value);
  }
  const unsigned shift = static_cast<unsigned>(std::bit_width(value)) - 6;
  return shift * 32 + static_cast<std::size_t>(value >> shift);
}

// The largest value in the bucket.
inline std::uint64_t upper_bound_of(std::size_t index) {
  if (index < 64) {
    return index;
  }
  const std::size_t shift = index / 32 - 1;
  return ((index % 32 + 33) << shift) - 1;
}

} // namespace lateness_buckets

// The lateness of all timers that fired.
struct lateness_summary {
  std::array<std::uint64_t, lateness_row_count> rows{};
  std::array<std::uint64_t, lateness_buckets::count> buckets{};
  std::uint64_t total = 0;
  std::chrono::nanoseconds max{0};

  // The lateness that a share `q` of the timers, 0 to 1, did not exceed.
  std::chrono::nanoseconds quantile(double q) const {
    const auto rank = static_cast<std::uint64_t>(q * static_cast<double>(total));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i != buckets.size(); ++i) {
      seen += buckets[i];
      if (seen > rank) {
        const auto bound = static_cast<std::int64_t>(lateness_buckets::upper_bound_of(i));
        return std::min(std::chrono::nanoseconds{bound}, max);
      }
    }
    return max;
  }
};

// Written by one thread, readable from any.
class lateness_recorder {
public:
  void record(std::chrono::nanoseconds lateness) {
    const auto row = std::upper_bound(lateness_bounds.begin(), lateness_bounds.end(), lateness) -
                     lateness_bounds.begin();
    increment(rows_[static_cast<std::size_t>(row)]);
    increment(buckets_[lateness_buckets::index_of(static_cast<std::uint64_t>(lateness.count()))]);
    if (lateness.count() > max_.load(std::memory_order_relaxed)) {
      max_.store(lateness.count(), std::memory_order_relaxed);
    }
  }

  void add_to(lateness_summary& sum) const {
    for (std::size_t i = 0; i != rows_.size(); ++i) {
      sum.rows[i] += rows_[i].load(std::memory_order_relaxed);
    }
    for (std::size_t i = 0; i != buckets_.size(); ++i) {
      const std::uint64_t n = buckets_[i].load(std::memory_order_relaxed);
      sum.buckets[i] += n;
      sum.total += n;
    }
    sum.max = std::max(sum.max, std::chrono::nanoseconds{max_.load(std::memory_order_relaxed)});
  }

private:
  static void increment(std::atomic<std::uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  std::array<std::atomic<std::uint64_t>, lateness_row_count> rows_{};
  std::array<std::atomic<std::uint64_t>, lateness_buckets::count> buckets_{};
  std::atomic<std::chrono::nanoseconds::rep> max_{0};
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_LATENESS_HPP
