// SPDX-License-Identifier: MIT
//
// postpone() moves a deadline, later or earlier, and may replace the callback. True means that the
// old deadline will not fire, even if the callback was on its way.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

using namespace kestrel_tests;

TEST_CASE("A timer moves to a new deadline, from wherever to wherever", "[postpone]") {
  const at_start clock;
  asio::io_context io;
  const auto from = GENERATE(as<manual_clock::duration>{}, 1ms, 15ms, 400ms, 5999ms, 64s, 200s);
  const auto to = GENERATE(as<manual_clock::duration>{}, 1ms, 15ms, 400ms, 5999ms, 64s, 200s);
  manual_wheel wheel{io};
  journal ran;
  const auto id = wheel.schedule_after(from, ran.note(1));
  CHECK(wheel.expiry(id) == manual_clock::start + from);
  CHECK(wheel.postpone(id, to));
  CHECK(wheel.expiry(id) == manual_clock::start + to);
  const auto due = tick_after(manual_clock::start + to, manual_clock::start);
  stall(io, due - manual_clock::start - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran == journal{{1, due - manual_clock::start}});
  CHECK_FALSE(wheel.postpone(id, to));
  stall(io, 300s);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "The deadline counts from the moment of the call", "[postpone]") {
  journal ran;
  const auto id = wheel.schedule_after(30ms, ran.note(1));
  for (int i = 0; i != 1000; ++i) {
    pass(io, 23ms, 23ms);
    REQUIRE(wheel.postpone(id, 30ms));
    REQUIRE(wheel.expiry(id) == manual_clock::now() + 30ms);
  }
  CHECK(ran.empty());
  const auto due = tick_after(*wheel.expiry(id), manual_clock::start);
  stall(io, due - manual_clock::now() - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran.size() == 1);
  CHECK(wheel.stats().postponed == 1000);
}

TEST_CASE_METHOD(one_wheel, "postpone_at takes an absolute deadline", "[postpone]") {
  journal ran;
  const auto id = wheel.schedule_at(manual_clock::start + 1h, ran.note(1));
  CHECK(wheel.postpone_at(id, manual_clock::start + 123456789ns));
  CHECK(wheel.expiry(id) == manual_clock::start + 123456789ns);
  CHECK(wheel.postpone_at(
      id, std::chrono::time_point_cast<std::chrono::milliseconds>(manual_clock::start + 500ms),
      ran.note(2)));
  CHECK(*wheel.expiry(id) <= manual_clock::start + 500ms);
  stall(io, 500ms);
  CHECK(ran == journal{{2, 500ms}});
}

TEST_CASE_METHOD(one_wheel, "Into the past is due at once, but not inline", "[postpone]") {
  pass(io, 25ms, 1ms);
  journal ran;
  const auto id =
      wheel.schedule_after(GENERATE(as<manual_clock::duration>{}, 15ms, 1h), ran.note(1));
  switch (GENERATE(0, 1, 2)) {
  case 0:
    CHECK(wheel.postpone(id, 0s));
    break;
  case 1:
    CHECK(wheel.postpone(id, -1h));
    break;
  case 2:
    CHECK(wheel.postpone_at(id, manual_clock::time_point::min()));
    break;
  }
  CHECK(ran.empty());
  CHECK(*wheel.expiry(id) <= manual_clock::now());
  settle(io);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "An earlier deadline wakes a wheel that sleeps for long",
                 "[postpone]") {
  journal ran;
  const auto id = wheel.schedule_after(10h, ran.note(1));
  stall(io, 1h);
  CHECK(wheel.postpone(id, 15ms));
  pass(io, 30ms);
  CHECK(ran == journal{{1, 1h + 20ms}});
}

TEST_CASE_METHOD(one_wheel, "postpone keeps the callback, or replaces it", "[postpone]") {
  journal ran;
  const auto kept = std::make_shared<int>();
  const auto first = wheel.schedule_after(10ms, [kept, note = ran.note(1)] { note(); });
  CHECK(wheel.postpone(first, 20ms));
  CHECK(kept.use_count() == 2);
  const auto second = wheel.schedule_after(10ms, [kept] { FAIL("was replaced"); });
  CHECK(kept.use_count() == 3);
  CHECK(wheel.postpone(second, 20ms, ran.note(2)));
  CHECK(kept.use_count() == 2);
  stall(io, 10ms);
  CHECK(ran.empty());
  stall(io, 10ms);
  CHECK(ran.size() == 2);
  CHECK(kept.use_count() == 1);
  // A replacement that comes too late is destroyed.
  CHECK_FALSE(wheel.postpone(second, 20ms, [kept] {}));
  CHECK(kept.use_count() == 1);
}

TEST_CASE_METHOD(one_wheel, "The first of two timers that are due together may postpone the second",
                 "[postpone]") {
  journal ran;
  kestrel::timer_id second;
  bool postponed = false;
  wheel.schedule_after(10ms, [&] { postponed = wheel.postpone(second, 50ms); });
  second = wheel.schedule_after(10ms, ran.note(2));
  stall(io, 20ms);
  CHECK(postponed);
  CHECK(ran.empty());
  pass(io, 60ms);
  CHECK(ran == journal{{2, 70ms}});
}

TEST_CASE("A callback that waits in its strand's queue can be postponed", "[postpone]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  const auto strand = asio::make_strand(other);
  manual_wheel wheel{io};
  journal ran;
  const auto run_both = [&] {
    settle(io);
    settle(other);
    settle(io);
    settle(other);
  };
  const auto id = wheel.schedule_after(10ms, asio::bind_executor(strand, ran.note(1)));
  stall(io, 10ms);
  SECTION("and keeps its callback") {
    CHECK(wheel.postpone(id, 50ms));
    CHECK(wheel.expiry(id) == manual_clock::start + 60ms);
    run_both();
    CHECK(ran.empty());
    manual_clock::advance(50ms - 1ns);
    run_both();
    CHECK(ran.empty());
    manual_clock::advance(1ns);
    run_both();
    CHECK(ran == journal{{1, 60ms}});
  }
  SECTION("and gets another one, on the same strand") {
    CHECK(wheel.postpone(id, 50ms, asio::bind_executor(strand, ran.note(2))));
    run_both();
    manual_clock::advance(50ms - 1ns);
    run_both();
    CHECK(ran.empty());
    manual_clock::advance(1ns);
    run_both();
    CHECK(ran == journal{{2, 60ms}});
  }
  SECTION("twice") {
    CHECK(wheel.postpone(id, 50ms));
    CHECK(wheel.postpone(id, 20ms));
    run_both();
    manual_clock::advance(20ms);
    run_both();
    CHECK(ran == journal{{1, 30ms}});
  }
  SECTION("to now") {
    CHECK(wheel.postpone(id, 0ms));
    run_both();
    CHECK(ran == journal{{1, 10ms}});
  }
  manual_clock::advance(1h);
  run_both();
  CHECK(ran.size() == 1);
  CHECK(wheel.empty());
}

TEST_CASE(
    "A replacement runs where it belongs, whatever became of the executor of the old callback",
    "[postpone]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context never_run;
  asio::io_context other;
  manual_wheel wheel{io};
  journal ran;
  const auto id = wheel.schedule_after(10ms, asio::bind_executor(never_run, ran.note(1)));
  stall(io, 10ms);
  SECTION("on the wheel's") {
    CHECK(wheel.postpone(id, 15ms, ran.note(2)));
    pass(io, 50ms);
  }
  SECTION("on its own") {
    CHECK(wheel.postpone(id, 15ms, asio::bind_executor(other, [note = ran.note(2), &other] {
                           CHECK(other.get_executor().running_in_this_thread());
                           note();
                         })));
    for (int i = 0; i != 5; ++i) {
      stall(io, 10ms);
      settle(other);
    }
  }
  CHECK(ran == journal{{2, 30ms}});
  never_run.run();
  settle(io);
  CHECK(ran == journal{{2, 30ms}});
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A replacement need not have an executor of its own", "[postpone]") {
  const auto strand = asio::make_strand(io);
  int inside = 0;
  int outside = 0;
  const auto look = [&] { ++(strand.running_in_this_thread() ? inside : outside); };
  const auto bound = wheel.schedule_after(10ms, asio::bind_executor(strand, look));
  const auto unbound = wheel.schedule_after(10ms, look);
  CHECK(wheel.postpone(bound, 20ms, look));
  CHECK(wheel.postpone(unbound, 20ms, asio::bind_executor(strand, look)));
  stall(io, 10ms);
  CHECK(inside + outside == 0);
  stall(io, 10ms);
  CHECK(inside == 1);
  CHECK(outside == 1);
}

TEST_CASE_METHOD(one_wheel, "Postponing many timers at random loses none and fires none early",
                 "[postpone]") {
  struct state {
    kestrel::timer_id id;
    manual_clock::time_point deadline;
    bool fired = false;
  };
  std::vector<state> timers(500);
  std::mt19937_64 random(42);
  const auto random_delay = [&] {
    return manual_clock::duration(static_cast<std::int64_t>(random() % 9'000'000'000));
  };
  int wrong = 0;
  for (state& s : timers) {
    const auto delay = random_delay();
    s.deadline = manual_clock::now() + delay;
    s.id = wheel.schedule_after(delay, [&s, &wrong] {
      const auto now = manual_clock::now();
      wrong += s.fired || now < s.deadline || now >= s.deadline + 2 * tick;
      s.fired = true;
    });
  }
  for (int step = 0; step != 2000; ++step) {
    stall(io, tick);
    state& s = timers[random() % timers.size()];
    const auto delay = random_delay();
    if (wheel.postpone(s.id, delay)) {
      wrong += s.fired;
      s.deadline = manual_clock::now() + delay;
    } else {
      wrong += !s.fired;
    }
  }
  pass(io, 9010ms);
  CHECK(wrong == 0);
  for (const state& s : timers)
    CHECK(s.fired);
  CHECK(wheel.empty());
}
