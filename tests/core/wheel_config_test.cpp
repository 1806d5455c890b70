// SPDX-License-Identifier: MIT
//
// A geometry that makes no sense is refused with an error that names the field.

#include <kestrel/wheel.hpp>
#include <kestrel/wheel_config.hpp>

#include <catch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <system_error>

using kestrel::dynamic_geometry;
using kestrel::errc;
using kestrel::wheel_config;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t max_int = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t max_size = std::numeric_limits<std::size_t>::max();
constexpr std::chrono::nanoseconds longest{max_int};

// Every way to refuse a configuration gives the same reason.
void check_refused(const wheel_config& config, errc expected, const char* field) {
  CHECK(config.problem() == expected);
  CHECK(config.validate() == expected);
  try {
    const dynamic_geometry geometry(config);
    FAIL_CHECK("the configuration was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == expected);
    CHECK(&e.code().category() == &kestrel::error_category());
    CHECK(e.code().message().find(field) == 0);
    CHECK(std::string(e.what()).find(field) != std::string::npos);
  }
}

constexpr bool valid(const wheel_config& config) { return config.problem() == errc{}; }

} // namespace

TEST_CASE("The default and the presets are what their names say", "[config]") {
  constexpr wheel_config standard;
  STATIC_REQUIRE(standard == wheel_config{10ms, 512, 1s, 64});
  STATIC_REQUIRE(wheel_config::network_timeouts() == wheel_config{5ms, 1024, 500ms, 64});
  STATIC_REQUIRE(wheel_config::heartbeats() == wheel_config{100ms, 512, 10s, 128});
  STATIC_REQUIRE(valid(standard));
  STATIC_REQUIRE(valid(wheel_config::network_timeouts()));
  STATIC_REQUIRE(valid(wheel_config::heartbeats()));
  CHECK_FALSE(standard.validate());
}

TEST_CASE("A configuration can be checked at compile time", "[config]") {
  STATIC_REQUIRE(wheel_config{0ns, 512, 1s, 64}.problem() == errc::invalid_l0_tick);
  STATIC_REQUIRE(wheel_config{10ms, 500, 1s, 64}.problem() == errc::invalid_l0_slots);
  STATIC_REQUIRE(wheel_config{10ms, 512, 999ms, 64}.problem() == errc::invalid_l1_tick);
  STATIC_REQUIRE(wheel_config{10ms, 512, 1s, 0}.problem() == errc::invalid_l1_slots);
}

TEST_CASE("A tick of level 0 must be positive", "[config]") {
  const std::chrono::nanoseconds tick = GENERATE(0ns, -1ns, -10'000'000ns, -longest);
  check_refused({tick, 512, 1s, 64}, errc::invalid_l0_tick, "l0_tick");
}

TEST_CASE("Level 0 must have a power of two of slots, and not too many", "[config]") {
  const std::size_t slots =
      GENERATE(as<std::size_t>{}, 0, 3, 511, 513, 1000, (std::size_t{1} << 20) + 1,
               std::size_t{1} << 21, (max_size >> 1) + 1, max_size);
  check_refused({10ms, slots, 10ms, 64}, errc::invalid_l0_slots, "l0_slots");
}

TEST_CASE("A tick of level 1 must be a positive multiple of one of level 0", "[config]") {
  const std::chrono::nanoseconds tick =
      GENERATE(0ns, -1ns, -10'000'000ns, 1ns, 9'999'999ns, 10'000'001ns, 1'005'000'000ns);
  check_refused({10ms, 512, tick, 64}, errc::invalid_l1_tick, "l1_tick");
}

TEST_CASE("Level 0 must be as long as one tick of level 1", "[config]") {
  CHECK(valid({10ms, 512, 5120ms, 64}));
  check_refused({10ms, 512, 5130ms, 64}, errc::invalid_l1_tick, "l1_tick");
  CHECK(valid({10ms, 128, 1s, 64}));
  check_refused({10ms, 64, 1s, 64}, errc::invalid_l1_tick, "l1_tick");
  check_refused({1ns, 512, longest, 1}, errc::invalid_l1_tick, "l1_tick");
}

TEST_CASE("Level 1 must have a power of two of slots, and not too many", "[config]") {
  const std::size_t slots = GENERATE(as<std::size_t>{}, 0, 3, 63, 65, (std::size_t{1} << 20) + 1,
                                     std::size_t{1} << 21, max_size);
  check_refused({10ms, 512, 1s, slots}, errc::invalid_l1_slots, "l1_slots");
}

TEST_CASE("One turn of level 1 must fit into the range of time", "[config]") {
  const std::chrono::nanoseconds half = longest / 2;
  CHECK(valid({half, 1, half, 2}));
  CHECK(valid({longest, 1, longest, 1}));
  check_refused({half, 1, half, 4}, errc::invalid_l1_slots, "l1_slots");
  check_refused({longest, 1, longest, 2}, errc::invalid_l1_slots, "l1_slots");
  check_refused({1h, 1024, 1024h, std::size_t{1} << 20}, errc::invalid_l1_slots, "l1_slots");
}

TEST_CASE("The extremes that make sense are accepted, and a wheel of them works", "[config]") {
  const wheel_config config =
      GENERATE(wheel_config{1ns, 1, 1ns, 1}, wheel_config{1ns, std::size_t{1} << 20, 1ns, 1},
               wheel_config{1ns, 1, 1ns, std::size_t{1} << 20}, wheel_config{24h, 1, 24h, 1},
               wheel_config{10ms, 512, 10ms, 64}, wheel_config{longest, 1, longest, 1});
  kestrel::wheel<int, dynamic_geometry> wheel{dynamic_geometry(config)};
  int fired = 0;
  wheel.insert(1, 1);
  wheel.advance(static_cast<std::uint64_t>(config.l0_tick.count()),
                [&](kestrel::timer_id, int) { ++fired; });
  CHECK(fired == 1);
  CHECK(wheel.check_invariants());
}

TEST_CASE("A configuration becomes numbers of ticks", "[config]") {
  const dynamic_geometry geometry{wheel_config{}};
  CHECK(geometry.l0_slots() == 512);
  CHECK(geometry.l1_slots() == 64);
  CHECK(geometry.l1_ticks() == 100);
  CHECK(geometry.granularity() == 10'000'000);

  const dynamic_geometry ticks = dynamic_geometry::in_ticks(8, 4, 5);
  CHECK(ticks.l0_slots() == 8);
  CHECK(ticks.l1_slots() == 4);
  CHECK(ticks.l1_ticks() == 5);
  CHECK(ticks.granularity() == 1);
}

TEST_CASE("Geometries in ticks are checked alike", "[config]") {
  const auto refused = [](std::size_t l0_slots, std::size_t l1_slots, std::int64_t l1_ticks) {
    try {
      (void)dynamic_geometry::in_ticks(l0_slots, l1_slots, l1_ticks);
    } catch (const std::system_error& e) {
      return e.code();
    }
    return std::error_code();
  };
  CHECK(refused(7, 4, 5) == errc::invalid_l0_slots);
  CHECK(refused(8, 5, 5) == errc::invalid_l1_slots);
  CHECK(refused(8, 4, 9) == errc::invalid_l1_tick);
  CHECK(refused(8, 4, 0) == errc::invalid_l1_tick);
  CHECK(refused(8, 4, -8) == errc::invalid_l1_tick);
  CHECK_FALSE(refused(8, 4, 8));
}

TEST_CASE("An error about a field tells its value, and what that must go with", "[config]") {
  const auto said = [](const wheel_config& config) {
    try {
      const dynamic_geometry geometry(config);
    } catch (const std::system_error& e) {
      const std::string what = e.what();
      return what.substr(0, what.find(": "));
    }
    return std::string("accepted");
  };
  CHECK(said({0ns, 512, 1s, 64}) == "l0_tick = 0 ns");
  CHECK(said({10ms, 500, 1s, 64}) == "l0_slots = 500");
  CHECK(said({10ms, 512, 0s, 64}) == "l1_tick = 0 ns, l0_tick = 10000000 ns");
  CHECK(said({10ms, 512, 1005ms, 64}) == "l1_tick = 1005000000 ns, l0_tick = 10000000 ns");
  CHECK(said({1ms, 512, 1s, 64}) == "l1_tick = 1000000000 ns, l0_tick * l0_slots = 512000000 ns");
  CHECK(said({longest / 2, 1, longest - 1ns, 1}) ==
        "l1_tick = 9223372036854775806 ns, l0_tick * l0_slots = 4611686018427387903 ns");
  CHECK(said({10ms, 512, 1s, 63}) == "l1_slots = 63, l1_tick = 1000000000 ns");
  CHECK(said({1h, 1024, 1024h, std::size_t{1} << 20}) ==
        "l1_slots = 1048576, l1_tick = 3686400000000000 ns"); // overflows
}

TEST_CASE("The first field that is wrong is the one that is named", "[config]") {
  check_refused({0ns, 0, 0ns, 0}, errc::invalid_l0_tick, "l0_tick");
  check_refused({1ns, 0, 0ns, 0}, errc::invalid_l0_slots, "l0_slots");
  check_refused({1ns, 1, 0ns, 0}, errc::invalid_l1_tick, "l1_tick");
}

TEST_CASE("Kestrel's errors are error codes with a category and a message of their own",
          "[config]") {
  const std::error_code code = errc::shut_down;
  CHECK(code);
  CHECK(code == errc::shut_down);
  CHECK(code != errc::invalid_delay);
  CHECK(std::string(code.category().name()) == "kestrel");
  CHECK(code.category() == kestrel::error_category());

  std::set<std::string> messages;
  for (const errc e : {errc::invalid_l0_tick, errc::invalid_l0_slots, errc::invalid_l1_tick,
                       errc::invalid_l1_slots, errc::invalid_delay, errc::invalid_interval,
                       errc::invalid_callback, errc::too_many_timers, errc::invalid_slot,
                       errc::batch_length_mismatch, errc::invalid_capacity, errc::no_such_timer,
                       errc::shut_down, errc::wheel_in_use, errc::other_time, errc::other_clock}) {
    CHECK(make_error_code(e));
    messages.insert(make_error_code(e).message());
  }
  CHECK(messages.size() == 16);
  CHECK(kestrel::error_category().message(17) == kestrel::error_category().message(12345));
  CHECK(messages.count(kestrel::error_category().message(12345)) == 0);
}
