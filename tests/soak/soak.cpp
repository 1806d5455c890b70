// SPDX-License-Identifier: MIT
//
// The timers of a busy server, for as long as one likes, while things go wrong: callbacks throw or
// block, all threads of the context stall for seconds, and threads that do not run it cancel and
// postpone. Every timer is accounted for, all the while.
//
//   soak [seconds [connections [seed]]]
//
// Ends with a verdict, and with an error if a timer was early, lost, ran twice or ran after it had
// been cancelled, if counters do not add up, if memory grew, or if a timer was later than what one
// of Asio's own timers saw of stalls, and callbacks that blocked, explain.

#include "connections.hpp"
#include "others.hpp"
#include "totals.hpp"

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace kestrel_soak {

constexpr int runners = 2; // threads that run the context
constexpr int peers = 2;   // threads that do not
constexpr auto between_stalls = 20s;
constexpr auto longest_stall = 3s;

class soak {
public:
  soak(std::size_t n, std::uint64_t seed)
      : totals_{n},
        seed_{seed},
        connections_(io_, n, totals_),
        sessions_(io_, n / 10 + 1, totals_),
        waits_(io_, n / 10 + 1, totals_),
        operations_(io_, n / 20 + 1, totals_) {}

  /// True if everything was as it should be.
  bool run(clock_type::duration duration) {
    const clock_type::time_point begin = clock_type::now();
    const clock_type::time_point end = begin + duration;
    const clock_type::duration stall = std::min<clock_type::duration>(longest_stall, duration / 4);
    clock_type::time_point next_stall = begin + std::min<clock_type::duration>(5s, duration / 4);
    auto work = asio::make_work_guard(io_);
    probe();
    std::vector<std::thread> threads;
    for (int i = 0; i != runners; ++i)
      threads.emplace_back([this] { run_context(); });
    for (int i = 0; i != peers; ++i)
      threads.emplace_back([this, i, end] { be_peer(seed_ + static_cast<std::uint64_t>(i), end); });

    while (clock_type::now() < end) {
      if (clock_type::now() >= next_stall) {
        stall_all(stall);
        next_stall += between_stalls;
      }
      std::this_thread::sleep_for(
          std::clamp<clock_type::duration>(end - clock_type::now(), 0s, 500ms));
      connections_.audit();
      report();
    }
    for (std::size_t i = runners; i != threads.size(); ++i)
      threads[i].join();
    has_ended_ = true;
    connections_.cancel_everything();
    sessions_.end();
    waits_.end();
    operations_.end();
    work.reset();
    for (std::size_t i = 0; i != runners; ++i)
      threads[i].join();
    waits_.audit();
    return check_counters();
  }

private:
  void run_context() {
    for (;;) {
      try {
        io_.run();
        return;
      } catch (const fault&) {
        ++totals_.thrown;
      }
    }
  }

  void stall_all(clock_type::duration stall) {
    ++totals_.stalls;
    for (int i = 0; i != runners; ++i)
      asio::post(io_, [stall] { std::this_thread::sleep_for(stall); });
  }

  /// One of Asio's timers tells how long this context and this machine are held up.
  void probe() {
    probe_.expires_after(10ms);
    totals_.held_up.expect(probe_.expiry());
    probe_.async_wait([this](asio::error_code) {
      totals_.held_up.add(probe_.expiry(), clock_type::now());
      if (!has_ended_)
        probe();
    });
  }

  void be_peer(std::uint64_t seed, clock_type::time_point end) {
    std::mt19937_64 random(seed);
    while (clock_type::now() < end) {
      for (int i = 0; i != 200; ++i) {
        connections_.act(random);
        if (i % 20 == 0) {
          sessions_.act(random);
          waits_.act(random);
        }
      }
      std::this_thread::sleep_for(500us);
    }
  }

  // ---- Whether it is as it should be

  bool check_counters() const {
    const kestrel::timer_wheel_stats stats = connections_.stats();
    report();
    std::printf("\n%-17s %12s %12s\n", "", "the wheels", "the program");
    bool same = true;
    const auto compare = [&same](const char* what, std::uint64_t wheel, std::uint64_t program) {
      std::printf("%-17s %12llu %12llu%s\n", what, static_cast<unsigned long long>(wheel),
                  static_cast<unsigned long long>(program), wheel == program ? "" : "   !");
      same = same && wheel == program;
    };
    compare("scheduled", stats.scheduled, totals_.scheduled);
    compare("fired", stats.fired, totals_.fired);
    compare("cancelled", stats.cancelled, totals_.cancelled);
    compare("postponed", stats.postponed, totals_.postponed);
    compare("pending", stats.live, 0);
    const bool good = same && totals_.violations() == 0;
    std::printf("\n%s: %llu early, %llu lost, %llu twice or after a cancellation, %llu unaccounted "
                "for, %llu too late, %llu times more memory\n",
                good ? "all timers accounted for" : "FAILED",
                static_cast<unsigned long long>(totals_.early),
                static_cast<unsigned long long>(totals_.lost),
                static_cast<unsigned long long>(totals_.twice),
                static_cast<unsigned long long>(totals_.unaccounted),
                static_cast<unsigned long long>(totals_.late),
                static_cast<unsigned long long>(totals_.grown));
    return good;
  }

  void report() const {
    std::printf(
        "%11llu fired %11llu cancelled %11llu postponed %10llu others %5llu thrown %4llu "
        "blocked %3llu stalls | late: half < %lld us, 99 %% < %lld us, all < %lld ms | %llu "
        "violations\n",
        static_cast<unsigned long long>(totals_.fired),
        static_cast<unsigned long long>(totals_.cancelled),
        static_cast<unsigned long long>(totals_.postponed),
        static_cast<unsigned long long>(totals_.other),
        static_cast<unsigned long long>(totals_.thrown),
        static_cast<unsigned long long>(totals_.blocked),
        static_cast<unsigned long long>(totals_.stalls),
        static_cast<long long>(totals_.how_late.quantile(0.5).count()),
        static_cast<long long>(totals_.how_late.quantile(0.99).count()),
        static_cast<long long>(totals_.how_late.worst().count() / 1000 + 1),
        static_cast<unsigned long long>(totals_.violations()));
    std::fflush(stdout);
  }

  asio::io_context io_;
  totals totals_;
  std::uint64_t seed_;
  connections connections_;
  sessions sessions_;
  waits waits_;
  operations operations_;
  asio::steady_timer probe_{io_};
  std::atomic<bool> has_ended_ = false;
};

} // namespace kestrel_soak

int main(int argc, char** argv) {
  const long seconds = argc > 1 ? std::atol(argv[1]) : 10;
  const long connections = argc > 2 ? std::atol(argv[2]) : 20'000;
  const long seed = argc > 3 ? std::atol(argv[3]) : 1;
  if (seconds <= 0 || connections <= 0) {
    std::puts("soak [seconds [connections [seed]]]");
    return 2;
  }
  kestrel_soak::soak program(static_cast<std::size_t>(connections),
                             static_cast<std::uint64_t>(seed));
  return program.run(std::chrono::seconds(seconds)) ? EXIT_SUCCESS : EXIT_FAILURE;
}
