// SPDX-License-Identifier: MIT
//
// What a callback throws leaves run(), as from any Asio handler. Every other timer that is due runs
// on the next run(), in order, and the wheel goes on.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <stdexcept>
#include <vector>

using namespace kestrel_tests;

TEST_CASE_METHOD(one_wheel, "After a callback threw, the others run on the next run(), in order",
                 "[exceptions]") {
  journal ran;
  const int thrower = GENERATE(0, 1, 128, 255, 256, 257, 299);
  for (int i = 0; i != 300; ++i)
    wheel.schedule_after(10ms, [i, thrower, note = ran.note(i)]() mutable {
      note();
      if (i == thrower)
        throw std::runtime_error("callback");
    });
  wheel.schedule_after(20ms, ran.note(300));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  CHECK(ran.size() == static_cast<std::size_t>(thrower) + 1);
  settle(io);
  CHECK(ran.size() == 300);
  stall(io, 10ms);
  REQUIRE(ran.size() == 301);
  for (int i = 0; i != 301; ++i)
    CHECK(ran[static_cast<std::size_t>(i)].label == i);
  CHECK(wheel.empty());
  CHECK(wheel.stats().fired == 301);
}

TEST_CASE_METHOD(one_wheel, "Every callback may throw", "[exceptions]") {
  const auto strand = asio::make_strand(io);
  const bool bound = GENERATE(false, true);
  std::vector<int> ran;
  for (int i = 0; i != 300; ++i) {
    const auto f = [&ran, i] {
      ran.push_back(i);
      throw i;
    };
    const auto delay = std::chrono::milliseconds(10 + 10 * (i / 100));
    if (bound)
      wheel.schedule_after(delay, asio::bind_executor(strand, f));
    else
      wheel.schedule_after(delay, f);
  }
  manual_clock::advance(50ms);
  int thrown = 0;
  for (int round = 0; round != 1000 && thrown != 300; ++round) {
    try {
      settle(io);
    } catch (int) {
      ++thrown;
    }
  }
  CHECK(thrown == 300);
  REQUIRE(ran.size() == 300);
  for (int i = 0; i != 300; ++i)
    CHECK(ran[static_cast<std::size_t>(i)] == i);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A bound callback that throws harms no other", "[exceptions]") {
  const auto strand = asio::make_strand(io);
  journal ran;
  wheel.schedule_after(10ms, asio::bind_executor(strand, ran.note(0)));
  wheel.schedule_after(10ms,
                       asio::bind_executor(strand, [] { throw std::runtime_error("callback"); }));
  wheel.schedule_after(10ms, asio::bind_executor(strand, ran.note(2)));
  wheel.schedule_after(10ms, ran.note(3));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(ran.size() == 3);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A wheel goes on after an exception", "[exceptions]") {
  journal ran;
  wheel.schedule_after(10ms, [] { throw std::runtime_error("callback"); });
  wheel.schedule_after(7s, ran.note(1));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  const auto id = wheel.schedule_after(1s, ran.note(2));
  wheel.schedule_after(15ms, ran.note(3));
  CHECK(wheel.postpone(id, 2s));
  pass(io, 8s);
  CHECK(ran == journal{{3, 30ms}, {2, 2010ms}, {1, 7000ms}});
}

TEST_CASE("A wheel of a single thread goes on after an exception", "[exceptions]") {
  const at_start clock;
  asio::io_context io;
  wheel_with<single_threaded_traits> wheel{io};
  journal ran;
  wheel.schedule_after(10ms, [] { throw std::runtime_error("callback"); });
  wheel.schedule_every(10ms, 10ms, ran.note(1));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  pass(io, 10ms);
  CHECK(ran == journal{{1, 10ms}, {1, 20ms}});
}

TEST_CASE_METHOD(one_wheel, "In several periods, each may throw", "[exceptions][periodic]") {
  const auto strand = asio::make_strand(io);
  const bool bound = GENERATE(false, true);
  journal ran;
  const auto f = [note = ran.note(1)]() mutable {
    note();
    throw std::runtime_error("callback");
  };
  const auto id = bound ? wheel.schedule_every(10ms, 15ms, asio::bind_executor(strand, f))
                        : wheel.schedule_every(10ms, 15ms, f);
  int thrown = 0;
  for (int i = 0; i != 10; ++i) {
    manual_clock::advance(10ms);
    try {
      settle(io);
    } catch (const std::runtime_error&) {
      ++thrown;
      settle(io);
    }
  }
  // Due at 10, 25, 40, 55, 70, 85, 100.
  CHECK(thrown == 7);
  CHECK(ran ==
        journal{{1, 10ms}, {1, 30ms}, {1, 40ms}, {1, 60ms}, {1, 70ms}, {1, 90ms}, {1, 100ms}});
  CHECK(wheel.cancel(id));
  CHECK(wheel.stats().missed_periods == 0);
}
