// SPDX-License-Identifier: MIT
//
// The timers of a busy server, for as long as one likes, while things go wrong: callbacks throw or
// block, threads that do not run the context cancel and postpone. Every timer is accounted for, all
// the while.
//
//   soak [seconds [connections [seed]]]
//
// Ends with a verdict, and with an error if a timer was early, lost, ran twice or ran after it had
// been cancelled, or if the wheel's own counters say otherwise. Lateness is told, not judged: it is
// mostly that of the callbacks which block.

#include <kestrel/timer_wheel.hpp>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using counter = std::atomic<std::uint64_t>;

constexpr int runners = 2; // threads that run the context
constexpr int peers = 2;   // threads that do not
constexpr auto heartbeat_interval = 1s;
constexpr auto lost_after = 10s; // later than any blocking callback makes a timer

/// What a callback throws now and then.
struct fault {};

struct totals {
  counter scheduled, fired, cancelled, postponed;
  counter thrown, blocked;
  counter early, lost, twice; // the last one also after a cancellation

  [[nodiscard]] std::uint64_t violations() const { return early + lost + twice; }
};

/// By the powers of two of microseconds.
class lateness {
public:
  void add(clock_type::duration late) {
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(late).count();
    const auto bucket = std::bit_width(static_cast<std::uint64_t>(us < 0 ? 0 : us));
    ++buckets_[static_cast<std::size_t>(bucket)];
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
};

/// What should become of one timer. Under the lock of its connection.
struct account {
  kestrel::timer_id id;
  std::uint64_t number = 0; // of the timer that is pending; 0 if none is
  clock_type::time_point deadline;
};

struct connection {
  std::mutex mutex;
  account idle, request, retry, heartbeat;
  std::uint64_t last_number = 0;
};

class soak {
public:
  soak(std::size_t connections, std::uint64_t seed) : connections_(connections), seed_{seed} {
    for (connection& c : connections_) {
      const std::lock_guard lock(c.mutex);
      arm(c, c.idle, 5s);
      start_heartbeat(c);
    }
  }

  /// True if everything was as it should be.
  bool run(std::chrono::seconds duration) {
    const clock_type::time_point end = clock_type::now() + duration;
    auto work = asio::make_work_guard(io_);
    std::vector<std::thread> threads;
    for (int i = 0; i != runners; ++i)
      threads.emplace_back([this] { run_context(); });
    for (int i = 0; i != peers; ++i)
      threads.emplace_back([this, i, end] { be_peer(seed_ + static_cast<std::uint64_t>(i), end); });

    while (clock_type::now() < end) {
      std::this_thread::sleep_for(std::min<clock_type::duration>(1s, end - clock_type::now()));
      audit();
      report();
    }
    for (std::size_t i = runners; i != threads.size(); ++i)
      threads[i].join();
    cancel_everything();
    work.reset();
    for (std::size_t i = 0; i != runners; ++i)
      threads[i].join();
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

  // ---- What connections do. Under their locks.

  void arm(connection& c, account& a, clock_type::duration delay) {
    a.number = ++c.last_number;
    a.deadline = clock_type::now() + delay; // no later than what the wheel makes of it
    a.id = wheel_.schedule_after(delay, [this, &c, &a, n = a.number] { on_expiry(c, a, n); });
    ++totals_.scheduled;
  }

  void start_heartbeat(connection& c) {
    account& a = c.heartbeat;
    a.number = ++c.last_number;
    a.deadline = clock_type::now() + heartbeat_interval;
    a.id = wheel_.schedule_every(heartbeat_interval, heartbeat_interval,
                                 [this, &c, n = a.number](kestrel::timer_id, std::uint64_t missed) {
                                   on_heartbeat(c, n, missed);
                                 });
    ++totals_.scheduled;
  }

  void postpone(account& a, clock_type::duration delay) {
    const clock_type::time_point deadline = clock_type::now() + delay;
    if (a.number != 0 && wheel_.postpone(a.id, delay)) {
      a.deadline = deadline;
      ++totals_.postponed;
    } // else it has begun to run
  }

  /// True if none is pending afterwards. Else it has begun to run.
  bool cancel(account& a) {
    if (a.number != 0 && wheel_.cancel(a.id)) {
      a.number = 0;
      ++totals_.cancelled;
    }
    return a.number == 0;
  }

  // ---- What timers do

  void on_expiry(connection& c, account& a, std::uint64_t number) {
    const clock_type::time_point now = clock_type::now();
    ++totals_.fired;
    {
      const std::lock_guard lock(c.mutex);
      if (a.number != number) {
        ++totals_.twice;
        return;
      }
      totals_.early += now < a.deadline ? 1u : 0u;
      lateness_.add(now - a.deadline);
      a.number = 0;
      if (&a == &c.idle)
        arm(c, a, 5s); // the next client
    }
    misbehave();
  }

  /// One that has begun when its timer is cancelled is none too many.
  void on_heartbeat(connection& c, std::uint64_t number, std::uint64_t missed) {
    const clock_type::time_point now = clock_type::now();
    ++totals_.fired;
    {
      const std::lock_guard lock(c.mutex);
      account& a = c.heartbeat;
      if (a.number == number) {
        totals_.early += now < a.deadline ? 1u : 0u;
        a.deadline += heartbeat_interval * static_cast<std::int64_t>(1 + missed);
      }
    }
    misbehave();
  }

  void misbehave() {
    static thread_local std::minstd_rand random(std::random_device{}());
    const auto chance = random() % 50'000;
    if (chance == 0) {
      ++totals_.blocked;
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 200));
    } else if (chance < 10) {
      throw fault{};
    }
  }

  // ---- What threads that do not run the context do

  void be_peer(std::uint64_t seed, clock_type::time_point end) {
    std::mt19937_64 random(seed);
    const auto between = [&random](int from, int to) {
      return std::chrono::milliseconds(std::uniform_int_distribution<int>(from, to)(random));
    };
    while (clock_type::now() < end) {
      for (int i = 0; i != 200; ++i) {
        connection& c = connections_[random() % connections_.size()];
        const std::lock_guard lock(c.mutex);
        const auto what = random() % 1000;
        if (what < 800) {
          postpone(c.idle, between(500, 8'000));
        } else if (what < 900) {
          if (cancel(c.request))
            arm(c, c.request, between(100, 3'000));
        } else if (what < 999) {
          if (c.retry.number == 0)
            arm(c, c.retry, between(0, 50));
        } else if (cancel(c.heartbeat)) {
          start_heartbeat(c);
        }
      }
      std::this_thread::sleep_for(500us);
    }
  }

  // ---- Whether it is as it should be

  void audit() {
    for (connection& c : connections_) {
      const std::lock_guard lock(c.mutex);
      const clock_type::time_point latest = clock_type::now() - lost_after;
      for (account* a : {&c.idle, &c.request, &c.retry, &c.heartbeat}) {
        if (a->number == 0 || a->deadline >= latest)
          continue;
        ++totals_.lost;
        a->deadline = clock_type::now(); // it is told once
      }
    }
  }

  void cancel_everything() {
    for (connection& c : connections_) {
      for (account* a : {&c.idle, &c.request, &c.retry, &c.heartbeat}) {
        for (;;) { // until it has run, if it has begun
          const std::lock_guard lock(c.mutex);
          if (cancel(*a))
            break;
        }
      }
    }
  }

  bool check_counters() const {
    const kestrel::timer_wheel_stats stats = wheel_.stats();
    report();
    std::printf("\n%-17s %12s %12s\n", "", "the wheel", "the program");
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
    std::printf("\n%s: %llu early, %llu lost, %llu twice or after a cancellation\n",
                good ? "all timers accounted for" : "FAILED",
                static_cast<unsigned long long>(totals_.early),
                static_cast<unsigned long long>(totals_.lost),
                static_cast<unsigned long long>(totals_.twice));
    return good;
  }

  void report() const {
    std::printf("%12llu fired %12llu cancelled %12llu postponed %6llu thrown %4llu blocked | "
                "late: half < %lld us, 99 %% < %lld us | %llu violations\n",
                static_cast<unsigned long long>(totals_.fired),
                static_cast<unsigned long long>(totals_.cancelled),
                static_cast<unsigned long long>(totals_.postponed),
                static_cast<unsigned long long>(totals_.thrown),
                static_cast<unsigned long long>(totals_.blocked),
                static_cast<long long>(lateness_.quantile(0.5).count()),
                static_cast<long long>(lateness_.quantile(0.99).count()),
                static_cast<unsigned long long>(totals_.violations()));
    std::fflush(stdout);
  }

  asio::io_context io_;
  totals totals_;
  lateness lateness_;
  std::deque<connection> connections_;
  std::uint64_t seed_;
  kestrel::timer_wheel wheel_{io_};
};

} // namespace

int main(int argc, char** argv) {
  const long seconds = argc > 1 ? std::atol(argv[1]) : 10;
  const long connections = argc > 2 ? std::atol(argv[2]) : 20'000;
  const long seed = argc > 3 ? std::atol(argv[3]) : 1;
  if (seconds <= 0 || connections <= 0) {
    std::puts("soak [seconds [connections [seed]]]");
    return 2;
  }
  soak program(static_cast<std::size_t>(connections), static_cast<std::uint64_t>(seed));
  return program.run(std::chrono::seconds(seconds)) ? EXIT_SUCCESS : EXIT_FAILURE;
}
