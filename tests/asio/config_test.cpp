// SPDX-License-Identifier: MIT
//
// Geometries: presets, compile-time ones, and a clear error, naming the field, for those that make
// no sense.

#include "manual_clock.hpp"

#include <catch.hpp>

#include <optional>
#include <string>
#include <system_error>
#include <type_traits>

using namespace kestrel_tests;
using kestrel::errc;
using kestrel::wheel_config;

namespace {

struct refusal {
  wheel_config config;
  errc code;
  std::string field;
};

struct millisecond_clock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<millisecond_clock, duration>;
  [[maybe_unused]] static constexpr bool is_steady = true;
  static time_point now() noexcept {
    return time_point(std::chrono::floor<duration>(manual_clock::now().time_since_epoch()));
  }
};

struct millisecond_wait_traits {
  static millisecond_clock::duration to_wait_duration(const millisecond_clock::duration&) {
    return millisecond_clock::duration::zero();
  }
  static millisecond_clock::duration to_wait_duration(const millisecond_clock::time_point&) {
    return millisecond_clock::duration::zero();
  }
};

struct millisecond_traits : manual_traits {
  using clock = millisecond_clock;
  using wait_traits = millisecond_wait_traits;
};

} // namespace

TEST_CASE("A configuration that makes no sense is refused by its field's name", "[config]") {
  asio::io_context io;
  const refusal r =
      GENERATE(refusal{{.l0_tick = 0ms}, errc::invalid_l0_tick, "l0_tick"},
               refusal{{.l0_tick = -10ms}, errc::invalid_l0_tick, "l0_tick"},
               refusal{{.l0_slots = 0}, errc::invalid_l0_slots, "l0_slots"},
               refusal{{.l0_slots = 500}, errc::invalid_l0_slots, "l0_slots"},
               refusal{{.l0_slots = std::size_t{1} << 40}, errc::invalid_l0_slots, "l0_slots"},
               refusal{{.l1_tick = 0s}, errc::invalid_l1_tick, "l1_tick"},
               refusal{{.l1_tick = -1s}, errc::invalid_l1_tick, "l1_tick"},
               refusal{{.l1_tick = 1001ms}, errc::invalid_l1_tick, "l1_tick"},
               refusal{{.l1_tick = 6s}, errc::invalid_l1_tick, "l1_tick"},
               refusal{{.l1_tick = 1ms}, errc::invalid_l1_tick, "l1_tick"},
               refusal{{.l1_slots = 0}, errc::invalid_l1_slots, "l1_slots"},
               refusal{{.l1_slots = 63}, errc::invalid_l1_slots, "l1_slots"},
               refusal{{.l0_tick = std::chrono::hours(24 * 365 * 200),
                        .l0_slots = 1,
                        .l1_tick = std::chrono::hours(24 * 365 * 200),
                        .l1_slots = 64},
                       errc::invalid_l1_slots,
                       "l1_slots"});
  CAPTURE(r.field, r.config.l0_tick.count(), r.config.l0_slots, r.config.l1_tick.count(),
          r.config.l1_slots);
  try {
    const manual_wheel wheel(io, r.config);
    FAIL("was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == r.code);
    CHECK(e.code().category() == kestrel::error_category());
    CHECK(std::string(e.what()).find(r.field) != std::string::npos);
  }
  try {
    const manual_wheel wheel(io.get_executor(), r.config);
    FAIL("was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == r.code);
  }
  CHECK(out_of_work(io));
}

TEST_CASE("A tick finer than the clock is refused", "[config]") {
  asio::io_context io;
  try {
    const wheel_with<millisecond_traits> wheel(io, wheel_config{.l0_tick = 100us, .l1_tick = 10ms});
    FAIL("was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == errc::invalid_l0_tick);
  }
}

TEST_CASE("A clock of milliseconds is never early either", "[config]") {
  const at_start clock;
  asio::io_context io;
  wheel_with<millisecond_traits> wheel{io};
  bool ran = false;
  const auto from = millisecond_clock::now();
  const auto id = wheel.schedule_after(1us, [&ran] { ran = true; });
  CHECK(wheel.expiry(id) == from + 1ms);
  for (int i = 0; i != 200'000 && !ran; ++i) {
    if (i % 1000 == 0)
      manual_clock::advance(100us);
    io.restart();
    io.poll();
    if (ran)
      CHECK(millisecond_clock::now() >= from + 10ms);
  }
  CHECK(ran);
}

TEST_CASE("Presets and other geometries keep their tick", "[config]") {
  const at_start clock;
  struct geometry {
    wheel_config config;
    manual_clock::duration tick;
  };
  const geometry g =
      GENERATE(geometry{wheel_config{}, 10ms}, geometry{wheel_config::network_timeouts(), 5ms},
               geometry{wheel_config::heartbeats(), 100ms},
               geometry{{.l0_tick = 1ms, .l0_slots = 1, .l1_tick = 1ms, .l1_slots = 1}, 1ms},
               geometry{{.l0_tick = 1us, .l0_slots = 256, .l1_tick = 100us, .l1_slots = 16}, 1us},
               geometry{{.l0_tick = 3ms, .l0_slots = 64, .l1_tick = 192ms, .l1_slots = 2}, 3ms});
  const manual_clock::duration l0_tick = g.tick;
  const manual_clock::duration l1_tick = g.config.l1_tick;
  const manual_clock::duration l1_turn = l1_tick * static_cast<int>(g.config.l1_slots);
  const manual_clock::duration delays[] = {1ns,           l0_tick - 1ns,         l0_tick,
                                           l0_tick + 1ns, 7 * l0_tick + 3ns,     l1_tick,
                                           l1_tick + 1ns, 3 * l1_tick + l0_tick, l1_turn + l0_tick};
  asio::io_context io;
  std::optional<manual_wheel> wheel;
  const auto fires_at_its_tick = [&](manual_clock::duration delay, int label) {
    journal ran;
    const auto from = manual_clock::now();
    wheel->schedule_after(delay, ran.note(label));
    const auto due = tick_after(from + delay, manual_clock::start, l0_tick);
    stall(io, due - from - 1ns);
    CHECK(ran.empty());
    stall(io, 1ns);
    CHECK(ran == journal{{label, due - manual_clock::start}});
  };
  int fired = 0;
  SECTION("each at the start of a wheel of its own") {
    for (const auto delay : delays) {
      manual_clock::set(manual_clock::start);
      wheel.emplace(io, g.config);
      fires_at_its_tick(delay, fired++);
    }
  }
  SECTION("one after the other on one wheel") {
    wheel.emplace(io, g.config);
    for (const auto delay : delays)
      fires_at_its_tick(delay, fired++);
    CHECK(wheel->stats().fired == 9);
  }
  CHECK(fired == 9);
}

TEST_CASE("A wheel whose geometry is a constant takes no configuration", "[config]") {
  const at_start clock;
  using constant = wheel_with<tiny_traits>;
  STATIC_REQUIRE(std::is_constructible_v<constant, asio::io_context&>);
  STATIC_REQUIRE_FALSE(
      std::is_constructible_v<constant, const asio::any_io_executor&, const wheel_config&>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<constant>);
  asio::io_context io;
  constant wheel{io};
  journal ran;
  wheel.schedule_after(995ms, ran.note(1));
  pass(io, 1s);
  CHECK(ran == journal{{1, 1s}});
}

TEST_CASE("The wheels with names of their own can be made", "[config]") {
  asio::io_context io;
  const kestrel::timer_wheel wheel{io};
  const kestrel::timer_wheel on_executor{io.get_executor()};
  const kestrel::timer_wheel fine{io, wheel_config::network_timeouts()};
  const kestrel::single_threaded_timer_wheel single{io};
  CHECK(wheel.empty());
  CHECK(on_executor.empty());
  CHECK(fine.empty());
  CHECK(single.empty());
}
