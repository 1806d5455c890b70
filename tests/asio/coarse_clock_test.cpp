// SPDX-License-Identifier: MIT
//
// Wheels whose delays count from a clock that is cheap to read and behind: later by its bound, and
// never early.

#include <kestrel/coarse_steady_clock.hpp>
#include <kestrel/testing.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#include <catch.hpp>

#include "manual_clock.hpp"

#include <array>
#include <chrono>
#include <vector>

using namespace kestrel_tests;

namespace {

/// As far behind the manual clock as a test says.
struct lagging_clock : manual_clock {
  inline static duration lag{};

  static time_point now() noexcept { return manual_clock::now() - lag; }
  static duration max_lag() noexcept { return 30ms; }
};

struct lagging_traits : manual_traits {
  using delay_clock = lagging_clock;
};

using lagging_wheel = wheel_with<lagging_traits>;
constexpr manual_clock::duration lags[] = {0ms, 1ns, 4ms, 10ms, 17ms, 30ms};
constexpr manual_clock::duration delays_tried[] = {1ns, 1ms, 10ms, 123456789ns, 5999ms, 64s};

/// How long it takes until what `start(wheel, callback)` begins has fired for the first time.
template <class Start>
manual_clock::duration time_to_fire(manual_clock::duration lag, manual_clock::duration at_least,
                                    const Start& start) {
  const at_start clock;
  lagging_clock::lag = 0ms;
  asio::io_context io;
  lagging_wheel wheel{io};
  pass(io, 1234567us, 1234567us); // to no particular phase of the tick
  lagging_clock::lag = lag;
  const auto begin = manual_clock::now();
  manual_clock::time_point fired{};
  start(wheel, [&] {
    if (fired == manual_clock::time_point{})
      fired = manual_clock::now();
  });
  stall(io, at_least - 1ns); // and from then on by the millisecond
  while (fired == manual_clock::time_point{})
    pass(io, 1ms);
  return fired - begin;
}

} // namespace

TEST_CASE("On a clock that is behind, no delay is cut short, nor longer than the clock's bound",
          "[coarse_clock]") {
  const auto callback = [](auto& wheel, auto delay, auto f) { wheel.schedule_after(delay, f); };
  const auto every = [](auto& wheel, auto delay, auto f) { wheel.schedule_every(delay, 1h, f); };
  const auto postponed = [](auto& wheel, auto delay, auto f) {
    wheel.postpone(wheel.schedule_after(5min, f), delay);
  };
  const auto replaced = [](auto& wheel, auto delay, auto f) {
    wheel.postpone(wheel.schedule_after(5min, [] {}), delay, f);
  };
  const auto in_batch = [](auto& wheel, auto delay, auto f) {
    std::array tasks{kestrel::timer_task::one_shot(delay, f)};
    wheel.schedule(tasks);
  };
  const auto all_postponed = [](auto& wheel, auto delay, auto f) {
    wheel.schedule(std::array{kestrel::timer_task::one_shot(5min, f)}).postpone_all(delay);
  };
  for (const auto lag : lags) {
    for (const auto delay : delays_tried) {
      const auto check = [&](const auto& how) {
        const auto taken =
            time_to_fire(lag, delay, [&](auto& wheel, auto f) { how(wheel, delay, f); });
        CAPTURE(lag.count(), delay.count(), taken.count());
        CHECK(taken >= delay);
        CHECK(taken <= delay + lagging_clock::max_lag() + tick + 1ms);
      };
      check(callback);
      check(every);
      check(postponed);
      check(replaced);
      check(in_batch);
      check(all_postponed);
    }
  }
}

TEST_CASE("On a clock that is behind, points in time and what is due at once wait for nothing more",
          "[coarse_clock]") {
  for (const auto lag : lags) {
    CAPTURE(lag.count());
    const auto taken = time_to_fire(lag, 100ms, [](lagging_wheel& wheel, auto f) {
      wheel.schedule_at(manual_clock::now() + 100ms, f);
    });
    CHECK(taken >= 100ms);
    CHECK(taken <= 100ms + tick + 1ms);
    CHECK(time_to_fire(lag, 1ns,
                       [](lagging_wheel& wheel, auto f) { wheel.schedule_after(0s, f); }) <= 1ms);
  }
}

TEST_CASE("A coarse steady clock is never ahead of the steady clock, and behind it by its bound",
          "[coarse_clock]") {
  using coarse = kestrel::coarse_steady_clock;
  using exact = std::chrono::steady_clock;
  int ahead = 0;
  int too_far_behind = 0;
  for (const auto end = exact::now() + 300ms; exact::now() < end;) {
    const auto before = exact::now();
    const auto shown = coarse::now();
    const auto after = exact::now();
    ahead += shown > after;
    too_far_behind += shown + coarse::max_lag() < before;
  }
  CHECK(ahead == 0);
  CHECK(too_far_behind == 0);
}

TEST_CASE("A coarse wheel on the real clock is never early", "[coarse_clock]") {
  using exact = std::chrono::steady_clock;
  asio::io_context io;
  kestrel::coarse_timer_wheel wheel{io};
  int early = 0;
  int fired = 0;
  for (int i = 0; i != 2'000; ++i) {
    const auto delay = std::chrono::microseconds(100 * i);
    const auto deadline = exact::now() + delay;
    wheel.schedule_after(delay, [&, deadline] {
      early += exact::now() < deadline;
      ++fired;
    });
  }
  io.run();
  CHECK(early == 0);
  CHECK(fired == 2'000);
}

TEST_CASE("Under virtual time, a coarse wheel is as exact as any other", "[coarse_clock]") {
  asio::io_context io;
  kestrel::testing::virtual_time time(io);
  kestrel::single_threaded_coarse_timer_wheel wheel{io};
  bool fired = false;
  wheel.schedule_after(1h, [&] { fired = true; });
  time.advance(1h - 1ns);
  CHECK_FALSE(fired);
  time.advance(10ms);
  CHECK(fired);
}

TEST_CASE("On a clock that is behind, lateness counts from the deadline that the bound is added to",
          "[coarse_clock]") {
  const at_start clock;
  lagging_clock::lag = 17ms;
  asio::io_context io;
  lagging_wheel wheel{io};
  stall(io, 1s);
  wheel.schedule_after(1s, [] {});
  stall(io, 2s);
  CHECK(wheel.stats().lateness.sum == 1s + 17ms - lagging_clock::max_lag());
}
