// SPDX-License-Identifier: MIT
//
// What the benchmarks have in common: the delays that timers are given, the callback that each of
// them has, random numbers.

#ifndef KESTREL_BENCH_WORKLOAD_HPP
#define KESTREL_BENCH_WORKLOAD_HPP

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <ratio>

namespace kestrel_bench {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

/// Of 10 ms, as the wheels have them by default.
using ticks = std::chrono::duration<std::int64_t, std::centi>;

constexpr ticks idle_timeout = 60s;
constexpr ticks shortest_delay = 30s;
constexpr ticks longest_delay = 60s;

/// Xorshift. Its numbers need not be good, but cheap.
class random_numbers {
public:
  /// A number from 0 to n - 1, for n up to 2^32.
  std::uint64_t below(std::uint64_t n) noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 32) * n >> 32;
  }

  /// From `first` on, and before `last`.
  template <class Duration>
  Duration between(Duration first, Duration last) noexcept {
    const auto range = static_cast<std::uint64_t>((last - first).count());
    return first + Duration(static_cast<typename Duration::rep>(below(range)));
  }

  ticks delay() noexcept { return between(shortest_delay, longest_delay); }

private:
  std::uint64_t state_ = 0x9E3779B97F4A7C15u;
};

/// Two pointers: what closes a connection that has timed out, say.
struct callback {
  void operator()() const {
    ++*fired;
    benchmark::DoNotOptimize(owner);
  }

  template <class ErrorCode>
  requires requires(const ErrorCode& ec) { ec.category(); }
  void operator()(const ErrorCode& ec) const {
    if (!ec)
      (*this)();
  }

  std::uint64_t* fired;
  const void* owner;
};

/// Does what a program would do in a handler there, if these timers are for handlers.
template <class Timers, class F>
void perform(Timers& timers, F&& operations) {
  if constexpr (requires { timers.in_handler(operations); })
    timers.in_handler(operations);
  else
    operations();
}

} // namespace kestrel_bench

#endif // KESTREL_BENCH_WORKLOAD_HPP
