// SPDX-License-Identifier: MIT
//
// Periodic timers: firing k is due at start + initial + k * interval, without drift; a late one is
// followed by the next whole period that is still to come, and is told how many it left out.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <cstdint>
#include <stdexcept>
#include <system_error>
#include <vector>

using namespace kestrel_tests;

TEMPLATE_TEST_CASE("Firing k comes at the tick of start + initial + k * interval", "[periodic]",
                   manual_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  stall(io, 3ms);
  const auto interval =
      GENERATE(as<manual_clock::duration>{}, 15ms, 10ms, 6900ms, 64s, 333'333'333ns);
  const auto initial = GENERATE(as<manual_clock::duration>{}, 0ms, 1ms, 15ms, 70s);
  journal ran;
  const auto from = manual_clock::now();
  const auto id = wheel.schedule_every(initial, interval, ran.note(0));
  const int periods = interval < 1s ? 200 : 10;
  for (int k = 0; k != periods; ++k) {
    const auto deadline = from + initial + k * interval;
    REQUIRE(wheel.expiry(id) == deadline);
    const auto due = tick_after(deadline, manual_clock::start);
    stall(io, due - manual_clock::now() - 1ns);
    REQUIRE(ran.size() == static_cast<std::size_t>(k));
    stall(io, 1ns);
    REQUIRE(ran.size() == static_cast<std::size_t>(k) + 1);
  }
  CHECK(wheel.stats().missed_periods == 0);
  CHECK(wheel.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "A million periods do not drift", "[periodic]") {
  int ran = 0;
  const auto id = wheel.schedule_every(7ms, 33'333'333ns, [&ran] { ++ran; });
  stall(io, 10ms);
  CHECK(ran == 1);
  stall(io, 33'333'333ns * 1'000'000);
  CHECK(wheel.expiry(id) == manual_clock::start + 7ms + 33'333'333ns * 1'000'001);
}

TEST_CASE_METHOD(one_wheel, "Missed periods are left out, and told", "[periodic][stall]") {
  std::vector<std::uint64_t> missed;
  kestrel::timer_id told;
  const auto id = wheel.schedule_every(10ms, 10ms, [&](kestrel::timer_id i, std::uint64_t m) {
    told = i;
    missed.push_back(m);
  });
  stall(io, 10ms);
  stall(io, 10ms);
  CHECK(missed == std::vector<std::uint64_t>{0, 0});
  stall(io, 50ms); // due at 30; 40, 50, 60 and 70 have passed as well
  CHECK(missed == std::vector<std::uint64_t>{0, 0, 4});
  CHECK(told == id);
  CHECK(wheel.stats().missed_periods == 4);
  CHECK(wheel.expiry(id) == manual_clock::start + 80ms);
  stall(io, 10ms);
  CHECK(missed.back() == 0);
  stall(io, 24h);
  CHECK(missed.size() == 5);
  CHECK(missed.back() == 24 * 3600 * 100 - 1);
  CHECK(wheel.stats().missed_periods == 4 + missed.back());
  CHECK(wheel.stats().fired == 5);
}

TEST_CASE_METHOD(one_wheel, "Between two ticks, periods shorter than a tick are missed ones",
                 "[periodic]") {
  std::uint64_t periods = 0;
  wheel.schedule_every(1ms, 1ms,
                       [&](kestrel::timer_id, std::uint64_t missed) { periods += 1 + missed; });
  pass(io, 1s);
  CHECK(periods == 1000);
  CHECK(wheel.stats().fired == 100);
}

TEST_CASE_METHOD(one_wheel, "A callback slower than its period misses some and does not pile up",
                 "[periodic]") {
  std::uint64_t periods = 0;
  journal ran;
  wheel.schedule_every(10ms, 10ms,
                       [&, note = ran.note(0)](kestrel::timer_id id, std::uint64_t missed) mutable {
                         note();
                         periods += 1 + missed;
                         if (ran.size() == 5) {
                           wheel.cancel(id);
                           return;
                         }
                         manual_clock::advance(34ms);
                       });
  stall(io, 10ms);
  // 10..44: 20, then 30 and 40 missed; 44..78: 50, 60 and 70 missed; ...
  CHECK(ran == journal{{0, 10ms}, {0, 44ms}, {0, 78ms}, {0, 112ms}, {0, 146ms}});
  CHECK(periods == 14);
}

TEST_CASE_METHOD(one_wheel, "A periodic timer is ended from inside", "[periodic]") {
  int ran = 0;
  bool first = false;
  bool second = true;
  wheel.schedule_every(10ms, 10ms, [&](kestrel::timer_id id) {
    CHECK(wheel.size() == 1);
    CHECK(wheel.expiry(id) == manual_clock::now() + 10ms);
    if (++ran == 3) {
      first = wheel.cancel(id);
      second = wheel.cancel(id);
    }
  });
  pass(io, 100ms);
  CHECK(ran == 3);
  CHECK(first);
  CHECK_FALSE(second);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A periodic timer is postponed from inside, and all that follows moves",
                 "[periodic]") {
  journal ran;
  const manual_clock::duration other = GENERATE(as<manual_clock::duration>{}, 5ms, 10ms, 200ms, 7s);
  wheel.schedule_every(10ms, 20ms, [&, note = ran.note(0)](kestrel::timer_id id) mutable {
    note();
    if (ran.size() == 1)
      CHECK(wheel.postpone(id, other));
  });
  pass(io, 10ms + other + 45ms);
  const auto second = tick_after(manual_clock::start + 10ms + other, manual_clock::start);
  const auto third = tick_after(manual_clock::start + 30ms + other, manual_clock::start);
  REQUIRE(ran.size() == 4);
  CHECK(ran[0].at == 10ms);
  CHECK(ran[1].at == second - manual_clock::start);
  CHECK(ran[2].at == third - manual_clock::start);
}

TEST_CASE_METHOD(one_wheel,
                 "A periodic timer is postponed from outside, and all that follows moves",
                 "[periodic]") {
  journal ran;
  const auto id = wheel.schedule_every(10ms, 20ms, ran.note(0));
  stall(io, 10ms);
  CHECK(wheel.postpone(id, 100ms));
  pass(io, 150ms);
  CHECK(ran == journal{{0, 10ms}, {0, 110ms}, {0, 130ms}, {0, 150ms}});
}

TEST_CASE_METHOD(one_wheel, "A periodic callback is replaced from inside", "[periodic]") {
  journal ran;
  SECTION("by a plain one") {
    wheel.schedule_every(10ms, 10ms, [&, note = ran.note(1)](kestrel::timer_id id) mutable {
      note();
      CHECK(wheel.postpone(id, 20ms, ran.note(2)));
    });
  }
  SECTION("by one on a strand") {
    wheel.schedule_every(10ms, 10ms, [&, note = ran.note(1)](kestrel::timer_id id) mutable {
      note();
      CHECK(wheel.postpone(id, 20ms, asio::bind_executor(asio::make_strand(io), ran.note(2))));
    });
  }
  SECTION("on a strand, by a plain one") {
    wheel.schedule_every(10ms, 10ms,
                         asio::bind_executor(asio::make_strand(io),
                                             [&, note = ran.note(1)](kestrel::timer_id id) mutable {
                                               note();
                                               CHECK(wheel.postpone(id, 20ms, ran.note(2)));
                                             }));
  }
  SECTION("and throws") {
    wheel.schedule_every(10ms, 10ms, [&, note = ran.note(1)](kestrel::timer_id id) mutable {
      note();
      CHECK(wheel.postpone(id, 20ms, ran.note(2)));
      throw std::runtime_error("callback");
    });
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), std::runtime_error);
    pass(io, 40ms);
    CHECK(ran == journal{{1, 10ms}, {2, 30ms}, {2, 40ms}, {2, 50ms}});
    return;
  }
  pass(io, 50ms);
  CHECK(ran == journal{{1, 10ms}, {2, 30ms}, {2, 40ms}, {2, 50ms}});
}

TEST_CASE_METHOD(one_wheel, "A periodic timer goes on if its callback throws",
                 "[periodic][exceptions]") {
  int ran = 0;
  const auto id = wheel.schedule_every(10ms, 10ms, [&] {
    if (++ran % 2)
      throw std::runtime_error("callback");
  });
  for (int i = 1; i <= 6; ++i) {
    manual_clock::advance(10ms);
    if (i % 2)
      CHECK_THROWS_AS(settle(io), std::runtime_error);
    else
      settle(io);
    CHECK(ran == i);
  }
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_wheel, "An interval must be positive", "[periodic]") {
  const auto is_invalid_interval =
      Catch::Predicate<std::system_error>([](const std::system_error& e) {
        return e.code() == kestrel::errc::invalid_interval &&
               std::string(e.what()).find("interval") != std::string::npos;
      });
  CHECK_THROWS_MATCHES(wheel.schedule_every(1s, 0s, [] {}), std::system_error, is_invalid_interval);
  CHECK_THROWS_MATCHES(wheel.schedule_every(1s, -1ns, [] {}), std::system_error,
                       is_invalid_interval);
  CHECK_THROWS_MATCHES(wheel.schedule_every(1s, std::chrono::duration<double>(-0.0), [] {}),
                       std::system_error, is_invalid_interval);
  CHECK(wheel.empty());
  CHECK(wheel.stats().scheduled == 0);
  // The shortest there is: half a nanosecond becomes one.
  const auto id = wheel.schedule_every(0s, std::chrono::duration<double, std::nano>(0.5), [] {});
  stall(io, 10ms);
  CHECK(wheel.expiry(id) == manual_clock::now() + 1ns);
}

TEST_CASE_METHOD(one_wheel, "Many periods on one wheel keep out of each other's way",
                 "[periodic]") {
  std::vector<int> ran(50);
  for (int i = 0; i != 50; ++i)
    wheel.schedule_every((i + 1) * 10ms, (i + 1) * 10ms,
                         [&ran, i] { ++ran[static_cast<std::size_t>(i)]; });
  pass(io, 20s);
  for (int i = 0; i != 50; ++i)
    CHECK(ran[static_cast<std::size_t>(i)] == 2000 / (i + 1));
}
