// SPDX-License-Identifier: MIT
//
// A limit on how many timers are pending, for wheels whose timers a remote peer causes: one too
// many is refused, and nothing else changes. And what such a peer may do within it.

#include "error_of.hpp"
#include "timer_kinds.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/use_wheel.hpp>

#include <asio/post.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <cstddef>
#include <deque>
#include <system_error>
#include <utility>
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
  CHECK(wheel.stats().stale_entries <= 2 * limit + 16 * 577);
}

// ---- The wheel that a context shares

namespace {

using limit_codes = std::vector<asio::error_code>;

auto note_code(limit_codes& told) {
  return [&told](asio::error_code ec) { told.push_back(ec); };
}

const asio::error_code no_error;
const asio::error_code was_aborted = asio::error::operation_aborted;
const asio::error_code beyond_limit = make_error_code(too_many);

} // namespace

TEST_CASE("A steady_timer beyond the limit of its context is refused, and the others go on",
          "[limit][steady_timer]") {
  const at_start clock;
  asio::io_context io;
  CHECK(kestrel::wheel_limit<manual_clock>(io) == std::size_t{1} << 30);
  kestrel::wheel_limit<manual_clock>(io, 2);
  CHECK(kestrel::wheel_limit<manual_clock>(io) == 2);
  limit_codes told;
  limit_codes beyond;
  kestrel_timer first(io, 10ms);
  kestrel_timer second(io, 20ms);
  kestrel_timer third(io, 15ms);
  first.async_wait(note_code(told));
  first.async_wait(note_code(told)); // one timer, whatever its waits
  second.async_wait(note_code(told));
  third.async_wait(note_code(beyond));
  CHECK(beyond.empty()); // never inline
  settle(io);
  CHECK(beyond == limit_codes{beyond_limit});
  CHECK(third.cancel() == 0);
  CHECK(told.empty());
  stall(io, 10ms);
  CHECK(told == limit_codes{no_error, no_error});
  third.async_wait(note_code(beyond)); // there is room again
  stall(io, 10ms);
  CHECK(told.size() == 3);
  CHECK(beyond == limit_codes{beyond_limit, no_error});
  CHECK(out_of_work(io));
}

TEST_CASE("At the limit of its context, a steady_timer may be reset, and one that was cancelled "
          "makes room",
          "[limit][steady_timer]") {
  const at_start clock;
  asio::io_context io;
  constexpr std::size_t limit = 20;
  kestrel::wheel_limit<manual_clock>(io, limit);
  std::deque<kestrel_timer> timers;
  limit_codes told;
  for (std::size_t i = 0; i != limit; ++i) {
    timers.emplace_back(io, 10ms);
    timers.back().async_wait(note_code(told));
  }
  for (kestrel_timer& t : timers) {
    CHECK(t.expires_after(20ms) == 1);
    t.async_wait(note_code(told));
  }
  settle(io);
  CHECK(told == limit_codes(limit, was_aborted));
  for (kestrel_timer& t : timers) // all but one of them, for as many new ones
    if (&t != &timers.front())
      t.cancel();
  limit_codes others;
  for (std::size_t i = 1; i != limit; ++i) {
    timers.emplace_back(io, 20ms);
    timers.back().async_wait(note_code(others));
  }
  kestrel_timer beyond(io, 20ms);
  beyond.async_wait(note_code(others));
  settle(io);
  CHECK(others == limit_codes{beyond_limit});
  stall(io, 20ms);
  CHECK(others.size() == limit);
  CHECK(others.back() == no_error);
}

TEST_CASE_METHOD(one_wheel, "An operation whose timeout is beyond the limit has not begun",
                 "[limit][cancel_after]") {
  limit_codes told;
  const auto on_own_wheel = [&](auto handler) {
    return kestrel::cancel_after(wheel, 10ms, std::move(handler));
  };
  const auto on_shared_wheel = [](auto handler) {
    return kestrel::cancel_after(1h, std::move(handler));
  };
  const auto check = [&](auto limit, auto with_timeout) {
    limit(1);
    asio_timer first(io, manual_clock::time_point::max());
    asio_timer second(io, manual_clock::time_point::max());
    first.async_wait(with_timeout(note_code(told)));
    second.async_wait(with_timeout(note_code(told)));
    CHECK(told.empty());
    settle(io);
    CHECK(told == limit_codes{beyond_limit});
    CHECK(second.cancel() == 0);
    first.cancel();
    settle(io);
    second.async_wait(with_timeout(note_code(told)));
    settle(io);
    CHECK(told == limit_codes{beyond_limit, was_aborted});
    CHECK(second.cancel() == 1);
    settle(io);
    CHECK(told == limit_codes{beyond_limit, was_aborted, was_aborted});
    limit(0);
    asio::post(io, kestrel::cancel_after(1h, [] {})); // whose handler cannot be told
  };
  SECTION("on a wheel that is given") {
    check([&](std::size_t n) { wheel.limit(n); }, on_own_wheel);
  }
  SECTION("on the wheel of the context") {
    const auto limit = [&](std::size_t n) { kestrel::wheel_limit(io, n); };
    CHECK(error_of([&] { check(limit, on_shared_wheel); }) == too_many);
  }
  SECTION("by a steady_timer that is lent: then it is cancelled at once") {
    kestrel::wheel_limit<manual_clock>(io, 0);
    asio_timer operation(io, manual_clock::time_point::max());
    kestrel_timer lent(io);
    operation.async_wait(kestrel::cancel_after(lent, 1h, note_code(told)));
    settle(io);
    CHECK(told == limit_codes{was_aborted});
  }
}

TEST_CASE("To an operation with a timeout, timers whose waits were cancelled lately may count",
          "[limit][steady_timer][cancel_after]") {
  asio::io_context io;
  constexpr std::size_t most = 16;
  const auto refused = [&](std::size_t limit) {
    kestrel::wheel_limit(io, limit);
    limit_codes told;
    asio_timer operation(io, manual_clock::time_point::max());
    operation.async_wait(kestrel::cancel_after(1h, note_code(told)));
    settle(io);
    operation.cancel();
    settle(io);
    return told == limit_codes{beyond_limit};
  };
  limit_codes told;
  std::deque<kestrel::steady_timer> timers;
  for (std::size_t i = 0; i != 3 * most; ++i) {
    timers.emplace_back(io, 1h);
    timers.back().async_wait(note_code(told));
  }
  for (kestrel::steady_timer& t : timers)
    if (&t != &timers.front())
      t.cancel();
  CHECK(refused(2));
  CHECK_FALSE(refused(most + 2)); // 1 is waited for
}

#if defined(ASIO_HAS_CO_AWAIT)

TEST_CASE("A coroutine catches that its timer is beyond the limit, and goes on",
          "[limit][steady_timer][cancel_after]") {
  const at_start clock;
  asio::io_context io;
  kestrel::wheel_limit(io, 0);
  kestrel::wheel_limit<manual_clock>(io, 0);
  limit_codes caught;
  const auto attempt = [&](auto wait) -> asio::awaitable<void> {
    try {
      co_await wait();
    } catch (const asio::system_error& e) {
      caught.push_back(e.code());
    }
  };
  kestrel_timer timer(io, 10ms);
  asio_timer operation(io, 10h);
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        co_await attempt([&] { return timer.async_wait(asio::use_awaitable); });
        co_await attempt(
            [&] { return operation.async_wait(kestrel::cancel_after(1s, asio::use_awaitable)); });
        try {
          co_await asio::co_spawn(
              io, []() -> asio::awaitable<void> { co_return; },
              kestrel::cancel_after(1s, asio::use_awaitable));
        } catch (const std::system_error& e) {
          caught.push_back(e.code());
        }
      },
      asio::detached);
  settle(io);
  CHECK(caught == limit_codes{beyond_limit, beyond_limit, beyond_limit});
}

#endif
