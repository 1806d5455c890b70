// SPDX-License-Identifier: MIT
//
// A limit on how many timers are pending, for wheels whose timers a remote peer causes: one too
// many is refused, and nothing else changes. And what such a peer may do within it.

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <kestrel/timer_service.hpp>

#include <catch.hpp>

#include <cstddef>
#include <vector>

using namespace kestrel_tests;

namespace {

constexpr auto too_many = kestrel::errc::too_many_timers;

std::vector<kestrel::timer_task> one_shots(int n) {
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != n; ++i)
    tasks.push_back(kestrel::timer_task::one_shot(10ms));
  return tasks;
}

} // namespace

TEST_CASE_METHOD(one_wheel, "A timer beyond the limit is refused, and the others are unharmed",
                 "[limit]") {
  CHECK(wheel.limit() == std::size_t{1} << 30);
  wheel.limit(3);
  CHECK(wheel.limit() == 3);
  journal ran;
  wheel.schedule_after(10ms, ran.note(1));
  const auto second = wheel.schedule_after(20ms, ran.note(2));
  wheel.schedule_every(15ms, 30ms, ran.note(3));
  const auto before = wheel.stats();

  CHECK(error_of([&] { wheel.schedule_after(1ms, ran.note(4)); }) == too_many);
  CHECK(error_of([&] { wheel.schedule_at(manual_clock::now(), ran.note(4)); }) == too_many);
  CHECK(error_of([&] { wheel.schedule_every(1ms, 1ms, ran.note(4)); }) == too_many);
  CHECK(error_of([&] { wheel.schedule(kestrel::timer_task::one_shot(1ms, ran.note(4))); }) ==
        too_many);
  CHECK(message_of([&] { wheel.schedule_after(1ms, [] {}); }).find("limit = 3") == 0);
  asio::error_code ended;
  wheel.async_wait_after(1ms, [&](asio::error_code ec) { ended = ec; });
  settle(io);
  CHECK(ended == too_many);

  CHECK(wheel.size() == 3);
  CHECK(wheel.stats().scheduled == before.scheduled);
  CHECK(wheel.postpone(second, 25ms));
  pass(io, 30ms);
  CHECK(ran == journal{{1, 10ms}, {3, 20ms}, {2, 30ms}});
  CHECK(wheel.size() == 1);
  wheel.schedule_after(10ms, ran.note(5)); // there is room again
}

TEST_CASE_METHOD(one_wheel, "A batch that goes beyond the limit is refused as a whole",
                 "[limit][batch]") {
  wheel.limit(5);
  wheel.schedule_after(1h, [] {});
  auto slots = wheel.allocate(5); // which are no timers yet
  auto tasks = one_shots(5);
  CHECK(error_of([&] { wheel.schedule(tasks); }) == too_many);
  CHECK(error_of([&] { wheel.schedule(slots, tasks); }) == too_many);
  CHECK(wheel.size() == 1);
  CHECK(slots.front());
  tasks.pop_back();
  slots.pop_back();
  CHECK(wheel.schedule(slots, tasks).size() == 4);
  CHECK(wheel.size() == 5);
}

TEST_CASE_METHOD(one_wheel,
                 "At the limit, a timer may be replaced: cancelled, fired or rescheduled",
                 "[limit]") {
  wheel.limit(1);
  int fired = 0;
  struct again {
    manual_wheel& wheel;
    int& fired;
    void operator()() const {
      if (++fired != 5)
        wheel.schedule_after(10ms, *this); // it is not pending itself any more
    }
  };
  wheel.schedule_after(10ms, again{wheel, fired});
  pass(io, 100ms);
  CHECK(fired == 5);
  for (int i = 0; i != 10; ++i)
    CHECK(wheel.cancel(wheel.schedule_after(10ms, [] {})));
  const auto id = wheel.schedule_every(10ms, 10ms, [&] {
    CHECK(error_of([&] { wheel.schedule_after(10ms, [] {}); }) == too_many);
    ++fired;
  });
  pass(io, 30ms);
  CHECK(fired == 8);
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_wheel, "A limit below what is pending lets that fire and refuses the rest",
                 "[limit]") {
  int fired = 0;
  for (int i = 0; i != 10; ++i)
    wheel.schedule_after((i + 1) * 10ms, [&] { ++fired; });
  wheel.limit(5);
  CHECK(wheel.size() == 10);
  CHECK(error_of([&] { wheel.schedule_after(1h, [] {}); }) == too_many);
  pass(io, 50ms);
  CHECK(error_of([&] { wheel.schedule_after(1h, [] {}); }) == too_many);
  pass(io, 10ms);
  wheel.schedule_after(1h, [] {});
  pass(io, 100ms);
  CHECK(fired == 10);
  wheel.limit(0);
  CHECK(error_of([&] { wheel.schedule_after(1h, [] {}); }) == too_many);
  wheel.shutdown();
  wheel.limit(7);
  CHECK(error_of([&] { wheel.schedule_after(1h, [] {}); }) == kestrel::errc::shut_down);
  CHECK(error_of([&] { wheel.schedule(one_shots(1)); }) == kestrel::errc::shut_down);
}

TEST_CASE_METHOD(one_wheel, "A service registers nothing beyond the limit of its wheel",
                 "[limit][service]") {
  kestrel::basic_timer_service<manual_clock> service{wheel};
  wheel.limit(2);
  service.schedule_after(10ms);
  service.schedule_after(10ms);
  CHECK(error_of([&] { service.schedule_after(10ms); }) == too_many);
  CHECK(error_of([&] { service.schedule(one_shots(2)); }) == too_many);
  CHECK(service.size() == 2);
  stall(io, 10ms);
  CHECK(service.empty());
  CHECK(service.try_receive());
  CHECK(service.try_receive());
  CHECK_FALSE(service.try_receive());
}

TEST_CASE_METHOD(one_wheel, "A peer that arms, resets and cancels within the limit takes no memory",
                 "[limit][memory]") {
  constexpr std::size_t limit = 1000;
  wheel.limit(limit);
  std::vector<kestrel::timer_id> ids(limit);
  const bool one_slot = GENERATE(false, true);
  const auto delay = [&](std::size_t i) {
    return one_slot ? manual_clock::duration(300ms)
                    : manual_clock::duration(std::chrono::milliseconds(i * 7919 % 100'000));
  };
  const auto storm = [&](int rounds) {
    std::size_t refused = 0;
    for (int round = 0; round != rounds; ++round) {
      for (std::size_t i = 0; i != limit; ++i) {
        const std::size_t r = i * 31 + static_cast<std::size_t>(round) * 17;
        if (r % 3 == 0)
          wheel.cancel(ids[i]);
        if (!wheel.postpone(ids[i], delay(r)))
          ids[i] = wheel.schedule_after(delay(r), [] {});
      }
      refused += error_of([&] { wheel.schedule_after(0ms, [] {}); }) == too_many ? 1u : 0u;
      stall(io, tick);
      for (auto& id : ids) { // whoever fired comes back
        if (!wheel.expiry(id))
          id = wheel.schedule_after(1s, [] {});
      }
    }
    CHECK(refused == static_cast<std::size_t>(rounds));
  };
  storm(100);
  const auto memory = wheel.stats().memory;
  storm(300);
  CHECK(wheel.stats().memory <= memory + memory / 4);
  CHECK(wheel.size() == limit);
  CHECK(wheel.stats().stale_entries <= 4 * limit + 16 * 577);
}
