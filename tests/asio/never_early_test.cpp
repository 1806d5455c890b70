// SPDX-License-Identifier: MIT
//
// Never early, at most one tick late: at every phase of the clock, on every level, for every kind
// of duration.

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <catch.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <ratio>
#include <string>
#include <vector>

using namespace kestrel_tests;

namespace {

/// Timers with their deadlines, and what was wrong about their firing.
struct watch {
  explicit watch(manual_clock::time_point e, manual_clock::duration t = tick)
      : epoch{e}, length{t} {}

  auto due(manual_clock::time_point deadline) {
    ++scheduled;
    return [this, deadline] {
      const auto now = manual_clock::now();
      ++fired;
      early += now < deadline;
      late += now > tick_after(deadline, epoch, length);
    };
  }

  manual_clock::time_point epoch;
  manual_clock::duration length;
  int scheduled = 0;
  int fired = 0;
  int early = 0;
  int late = 0;
};

} // namespace

TEMPLATE_TEST_CASE("A delay is kept to the tick, whichever phase the clock is in", "[never_early]",
                   manual_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  watch w(manual_clock::now());
  const auto delay = GENERATE(as<manual_clock::duration>{}, 1ns, 1ms, 9'999'999ns, 10ms,
                              10'000'001ns, 19ms, 5'110ms, 5'120ms, 5'120'000'001ns, 5'130ms,
                              5'999ms, 6s, 999ms, 1s, 1001ms, 63'990ms, 64s, 64'500ms);
  // A timer starts every 9.7 ms, hence at many phases of tick, second and turn.
  const auto last = manual_clock::now() + 1s;
  for (;;) {
    if (manual_clock::now() < last)
      wheel.schedule_after(delay, w.due(manual_clock::now() + delay));
    else if (w.fired == w.scheduled || manual_clock::now() > last + delay + 1s)
      break;
    else if (manual_clock::now() + 100ms < manual_clock::start + delay)
      stall(io, manual_clock::start + delay - manual_clock::now() - 100ms);
    // On to the next start and every tick on the way.
    const auto next = manual_clock::now() + 9'700us;
    const auto boundary = tick_after(manual_clock::now() + 1ns, w.epoch);
    if (boundary < next)
      stall(io, boundary - manual_clock::now());
    stall(io, next - manual_clock::now());
  }
  CHECK(w.scheduled > 100);
  CHECK(w.fired == w.scheduled);
  CHECK(w.early == 0);
  CHECK(w.late == 0);
}

TEST_CASE_METHOD(one_wheel,
                 "Every sub-second phase of one slot of the second level keeps its own tick",
                 "[never_early]") {
  journal ran;
  for (int i = 0; i != 100; ++i)
    wheel.schedule_at(manual_clock::start + 60s + i * 10ms, ran.note(i));
  pass(io, 61s);
  REQUIRE(ran.size() == 100);
  for (int i = 0; i != 100; ++i)
    CHECK(ran[static_cast<std::size_t>(i)] == event{i, 60s + i * 10ms});
}

TEST_CASE_METHOD(one_wheel, "Delays of many turns are kept", "[never_early]") {
  const auto phase = GENERATE(as<manual_clock::duration>{}, 0ms, 5ms, 10ms, 990ms, 63'995ms);
  stall(io, phase);
  journal ran;
  for (int k = 1; k <= 4; ++k) {
    wheel.schedule_after(k * 64s - 10ms, ran.note(3 * k));
    wheel.schedule_after(k * 64s, ran.note(3 * k + 1));
    wheel.schedule_after(k * 64s + 10ms, ran.note(3 * k + 2));
  }
  const auto from = manual_clock::now();
  const auto first_tick = tick_after(from, manual_clock::start);
  stall(io, first_tick - from);
  pass(io, 257s);
  REQUIRE(ran.size() == 12);
  for (int k = 1; k <= 4; ++k) {
    for (int i = 0; i != 3; ++i) {
      const event& e = ran[static_cast<std::size_t>(3 * (k - 1) + i)];
      CHECK(e.label == 3 * k + i);
      CHECK(manual_clock::start + e.at == first_tick + k * 64s + (i - 1) * 10ms);
    }
  }
}

TEMPLATE_TEST_CASE("Weeks and years are kept to the tick, in one step or in many", "[never_early]",
                   manual_traits, static_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  const auto phase = GENERATE(as<manual_clock::duration>{}, 0ms, 3ms, 63'995ms);
  // Beyond 32 and 38 bits of milliseconds, and ten years.
  const auto delay = GENERATE(as<manual_clock::duration>{}, std::chrono::milliseconds(1LL << 32),
                              std::chrono::milliseconds(1LL << 38) + 7s, 10 * 365 * 24h);
  const bool in_steps = GENERATE(false, true);
  const bool rescheduled = GENERATE(false, true);
  stall(io, phase);
  const auto from = manual_clock::now();
  journal ran;
  const auto schedule = [&](manual_clock::duration d, int label) {
    const auto id = wheel.schedule_after(rescheduled ? 1h : d, ran.note(label));
    if (rescheduled)
      wheel.postpone(id, d);
  };
  schedule(delay - tick, 1);
  schedule(delay, 2);
  schedule(delay + tick, 3);
  const auto due = tick_after(from + delay, manual_clock::start);
  const auto until_before = due - tick - 1ns - from;
  if (in_steps) {
    for (int i = 0; i != 10; ++i)
      stall(io, until_before / 10);
    stall(io, until_before - until_before / 10 * 10);
  } else {
    stall(io, until_before);
  }
  CHECK(ran.empty());
  const auto at = due - manual_clock::start;
  stall(io, 1ns);
  CHECK(ran == journal{{1, at - tick}});
  stall(io, tick - 1ns);
  CHECK(ran.size() == 1);
  stall(io, 1ns);
  stall(io, tick);
  CHECK(ran == journal{{1, at - tick}, {2, at}, {3, at + tick}});
}

TEST_CASE_METHOD(one_wheel, "A wheel that slept for long is exact afterwards", "[never_early]") {
  if (GENERATE(true, false))
    wheel.schedule_after(1000h, [] {});
  const auto slept = GENERATE(as<manual_clock::duration>{}, 5'120ms, 1h, 24h * 3650 + 3ms);
  manual_clock::advance(slept);
  if (GENERATE(true, false))
    settle(io);
  journal ran;
  const auto from = manual_clock::now();
  const auto delay = GENERATE(as<manual_clock::duration>{}, 1ns, 10ms, 10s, 64s);
  wheel.schedule_after(delay, ran.note(1));
  const auto due = tick_after(from + delay, manual_clock::start);
  stall(io, due - from - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran == journal{{1, due - manual_clock::start}});
}

TEST_CASE_METHOD(one_wheel, "The first timer ever is not early", "[never_early]") {
  journal ran;
  wheel.schedule_after(1ns, ran.note(1));
  settle(io);
  CHECK(ran.empty());
  stall(io, 10ms - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(
    one_wheel,
    "A deadline in the past, or a delay of zero or less, is due at once but never inline",
    "[due_at_once]") {
  const auto phase =
      GENERATE(as<manual_clock::duration>{}, 0ns, 1ns, 5ms, 10ms, 5'120ms, 64s + 7ns);
  if (GENERATE(true, false))
    wheel.schedule_after(10h, [] {});
  stall(io, phase);
  journal ran;
  const int kind = GENERATE(0, 1, 2, 3, 4, 5, 6);
  switch (kind) {
  case 0:
    wheel.schedule_after(0ms, ran.note(1));
    break;
  case 1:
    wheel.schedule_after(-1ns, ran.note(1));
    break;
  case 2:
    wheel.schedule_after(manual_clock::duration::min(), ran.note(1));
    break;
  case 3:
    wheel.schedule_after(std::chrono::duration<double>(-1e300), ran.note(1));
    break;
  case 4:
    wheel.schedule_at(manual_clock::start - 1s, ran.note(1));
    break;
  case 5:
    wheel.schedule_at(manual_clock::time_point::min(), ran.note(1));
    break;
  case 6:
    wheel.schedule_every(-1s, 1h, ran.note(1)); // from now on, and now is not a tick
    stall(io, tick);
    break;
  }
  if (kind != 6)
    CHECK(ran.empty());
  settle(io);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(one_wheel,
                 "A timer that is due at once does not run inside the callback that schedules it",
                 "[due_at_once]") {
  int depth = 0;
  int deepest = 0;
  int ran = 0;
  struct again {
    manual_wheel& wheel;
    int& depth;
    int& deepest;
    int& ran;
    void operator()() const {
      deepest = std::max(deepest, ++depth);
      if (++ran < 1000)
        wheel.schedule_after(0ms, *this);
      --depth;
    }
  };
  wheel.schedule_after(0ms, again{wheel, depth, deepest, ran});
  settle(io);
  CHECK(ran == 1000);
  CHECK(deepest == 1);
}

TEST_CASE_METHOD(one_wheel, "Delays of any duration type are rounded up", "[never_early]") {
  const auto expiry_of = [&](auto delay) {
    const auto id = wheel.schedule_after(delay, [] {});
    return *wheel.expiry(id) - manual_clock::now();
  };
  CHECK(expiry_of(1us) == 1us);
  CHECK(expiry_of(2h) == 2h);
  CHECK(expiry_of(1.5s) == 1500ms);
  CHECK(expiry_of(std::chrono::duration<float, std::milli>(0.25f)) == 250us);
  CHECK(expiry_of(std::chrono::duration<double, std::nano>(0.5)) == 1ns);
  CHECK(expiry_of(std::chrono::duration<std::int64_t, std::ratio<1, 30>>(1)) == 33'333'334ns);
  CHECK(expiry_of(std::chrono::duration<std::int64_t, std::ratio<1, 30>>(30)) == 1s);
  CHECK(expiry_of(std::chrono::duration<int, std::pico>(1)) == 1ns);
  CHECK(expiry_of(std::chrono::duration<unsigned char, std::ratio<60>>(std::uint8_t{200})) ==
        200min);
  CHECK(expiry_of(std::chrono::days(365)) == std::chrono::days(365));
}

TEST_CASE_METHOD(one_wheel, "Delays beyond the clock's range saturate", "[never_early]") {
  using hours64 = std::chrono::duration<std::int64_t, std::ratio<3600>>;
  using seconds_u64 = std::chrono::duration<std::uint64_t>;
  constexpr auto end = manual_clock::time_point::max();
  bool ran = false;
  const auto f = [&] { ran = true; };
  std::vector<kestrel::timer_id> ids;
  ids.push_back(wheel.schedule_after(manual_clock::duration::max(), f));
  ids.push_back(wheel.schedule_after(hours64::max(), f));
  ids.push_back(wheel.schedule_after(seconds_u64::max(), f));
  ids.push_back(wheel.schedule_after(
      std::chrono::duration<double>(std::numeric_limits<double>::infinity()), f));
  ids.push_back(wheel.schedule_after(std::chrono::duration<float>(1e38f), f));
  ids.push_back(wheel.schedule_at(end, f));
  ids.push_back(wheel.schedule_every(hours64::max(), hours64::max(), f));
  ids.push_back(wheel.schedule_after(1h, f));
  CHECK(wheel.postpone(ids.back(), manual_clock::duration::max()));
  for (const auto id : ids)
    CHECK(wheel.expiry(id) == end);
  stall(io, std::chrono::hours(24 * 365 * 200));
  CHECK_FALSE(ran);
  for (const auto id : ids)
    CHECK(wheel.cancel(id));
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A timer of 200 years fires after 200 years", "[never_early]") {
  constexpr auto delay = std::chrono::hours(24 * 365 * 200) + 15ms;
  journal ran;
  wheel.schedule_after(delay, ran.note(1));
  stall(io, delay + 5ms - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "A delay that is not a number is refused", "[never_early]") {
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  const auto id = wheel.schedule_after(1h, [] {});
  const std::chrono::time_point<manual_clock, std::chrono::duration<double>> never{nan};
  const auto refused = [](auto f, kestrel::errc expected, const std::string& field) {
    CHECK(error_of(f) == expected);
    CHECK(message_of(f).find(field + " = nan") != std::string::npos);
  };
  using kestrel::errc;
  refused([&] { wheel.schedule_after(nan, [] {}); }, errc::invalid_delay, "delay");
  refused([&] { wheel.schedule_at(never, [] {}); }, errc::invalid_delay, "expiry");
  refused([&] { wheel.schedule_every(nan, 1s, [] {}); }, errc::invalid_delay, "delay");
  refused([&] { wheel.schedule_every(1s, nan, [] {}); }, errc::invalid_interval, "interval");
  refused([&] { wheel.postpone(id, nan); }, errc::invalid_delay, "delay");
  refused([&] { wheel.postpone(id, nan, [] {}); }, errc::invalid_delay, "delay");
  CHECK(wheel.size() == 1);
  CHECK(wheel.expiry(id) == manual_clock::start + 1h);
}

TEST_CASE_METHOD(one_wheel, "A clock that steps back makes timers wait, and loses none",
                 "[never_early]") {
  journal ran;
  pass(io, 1s);
  wheel.schedule_after(50ms, ran.note(1)); // at 1050 ms
  stall(io, 30ms);
  stall(io, -500ms);
  wheel.schedule_after(10ms, ran.note(2)); // at 540 ms, of which the wheel has passed
  CHECK(ran.empty());
  pass(io, 600ms);
  REQUIRE(ran.size() == 2);
  for (const event& e : ran)
    CHECK(e.at >= (e.label == 1 ? 1050ms : 540ms));
  // Even to before the wheel was made.
  stall(io, -10s);
  wheel.schedule_after(10ms, ran.note(3));
  pass(io, 12s);
  CHECK(ran.size() == 3);
}

TEST_CASE_METHOD(one_wheel, "A wake that comes early, by whatever clock, fires nothing",
                 "[never_early]") {
  journal ran;
  wheel.schedule_after(50ms, ran.note(1));
  manual_clock::advance(50ms);
  io.restart();
  // Asio has seen the time and queued the wake; then the clock is set back.
  asio::basic_waitable_timer<manual_clock, manual_wait_traits> first(io, manual_clock::now() - 1s);
  bool stepped = false;
  first.async_wait([&](asio::error_code) {
    manual_clock::advance(-20ms);
    stepped = true;
  });
  while (!stepped)
    io.poll();
  settle(io);
  CHECK(ran.empty());
  stall(io, 20ms - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran.size() == 1);
}
