// SPDX-License-Identifier: MIT
//
// The counters: nothing that was scheduled is unaccounted for, and how late it was is told.

#include "manual_clock.hpp"

#include <kestrel/lateness_histogram.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <asio/bind_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

using namespace kestrel_tests;

TEST_CASE("The counters of a wheel that does nothing", "[stats]") {
  const at_start clock;
  asio::io_context io;
  const manual_wheel wheel{io};
  const auto s = wheel.stats();
  CHECK(s.live == 0);
  CHECK(s.scheduled == 0);
  CHECK(s.fired == 0);
  CHECK(s.cancelled == 0);
  CHECK(s.postponed == 0);
  CHECK(s.missed_periods == 0);
  CHECK(s.wakeups == 0);
  CHECK(s.stale_entries == 0);
  CHECK(s.memory > 0);
  CHECK(s.lateness == kestrel::lateness_histogram());
}

TEST_CASE_METHOD(one_wheel, "What is refused is not counted", "[stats]") {
  CHECK_FALSE(wheel.cancel({}));
  CHECK_FALSE(wheel.postpone({}, 1s));
  const auto id = wheel.schedule_after(1s, [] {});
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.cancel(id));
  CHECK_FALSE(wheel.postpone(id, 1s));
  CHECK_THROWS(wheel.schedule_every(1s, 0s, [] {}));
  const auto s = wheel.stats();
  CHECK(s.scheduled == 1);
  CHECK(s.cancelled == 1);
  CHECK(s.postponed == 0);
}

TEMPLATE_TEST_CASE("Scheduled is fired, cancelled and pending together", "[stats]", manual_traits,
                   single_threaded_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  wheel_with<TestType> wheel{io};
  std::vector<kestrel::timer_id> ids;
  std::mt19937_64 random(3);
  std::uint64_t ran = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t postponed = 0;
  std::uint64_t scheduled = 0;
  const auto check = [&] {
    const auto s = wheel.stats();
    REQUIRE(s.scheduled == scheduled);
    REQUIRE(s.fired == ran);
    REQUIRE(s.cancelled == cancelled);
    REQUIRE(s.postponed == postponed);
    REQUIRE(s.live == wheel.size());
    REQUIRE(s.scheduled == s.fired + s.cancelled + s.live);
    REQUIRE(s.lateness.count() == s.fired);
  };
  for (int step = 0; step != 20'000; ++step) {
    const manual_clock::duration delay(static_cast<std::int64_t>(random() % 9'000'000'000));
    const auto some = ids.empty() ? kestrel::timer_id() : ids[random() % ids.size()];
    switch (random() % 6) {
    case 0:
    case 1:
      ids.push_back(wheel.schedule_after(delay, [&ran] { ++ran; }));
      ++scheduled;
      break;
    case 2:
      ids.push_back(wheel.schedule_after(delay, asio::bind_executor(strand, [&ran] { ++ran; })));
      ++scheduled;
      break;
    case 3:
      cancelled += wheel.cancel(some);
      break;
    case 4:
      postponed += wheel.postpone(some, delay);
      break;
    case 5:
      if (step % 10 == 0)
        stall(io, manual_clock::duration(static_cast<std::int64_t>(random() % 300'000'000)));
      break;
    }
    if (step % 100 == 0) {
      settle(io);
      check();
    }
  }
  stall(io, 10s);
  check();
  CHECK(wheel.empty());
  CHECK(cancelled > 100);
  CHECK(postponed > 100);
  CHECK(ran > 100);
}

TEST_CASE_METHOD(one_wheel, "Those who look see how many timers each slot holds", "[stats]") {
  for (int i = 0; i != 3; ++i)
    wheel.schedule_after(70ms, [] {});
  wheel.schedule_after(42s + 420ms, [] {});
  kestrel::wheel_occupancy seen = wheel.occupancy();
  CHECK(seen.l0.timers.size() == 512);
  CHECK(seen.l0.timers[7] == 3);
  CHECK(seen.l1.timers.size() == 64);
  CHECK(seen.l1.timers[42] == 1);
  stall(io, 39s);
  seen = wheel.occupancy();
  CHECK(seen.l0.hand == 3900 % 512);
  CHECK(seen.l0.timers[4242 % 512] == 1);
  CHECK(seen.l1.hand == 39);
  CHECK(seen.l1.timers[42] == 0);
  wheel.cancel(wheel.schedule_after(70ms, [] {}));
  wheel.shutdown();
  CHECK(wheel.occupancy().l0.timers.empty());
  CHECK(wheel.occupancy().l1.timers.empty());
}

// ---- Lateness

TEST_CASE("The sum of lateness ends at the end of time", "[stats]") {
  constexpr auto longest = (std::chrono::nanoseconds::max)();
  kestrel::lateness_histogram h;
  h.add(longest);
  h.add(1ns);
  CHECK(h.sum == longest);
  CHECK(h.count() == 2);
}

TEST_CASE("A bucket of lateness is twice as wide as the one before", "[stats]") {
  using histogram = kestrel::lateness_histogram;
  const auto bucket = [](std::chrono::nanoseconds late) { return histogram::bucket_of(late); };
  CHECK(bucket(0ns) == 0);
  CHECK(bucket(1023ns) == 0);
  CHECK(bucket(1024ns) == 1);
  CHECK(bucket(2047ns) == 1);
  CHECK(bucket(2048ns) == 2);
  CHECK(bucket(10ms) == 14);
  CHECK(bucket(1099s) == 30);
  CHECK(bucket(1100s) == 31);
  CHECK(bucket(std::chrono::nanoseconds::max()) == 31);
  CHECK(histogram::upper_bound(0) == 1023ns);
  CHECK(histogram::upper_bound(31) == std::chrono::nanoseconds::max());
  for (std::size_t b = 0; b != histogram::buckets - 1; ++b) {
    CHECK(bucket(histogram::upper_bound(b)) == b);
    CHECK(bucket(histogram::upper_bound(b) + 1ns) == b + 1);
  }
}

TEMPLATE_TEST_CASE("How late a callback starts after its deadline is counted, to the nanosecond",
                   "[stats]", manual_traits, single_threaded_traits, static_traits, tiny_traits) {
  const auto late = GENERATE(0ns, 1ns, 1023ns, 1024ns, 2047ns, 3ms, 10ms, 100s, 1h);
  const auto delay = GENERATE(10ms, 5990ms, 64s, 200s);
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  int ran = 0;
  const auto f = [&ran] { ++ran; };
  SECTION("of a timer that fires once") { wheel.schedule_after(delay, f); }
  SECTION("of a timer that was postponed") { wheel.postpone(wheel.schedule_after(1s, f), delay); }
  SECTION("of a timer with an executor of its own") {
    wheel.schedule_after(delay, asio::bind_executor(asio::make_strand(io), f));
  }
  SECTION("of a timer that is waited for") {
    wheel.async_wait(wheel.schedule_after(delay, f), [](asio::error_code, kestrel::completion) {});
  }
  SECTION("of a periodic timer") { wheel.schedule_every(delay, 2h, f); }
  stall(io, delay - 1ns);
  CHECK(wheel.stats().lateness.count() == 0);
  stall(io, 1ns + late);
  const kestrel::lateness_histogram lateness = wheel.stats().lateness;
  CHECK(ran == 1);
  CHECK(lateness.count() == 1);
  CHECK(lateness.counts[kestrel::lateness_histogram::bucket_of(late)] == 1);
  CHECK(lateness.sum == late);
}

TEST_CASE_METHOD(one_wheel, "That a callback waits for its tick is part of its lateness",
                 "[stats]") {
  wheel.schedule_after(1s + 1ns, [] {});
  stall(io, 1s + tick);
  CHECK(wheel.stats().lateness.sum == tick - 1ns);
}

TEST_CASE_METHOD(one_wheel, "Each period is as late as it is after its own deadline", "[stats]") {
  const auto [policy, sum, count] =
      GENERATE(table<kestrel::missed_periods, manual_clock::duration, std::uint64_t>(
          {{kestrel::missed_periods::catch_up, 40ms + 30ms + 20ms + 10ms + 0ms, 5},
           {kestrel::missed_periods::skip, 40ms, 1},
           {kestrel::missed_periods::delay, 40ms, 1}}));
  wheel.schedule_every(
      10ms, 10ms, [] {}, policy);
  stall(io, 50ms);
  CHECK(wheel.stats().lateness.sum == sum);
  CHECK(wheel.stats().lateness.count() == count);
}

TEST_CASE_METHOD(one_wheel,
                 "Lateness is told by the last look at the clock, of which there are many "
                 "where callbacks take long",
                 "[stats]") {
  // Of a hundred that each take a time, that of the n-th is n - 1 times as long, or a little less.
  const auto [taken, sum] = GENERATE(table<manual_clock::duration, int>({
      {1us, 1 + 2 * 2 + 4 * 4 + 8 * 8 + 16 * 16 + 32 * 32 + 32 * 64 + 4 * 96},
      {50us, 100 * 99 / 2 - 25}, // four to a batch, and no look after three
      {2ms, 100 * 99 / 2},
  }));
  for (int i = 0; i != 100; ++i)
    wheel.schedule_after(1s, [length = taken] { manual_clock::advance(length); });
  stall(io, 1s);
  CHECK(wheel.stats().lateness.sum == taken * sum);
}

TEST_CASE_METHOD(one_wheel, "On its way to an executor of its own, a callback becomes later",
                 "[stats]") {
  asio::io_context other;
  wheel.schedule_after(1s, asio::bind_executor(other, [] {}));
  stall(io, 1s);
  manual_clock::advance(3s);
  CHECK(wheel.stats().lateness.count() == 0);
  other.run();
  CHECK(wheel.stats().lateness.sum == 3s);
}

TEST_CASE_METHOD(one_wheel, "No callback is late by less than nothing, though the clock goes back",
                 "[stats]") {
  for (int i = 0; i != 100; ++i)
    wheel.schedule_after(1s, [] { manual_clock::advance(-1us); });
  stall(io, 1s);
  while (!wheel.empty())
    pass(io, 1ms);
  const kestrel::lateness_histogram lateness = wheel.stats().lateness;
  CHECK(lateness.count() == 100);
  CHECK(lateness.sum >= 0ms);
  CHECK(lateness.sum <= 100 * 1ms);
}

TEST_CASE_METHOD(one_wheel, "What was counted is known after the end", "[stats]") {
  wheel.schedule_after(1s, [] {});
  stall(io, 1s + 5ms);
  wheel.shutdown();
  CHECK(wheel.stats().fired == 1);
  CHECK(wheel.stats().lateness.sum == 5ms);
}
