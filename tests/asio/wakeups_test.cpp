// SPDX-License-Identifier: MIT
//
// No wake-ups without work: an empty wheel does not keep run() from returning, and one that waits
// for something far away hardly ever wakes.

#include "manual_clock.hpp"

#include <catch.hpp>

#include <vector>

using namespace kestrel_tests;

TEST_CASE_METHOD(one_wheel, "run() returns at once from a wheel that is empty", "[wakeups]") {
  CHECK(io.run() == 0);
  CHECK(io.stopped());
  CHECK(wheel.stats().wakeups == 0);
}

TEST_CASE_METHOD(one_wheel, "run() returns when the last timer has run", "[wakeups]") {
  int ran = 0;
  wheel.schedule_after(10ms, [&ran] { ++ran; });
  wheel.schedule_after(7s, [&ran] { ++ran; });
  stall(io, 10ms);
  CHECK_FALSE(out_of_work(io));
  manual_clock::advance(7s);
  io.restart();
  io.run();
  CHECK(ran == 2);
  CHECK(wheel.stats().wakeups <= 3);
}

TEST_CASE_METHOD(one_wheel, "run() returns when the last timer was cancelled before it began",
                 "[wakeups]") {
  std::vector<kestrel::timer_id> ids;
  for (int i = 1; i != 100; ++i)
    ids.push_back(wheel.schedule_after(i * 1s, [] {}));
  for (const auto id : ids)
    CHECK(wheel.cancel(id));
  io.run();
  CHECK(wheel.stats().wakeups == 0);
}

TEST_CASE_METHOD(one_wheel, "An empty batch keeps no context running", "[wakeups][batch]") {
  wheel.cancel(wheel.schedule_after(1h, [] {}));
  settle(io);
  wheel.schedule(std::vector<kestrel::timer_task>());
  settle(io);
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A timer an hour away wakes the wheel twice", "[wakeups]") {
  bool ran = false;
  wheel.schedule_after(1h, [&ran] { ran = true; });
  pass(io, 1h - 1ms, 100ms);
  CHECK_FALSE(ran);
  CHECK(wheel.stats().wakeups == 1); // when its slot comes down from level 1
  pass(io, 1ms);
  CHECK(ran);
  CHECK(wheel.stats().wakeups == 2);
}

TEST_CASE_METHOD(one_wheel, "A wheel that has run all it had does not look back for the next",
                 "[wakeups]") {
  for (int i = 0; i != 3; ++i)
    wheel.schedule_after(10ms, [] {});
  stall(io, 10ms);
  CHECK(wheel.empty());
  CHECK(wheel.stats().wakeups == 1);
  const auto id = wheel.schedule_after(1h, [] {});
  settle(io);
  CHECK(wheel.stats().wakeups == 1);
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_wheel, "A wheel wakes once for each slot that has timers", "[wakeups]") {
  int ran = 0;
  for (int i = 0; i != 1000; ++i)
    wheel.schedule_after(100ms + (i % 10) * 200ms, [&ran] { ++ran; });
  pass(io, 3s);
  CHECK(ran == 1000);
  CHECK(wheel.stats().wakeups >= 10);
  CHECK(wheel.stats().wakeups <= 14);
}

TEST_CASE_METHOD(one_wheel,
                 "Resetting a timeout to later causes no wake before its old slot comes up",
                 "[wakeups]") {
  const auto id = wheel.schedule_after(4900ms, [] {});
  for (int i = 0; i != 489; ++i) {
    pass(io, 10ms);
    CHECK(wheel.postpone(id, 4900ms));
  }
  CHECK(wheel.stats().wakeups == 0);
  for (int i = 0; i != 1000; ++i) {
    pass(io, 10ms);
    CHECK(wheel.postpone(id, 4900ms));
  }
  CHECK(wheel.stats().wakeups <= 6);
}

TEST_CASE_METHOD(one_wheel, "Timers that were cancelled cause no wake-ups of their own",
                 "[wakeups]") {
  wheel.schedule_after(1h, [] {});
  std::vector<kestrel::timer_id> ids;
  for (int i = 1; i != 500; ++i)
    ids.push_back(wheel.schedule_after(i * 10ms, [] {}));
  for (const auto id : ids)
    CHECK(wheel.cancel(id));
  pass(io, 10s);
  CHECK(wheel.stats().wakeups <= 1); // of the one that was armed for the first of them
}

TEST_CASE_METHOD(one_wheel, "An idle wheel is on time for a short timer", "[wakeups]") {
  wheel.schedule_after(5h, [] {});
  stall(io, 1h + 3ms);
  bool ran = false;
  wheel.schedule_after(10ms, [&ran] { ran = true; });
  stall(io, 17ms - 1ns);
  CHECK_FALSE(ran);
  stall(io, 1ns);
  CHECK(ran);
}

TEST_CASE_METHOD(one_wheel, "An empty wheel waits for nothing, though the clock has stepped back",
                 "[wakeups]") {
  wheel.schedule_after(tick, [] { throw 1; });
  const auto due = wheel.schedule_after(tick, [] {});
  manual_clock::advance(tick);
  CHECK_THROWS_AS(settle(io), int);
  manual_clock::advance(-tick);
  CHECK(wheel.cancel(due));
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}
