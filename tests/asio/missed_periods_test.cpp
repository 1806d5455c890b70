// SPDX-License-Identifier: MIT
//
// What a periodic timer does about periods it was too late for: it leaves them out (skip), makes up
// for them (catch_up), or starts anew from the late firing (delay).

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <ostream>
#include <ratio>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::missed_periods;
using kestrel::timer_id;
using kestrel::timer_task;

namespace {

/// A firing: when, counted from the start of the clock, what was told, and what comes next.
struct firing {
  manual_clock::duration at;
  std::uint64_t missed;
  manual_clock::duration next;

  friend bool operator==(const firing&, const firing&) = default;
  friend std::ostream& operator<<(std::ostream& out, const firing& f) {
    return out << "at " << f.at / 1us << " us, missed " << f.missed << ", next at " << f.next / 1us
               << " us";
  }
};

using firings = std::vector<firing>;

/// A wheel, and periodic timers of which each test is run twice: made by schedule_every, and from
/// a task.
struct periodic {
  using duration = manual_clock::duration;

  timer_id start(duration initial, duration interval, missed_periods policy) {
    const auto f = [this](timer_id id, std::uint64_t missed) {
      log.push_back({since_start(manual_clock::now()), missed, next(id)});
      callback();
    };
    if (from_task)
      return wheel.schedule(timer_task::periodic(initial, interval, f, policy)).id();
    return wheel.schedule_every(initial, interval, f, policy);
  }

  static duration since_start(manual_clock::time_point time) { return time - manual_clock::start; }
  [[nodiscard]] duration next(timer_id id) const {
    return since_start(wheel.expiry(id).value_or(manual_clock::time_point::min()));
  }

  /// As a stall that ends at `time`.
  void stall_until(duration time) { stall(io, manual_clock::start + time - manual_clock::now()); }

  at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  bool from_task = GENERATE(false, true);
  firings log;
  std::function<void()> callback = [] {};
};

} // namespace

TEST_CASE_METHOD(periodic, "skip: a late firing tells what was left out, and the grid stays",
                 "[missed_periods]") {
  const auto id = start(10ms, 10ms, missed_periods::skip);
  stall_until(10ms);
  CHECK(log == firings{{10ms, 0, 20ms}});
  log.clear();
  SECTION("less than a period late") {
    stall_until(29ms);
    CHECK(log == firings{{29ms, 0, 30ms}});
  }
  SECTION("exactly a period late: the second is over, too") {
    stall_until(30ms);
    CHECK(log == firings{{30ms, 1, 40ms}});
  }
  SECTION("a bit more") {
    stall_until(31ms);
    CHECK(log == firings{{31ms, 1, 40ms}});
  }
  SECTION("0.4 s") {
    stall_until(419ms);
    CHECK(log == firings{{419ms, 39, 420ms}});
  }
  SECTION("6 s") {
    stall_until(6s);
    CHECK(log == firings{{6s, 598, 6010ms}});
  }
  SECTION("70 s") {
    stall_until(70s + 5ms);
    CHECK(log == firings{{70s + 5ms, 6998, 70s + 10ms}});
  }
  SECTION("a day") {
    stall_until(24h);
    CHECK(log == firings{{24h, 24 * 360'000 - 2, 24h + 10ms}});
  }
  const auto expected = wheel.stats().missed_periods;
  CHECK(expected == log[0].missed);
  const auto next = log[0].next;
  stall_until(next);
  CHECK(log.size() == 2);
  CHECK(log[1] == firing{next, 0, next + 10ms});
  CHECK(wheel.stats().missed_periods == expected);
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(periodic, "skip is what one gets without asking", "[missed_periods]") {
  std::vector<std::uint64_t> missed;
  const auto f = [&](timer_id, std::uint64_t m) { missed.push_back(m); };
  if (from_task)
    wheel.schedule(timer_task::periodic(10ms, 10ms, f));
  else
    wheel.schedule_every(10ms, 10ms, f);
  stall_until(55ms);
  stall_until(60ms);
  CHECK(missed == std::vector<std::uint64_t>{4, 0});
}

TEST_CASE_METHOD(periodic, "catch_up: every period fires, one after the other, and none is missed",
                 "[missed_periods]") {
  start(10ms, 10ms, missed_periods::catch_up);
  stall_until(10ms);
  CHECK(log == firings{{10ms, 0, 20ms}});
  log.clear();
  SECTION("less than a period late") {
    stall_until(29ms);
    CHECK(log == firings{{29ms, 0, 30ms}});
  }
  SECTION("exactly a period late") {
    stall_until(30ms);
    CHECK(log == firings{{30ms, 0, 30ms}, {30ms, 0, 40ms}});
  }
  SECTION("some periods late") {
    stall_until(55ms);
    CHECK(log == firings{{55ms, 0, 30ms}, {55ms, 0, 40ms}, {55ms, 0, 50ms}, {55ms, 0, 60ms}});
  }
  SECTION("a minute late") {
    stall_until(60s);
    REQUIRE(log.size() == 5999);
    for (std::size_t k = 0; k != log.size(); ++k)
      REQUIRE(log[k] == firing{60s, 0, 30ms + static_cast<int>(k) * 10ms});
  }
  CHECK(wheel.stats().missed_periods == 0);
  const auto next = log.back().next;
  log.clear();
  stall_until(next - 1ns);
  CHECK(log.empty());
  stall_until(next);
  CHECK(log == firings{{next, 0, next + 10ms}});
}

TEST_CASE_METHOD(periodic,
                 "catch_up: a callback that takes longer than its period falls behind, "
                 "and is in time again when it no longer does",
                 "[missed_periods]") {
  callback = [&] {
    if (log.size() <= 3)
      manual_clock::advance(25ms);
  };
  start(10ms, 10ms, missed_periods::catch_up);
  stall_until(10ms); // runs at 10, 35 and 60, until 85: those of 40 to 80 are over by then
  CHECK(log == firings{{10ms, 0, 20ms},
                       {35ms, 0, 30ms},
                       {60ms, 0, 40ms},
                       {85ms, 0, 50ms},
                       {85ms, 0, 60ms},
                       {85ms, 0, 70ms},
                       {85ms, 0, 80ms},
                       {85ms, 0, 90ms}});
  stall_until(90ms);
  CHECK(log.back() == firing{90ms, 0, 100ms});
}

TEST_CASE_METHOD(periodic, "catch_up: other timers get their turn in between", "[missed_periods]") {
  start(10ms, 10ms, missed_periods::catch_up);
  std::size_t before = 0;
  wheel.schedule_after(1s, [&] { before = log.size(); });
  stall_until(5ms);
  manual_clock::advance(10h);
  int handlers = 0;
  while (before == 0 && handlers != 1'000'000) {
    io.restart();
    handlers += static_cast<int>(io.poll_one());
  }
  CHECK(before > 0);
  CHECK(before < 3'600'000 / 2); // of ten hours' periods
}

TEST_CASE_METHOD(periodic, "catch_up: it can be ended while it catches up", "[missed_periods]") {
  timer_id id;
  SECTION("by cancelling") {
    callback = [&] {
      if (log.size() == 3)
        CHECK(wheel.cancel(id));
    };
    id = start(10ms, 10ms, missed_periods::catch_up);
    stall_until(1s);
    CHECK(log.size() == 3);
    CHECK(wheel.empty());
    CHECK(out_of_work(io));
  }
  SECTION("by postponing: what is over is forgotten") {
    callback = [&] {
      if (log.size() == 3)
        CHECK(wheel.postpone(id, 20ms));
    };
    id = start(10ms, 10ms, missed_periods::catch_up);
    stall_until(1s);
    CHECK(log.size() == 3);
    CHECK(next(id) == 1020ms);
    stall_until(1020ms);
    CHECK(log.back() == firing{1020ms, 0, 1030ms});
    CHECK(log.size() == 4);
  }
}

TEST_CASE_METHOD(periodic, "delay: the next firing is an interval after a late one",
                 "[missed_periods]") {
  start(10ms, 10ms, missed_periods::delay);
  stall_until(10ms);
  CHECK(log == firings{{10ms, 0, 20ms}});
  log.clear();
  SECTION("in time") {
    stall_until(20ms);
    CHECK(log == firings{{20ms, 0, 30ms}});
  }
  SECTION("less than a period late") {
    stall_until(29ms);
    CHECK(log == firings{{29ms, 0, 39ms}});
  }
  SECTION("exactly a period late") {
    stall_until(30ms);
    CHECK(log == firings{{30ms, 1, 40ms}});
  }
  SECTION("some periods late") {
    stall_until(55ms);
    CHECK(log == firings{{55ms, 3, 65ms}});
  }
  SECTION("a day late") {
    stall_until(24h + 1ns);
    CHECK(log == firings{{24h + 1ns, 24 * 360'000 - 2, 24h + 10ms + 1ns}});
  }
  CHECK(wheel.stats().missed_periods == log[0].missed);
  const auto due = log[0].next;
  log.clear();
  const auto fires =
      periodic::since_start(tick_after(manual_clock::start + due, manual_clock::start));
  stall_until(fires - 1ns);
  CHECK(log.empty());
  stall_until(fires);
  CHECK(log == firings{{fires, 0, fires + 10ms}});
}

TEST_CASE_METHOD(periodic,
                 "delay: there is an interval between any two firings, however uneven time",
                 "[missed_periods]") {
  const auto interval = GENERATE(as<periodic::duration>{}, 3ms, 15ms, 100ms, 1s);
  start(0ms, interval, missed_periods::delay);
  std::uint64_t random = 7;
  for (int i = 0; i != 3000; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    stall(io, periodic::duration(random >> 36)); // up to a quarter of a second
  }
  CHECK(log.size() > 300);
  for (std::size_t k = 1; k < log.size(); ++k)
    REQUIRE(log[k].at - log[k - 1].at >= interval);
}

TEST_CASE_METHOD(periodic, "Firing k is due at initial + k * interval, to the nanosecond",
                 "[missed_periods]") {
  const auto policy = GENERATE(missed_periods::skip, missed_periods::catch_up);
  const auto [initial, interval, count] =
      GENERATE(table<periodic::duration, periodic::duration, int>({{7ms, 15ms, 3000},
                                                                   {0ms, 6900ms, 300},
                                                                   {1234567ns, 6900ms, 300},
                                                                   {65s, 64s, 100},
                                                                   {1ms, 64s, 100},
                                                                   {10s, 333'333'333ns, 1000}}));
  stall_until(3ms);
  const auto id = start(initial, interval, policy);
  for (int k = 0; k != count; ++k) {
    const auto due = 3ms + initial + k * interval;
    REQUIRE(next(id) == due);
    const auto fires =
        periodic::since_start(tick_after(manual_clock::start + due, manual_clock::start));
    stall_until(fires - 1ns);
    REQUIRE(log.size() == static_cast<std::size_t>(k));
    stall_until(fires);
    REQUIRE(log.size() == static_cast<std::size_t>(k) + 1);
    REQUIRE(log.back() == firing{fires, 0, due + interval});
  }
}

TEST_CASE_METHOD(periodic, "With stalls of any length, no period is unaccounted for",
                 "[missed_periods]") {
  const auto policy = GENERATE(missed_periods::skip, missed_periods::catch_up);
  const auto interval = GENERATE(as<periodic::duration>{}, 15ms, 6900ms, 64s);
  const auto id = start(20ms, interval, policy);
  std::uint64_t random = 99;
  for (int i = 0; i != 200; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    stall(io,
          periodic::duration((random >> 24) % static_cast<std::uint64_t>(interval.count() * 7)));
  }
  std::int64_t k = 0; // of the period that is to fire
  for (const firing& f : log) {
    REQUIRE(f.at >= 20ms + k * interval);
    k += 1 + static_cast<std::int64_t>(f.missed);
    REQUIRE(f.next == 20ms + k * interval);
    if (policy == missed_periods::catch_up)
      REQUIRE(f.missed == 0);
    else
      REQUIRE(f.next > f.at);
  }
  CHECK(next(id) == 20ms + k * interval);
  CHECK(log.size() > 100);
}

TEST_CASE_METHOD(periodic,
                 "On a strand that is slow to run, lateness counts when the callback starts",
                 "[missed_periods]") {
  const auto [policy, expected] =
      GENERATE(table<missed_periods, firings>({{missed_periods::skip, {{45ms, 3, 50ms}}},
                                               {missed_periods::delay, {{45ms, 3, 55ms}}},
                                               {missed_periods::catch_up, {{45ms, 0, 20ms}}}}));
  asio::io_context other;
  const auto f =
      asio::bind_executor(asio::make_strand(other), [this](timer_id id, std::uint64_t missed) {
        log.push_back({since_start(manual_clock::now()), missed, next(id)});
      });
  if (from_task)
    wheel.schedule(timer_task::periodic(10ms, 10ms, f, policy));
  else
    wheel.schedule_every(10ms, 10ms, f, policy);
  stall_until(10ms);
  stall_until(45ms);
  CHECK(log.empty());
  settle(other);
  CHECK(log == expected);
  wheel.shutdown(); // before the context of the strand goes
}

TEST_CASE_METHOD(periodic, "Several policies on one wheel keep out of each other's way",
                 "[missed_periods]") {
  std::vector<std::pair<char, std::uint64_t>> told;
  const auto note = [&](char label) {
    return [&told, label](timer_id, std::uint64_t missed) { told.emplace_back(label, missed); };
  };
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::periodic(10ms, 10ms, note('s'), missed_periods::skip));
  tasks.push_back(timer_task::periodic(10ms, 10ms, note('c'), missed_periods::catch_up));
  tasks.push_back(timer_task::periodic(10ms, 10ms, note('d'), missed_periods::delay));
  auto batch = wheel.schedule(tasks);
  stall_until(34ms);
  using expected = std::vector<std::pair<char, std::uint64_t>>;
  std::sort(told.begin(), told.end());
  CHECK(told == expected{{'c', 0}, {'c', 0}, {'c', 0}, {'d', 2}, {'s', 2}});
  CHECK(batch[0].expiry() == manual_clock::start + 40ms);
  CHECK(batch[1].expiry() == manual_clock::start + 40ms);
  CHECK(batch[2].expiry() == manual_clock::start + 44ms);
  CHECK(wheel.stats().missed_periods == 4);
  CHECK(batch.cancel_all() == 3);
}

TEST_CASE_METHOD(periodic, "An interval of 36 years or more fires once, and then never again",
                 "[missed_periods]") {
  using days = std::chrono::duration<std::int64_t, std::ratio<86400>>;
  const auto policy =
      GENERATE(missed_periods::skip, missed_periods::catch_up, missed_periods::delay);
  const bool longest = GENERATE(true, false);
  int ran = 0;
  std::uint64_t missed = 0;
  const auto f = [&](timer_id, std::uint64_t m) {
    ++ran;
    missed += m;
  };
  const auto start_every = [&](auto interval) {
    return from_task ? wheel.schedule(timer_task::periodic(15ms, interval, f, policy)).id()
                     : wheel.schedule_every(15ms, interval, f, policy);
  };
  const auto id = longest ? start_every(std::chrono::hours::max()) : start_every(days(37 * 365));
  CHECK(wheel.expiry(id) == manual_clock::start + 15ms);
  stall_until(20ms);
  CHECK(ran == 1);
  CHECK(wheel.size() == 1);
  CHECK(wheel.expiry(id) > manual_clock::start + days(200 * 365));
  for (int years = 40; years <= 240; years += 50) {
    stall_until(days(years * 365));
    CHECK(ran == 1);
  }
  CHECK(missed == 0);
  CHECK(wheel.cancel(id));
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(periodic, "An interval of 30 years keeps its grid", "[missed_periods]") {
  using days = std::chrono::duration<std::int64_t, std::ratio<86400>>;
  const auto interval = periodic::duration(days(30 * 365));
  const auto policy = GENERATE(missed_periods::skip, missed_periods::catch_up);
  start(10ms, interval, policy);
  for (int k = 0; k != 5; ++k) {
    const auto due = 10ms + k * interval;
    stall_until(due - 1ns);
    REQUIRE(log.size() == static_cast<std::size_t>(k));
    stall_until(due);
    REQUIRE(log.size() == static_cast<std::size_t>(k) + 1);
    REQUIRE(log.back() == firing{due, 0, due + interval});
  }
}
