// SPDX-License-Identifier: MIT
//
// What the benchmarks compare, through public interfaces, with a callback of two pointers for each
// timer: wheels, and Asio's timers or Kestrel's with the same interface.

#ifndef KESTREL_BENCH_TIMERS_HPP
#define KESTREL_BENCH_TIMERS_HPP

#include <kestrel/timer_id.hpp>

#include <asio/error_code.hpp>
#include <asio/io_context.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kestrel_bench {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

constexpr auto idle_timeout = 60s;
constexpr auto shortest_delay = 30s;
constexpr auto longest_delay = 60s;

/// Xorshift. Its numbers need not be good, but cheap.
class random_numbers {
public:
  /// A number from 0 to n - 1.
  std::uint64_t below(std::uint64_t n) noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ >> 32) * n >> 32;
  }

  std::chrono::microseconds delay() noexcept {
    constexpr std::chrono::microseconds range = longest_delay - shortest_delay;
    const std::uint64_t more = below(static_cast<std::uint64_t>(range.count()));
    return shortest_delay + std::chrono::microseconds(more);
  }

private:
  std::uint64_t state_ = 0x9E3779B97F4A7C15u;
};

/// Two pointers: what closes a connection that has timed out, say.
struct callback {
  void operator()() const {
    ++*fired;
    benchmark::DoNotOptimize(owner);
  }

  void operator()(const asio::error_code& ec) const {
    if (!ec)
      (*this)();
  }

  std::uint64_t* fired;
  void* owner;
};

template <class Wheel>
class wheel_timers {
public:
  explicit wheel_timers(std::size_t n) : ids_(n) { wheel_.reserve(n); }

  std::size_t size() const { return ids_.size(); }
  std::uint64_t fired() const { return fired_; }
  asio::io_context& context() { return io_; }

  void arm(std::size_t i, clock_type::duration delay) {
    ids_[i] = wheel_.schedule_after(delay, call(i));
  }
  void arm_at(std::size_t i, clock_type::time_point deadline) {
    ids_[i] = wheel_.schedule_at(deadline, call(i));
  }
  void reset(std::size_t i) { wheel_.postpone(ids_[i], idle_timeout); }
  void cancel_and_arm(std::size_t i, clock_type::duration delay) {
    wheel_.cancel(ids_[i]);
    arm(i, delay);
  }
  void clean_up() {}
  void run() {
    io_.restart();
    io_.run();
  }

private:
  callback call(std::size_t i) { return {&fired_, &ids_[i]}; }

  asio::io_context io_{1};
  Wheel wheel_{io_};
  std::vector<kestrel::timer_id> ids_;
  std::uint64_t fired_ = 0;
};

/// Asio's timers, or Kestrel's with the same interface.
template <class Timer>
class waitable_timers {
public:
  explicit waitable_timers(std::size_t n) {
    timers_.reserve(n);
    while (timers_.size() != n)
      timers_.emplace_back(io_);
  }

  std::size_t size() const { return timers_.size(); }
  std::uint64_t fired() const { return fired_; }
  asio::io_context& context() { return io_; }

  void arm(std::size_t i, clock_type::duration delay) {
    timers_[i].expires_after(delay);
    timers_[i].async_wait(call(i));
  }
  void arm_at(std::size_t i, clock_type::time_point deadline) {
    timers_[i].expires_at(deadline);
    timers_[i].async_wait(call(i));
  }
  void reset(std::size_t i) { arm(i, idle_timeout); }
  void cancel_and_arm(std::size_t i, clock_type::duration delay) {
    timers_[i].cancel();
    arm(i, delay);
  }
  void clean_up() { io_.poll(); }
  void run() {
    io_.restart();
    io_.run();
  }

private:
  callback call(std::size_t i) { return {&fired_, &timers_[i]}; }

  asio::io_context io_{1};
  std::vector<Timer> timers_;
  std::uint64_t fired_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_TIMERS_HPP
