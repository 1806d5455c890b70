// SPDX-License-Identifier: MIT
//
// lateness_histogram: how late callbacks started, in buckets each of which is twice as wide as the
// one before. Counting costs a handful of instructions and reads no clock.

#ifndef KESTREL_LATENESS_HISTOGRAM_HPP
#define KESTREL_LATENESS_HISTOGRAM_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/version.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

KESTREL_BEGIN_NAMESPACE

/// How many were late by how much.
///
///     bucket 0    0 to 1,023 ns           bucket 13   4.2 to 8.4 ms
///     bucket 1    1,024 to 2,047 ns       bucket 14   8.4 to 16.8 ms
///     bucket b    from 1,024 ns * 2^(b-1) to just below twice that
///     bucket 31   1,100 s and more
///
/// Thread safety: distinct objects safe, shared objects unsafe.
/// Complexity: adding is O(1).
struct lateness_histogram {
  /// How many buckets there are.
  static constexpr std::size_t buckets = 32;

  std::array<std::uint64_t, buckets> counts{}; ///< how many are in each bucket
  std::chrono::nanoseconds sum{};              ///< of all of them, as far as that goes

  /// Equal if all counts and the sum are.
  friend bool operator==(const lateness_histogram&, const lateness_histogram&) = default;

  /// The longest lateness that bucket `b` counts; the end of time for the last one.
  [[nodiscard]] static constexpr std::chrono::nanoseconds upper_bound(std::size_t b) noexcept {
    return b < buckets - 1 ? std::chrono::nanoseconds((std::int64_t{1} << b << finest) - 1)
                           : (std::chrono::nanoseconds::max)();
  }

  /// The bucket that counts `late`, which is not negative.
  [[nodiscard]] static constexpr std::size_t bucket_of(std::chrono::nanoseconds late) noexcept {
    constexpr std::uint64_t first_bucket = (std::uint64_t{1} << finest) - 1;
    const auto ns = static_cast<std::uint64_t>(late.count()) | first_bucket;
    return (std::min)(static_cast<std::size_t>(std::bit_width(ns)) - finest, buckets - 1);
  }

  /// Counts one more, whose `late` is not negative.
  KESTREL_ALWAYS_INLINE constexpr void add(std::chrono::nanoseconds late) noexcept {
    ++counts[bucket_of(late)];
    sum = std::chrono::nanoseconds(detail::saturating_add(sum.count(), late.count()));
  }

  /// How many there are in all.
  [[nodiscard]] constexpr std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t n : counts)
      all += n;
    return all;
  }

private:
  static constexpr std::size_t finest = 10; // 2^10 ns
};

KESTREL_END_NAMESPACE

#endif // KESTREL_LATENESS_HISTOGRAM_HPP
