// SPDX-License-Identifier: MIT
//
// What a benchmark uses up: processor time and memory.

#ifndef KESTREL_BENCH_RESOURCES_HPP
#define KESTREL_BENCH_RESOURCES_HPP

#include <cstddef>
#include <cstdint>
#include <ctime>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace kestrel_bench {

/// How long some operations took, in all.
struct sample {
  double seconds = 0;
  std::size_t operations = 0;

  sample& operator+=(const sample& other) {
    seconds += other.seconds;
    operations += other.operations;
    return *this;
  }
};

/// Measures the time that this thread had the processor: others may want it too.
class stopwatch {
public:
  [[nodiscard]] sample sample_of(std::size_t operations) const {
    return {now() - start_, operations};
  }

private:
  static double now() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
#else
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
#endif
  }

  double start_ = now();
};

#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
constexpr bool knows_allocated_bytes = true;

/// By malloc, whoever called it.
inline std::size_t allocated_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}
#else
constexpr bool knows_allocated_bytes = false;

inline std::size_t allocated_bytes() { return 0; }
#endif

} // namespace kestrel_bench

#endif // KESTREL_BENCH_RESOURCES_HPP
