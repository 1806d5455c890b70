// SPDX-License-Identifier: MIT
//
// The wheel on the real clock: none early, none lost, none twice. How late they are depends on the
// machine and is told, not judged.

#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#include <catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

using namespace std::chrono_literals;
using wall = std::chrono::steady_clock;

TEST_CASE("On the real clock no timer is early, lost, or run twice", "[wall_clock]") {
  constexpr std::size_t count = 20'000;
  struct state {
    kestrel::timer_id id;
    wall::time_point deadline;
    int fired = 0;
  };
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::mt19937_64 random(20240229);
  std::vector<state> timers(count);
  std::vector<wall::duration> lateness;
  lateness.reserve(count);
  int early = 0;
  std::size_t armed = 0;
  std::size_t postponed = 0;

  const auto random_delay = [&] {
    return std::chrono::microseconds(std::uniform_int_distribution<int>(1, 6'000'000)(random));
  };
  const auto arm_one = [&] {
    state& s = timers[armed++];
    const auto delay = random_delay();
    s.deadline = wall::now() + delay; // no later than what the wheel makes of it
    s.id = wheel.schedule_after(delay, [&s, &early, &lateness] {
      const auto now = wall::now();
      ++s.fired;
      early += now < s.deadline;
      lateness.push_back(now - s.deadline);
    });
  };
  // Armed over the first second, at whatever phase the clock is in; a tenth of them is moved.
  wheel.schedule_every(0ms, 5ms, [&](kestrel::timer_id self) {
    for (int i = 0; i != 200 && armed != count; ++i) {
      arm_one();
      if (armed % 10 == 0) {
        state& s = timers[random() % armed];
        const auto delay = random_delay();
        const auto deadline = wall::now() + delay;
        if (wheel.postpone(s.id, delay)) {
          s.deadline = deadline;
          ++postponed;
        }
      }
    }
    if (armed == count)
      wheel.cancel(self);
  });
  io.run();

  CHECK(armed == count);
  CHECK(postponed > 1000);
  CHECK(early == 0);
  CHECK(std::all_of(timers.begin(), timers.end(), [](const state& s) { return s.fired == 1; }));
  CHECK(wheel.empty());
  REQUIRE(lateness.size() == count);
  std::sort(lateness.begin(), lateness.end());
  const auto ms = [](wall::duration d) {
    return std::chrono::duration<double, std::milli>(d).count();
  };
  WARN("late by " << ms(lateness[count / 2]) << " ms (median), " << ms(lateness[count * 99 / 100])
                  << " ms (99 %), " << ms(lateness.back()) << " ms (most); a tick is 10 ms");
}

TEST_CASE("On the real clock a timer an hour away causes no wake-ups", "[wall_clock]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  wheel.schedule_after(1h, [] {});
  io.run_for(1s);
  CHECK(wheel.stats().wakeups == 0);
  CHECK(wheel.size() == 1);
}

TEST_CASE("On the real clock, no handler runs while a wheel waits", "[wall_clock]") {
  asio::io_context io;
  kestrel::single_threaded_timer_wheel wheel{io};
  bool ran = false;
  const auto deadline = wall::now() + 250ms;
  wheel.schedule_at(deadline, [&ran] { ran = true; });
  CHECK(io.run() <= 3);
  CHECK(ran);
  CHECK(wall::now() >= deadline);
  CHECK(wheel.stats().wakeups <= 2);
}
