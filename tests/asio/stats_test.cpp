// SPDX-License-Identifier: MIT
//
// The counters: nothing that was scheduled is unaccounted for.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

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
