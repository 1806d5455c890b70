// SPDX-License-Identifier: MIT
//
// Callbacks that return asio::awaitable<void> are spawned as coroutines: on the wheel's executor or
// their own, with what they captured alive until they end, and with their exceptions leaving run().

#include "manual_clock.hpp"

#include <catch.hpp>

#if defined(ASIO_HAS_CO_AWAIT)

#include <asio/awaitable.hpp>
#include <asio/bind_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <vector>

using namespace kestrel_tests;

namespace {

using gate = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;

} // namespace

TEST_CASE_METHOD(one_wheel, "A callback may be a coroutine", "[coroutines]") {
  std::vector<int> steps;
  wheel.schedule_after(10ms, [&]() -> asio::awaitable<void> {
    steps.push_back(1);
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    steps.push_back(2);
  });
  stall(io, 10ms - 1ns);
  CHECK(steps.empty());
  stall(io, 1ns);
  CHECK(steps == std::vector{1, 2});
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A coroutine is told its id and its missed periods", "[coroutines]") {
  std::vector<std::uint64_t> missed;
  kestrel::timer_id told;
  const auto id = wheel.schedule_every(
      10ms, 10ms, [&](kestrel::timer_id i, std::uint64_t m) -> asio::awaitable<void> {
        co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
        told = i;
        missed.push_back(m);
      });
  stall(io, 10ms);
  CHECK(told == id);
  stall(io, 30ms);
  CHECK(missed == std::vector<std::uint64_t>{0, 2});
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_wheel, "What a coroutine captured lives as long as the coroutine",
                 "[coroutines]") {
  gate open(io, manual_clock::now() + 1h);
  const auto state = std::make_shared<int>(0);
  const bool periodic = GENERATE(false, true);
  const auto f = [&open, state]() -> asio::awaitable<void> {
    ++*state;
    co_await open.async_wait(asio::use_awaitable);
    *state += 100;
  };
  kestrel::timer_id id;
  if (periodic)
    id = wheel.schedule_every(10ms, 10ms, std::move(f));
  else
    id = wheel.schedule_after(10ms, std::move(f));
  const auto uses = [&] { return state.use_count() - 1 - 1; }; // besides `state` and `f`
  stall(io, 10ms);
  CHECK(*state == 1);
  CHECK(uses() == 1);
  CHECK(wheel.cancel(id) == periodic); // the coroutine goes on
  CHECK(uses() == 1);
  stall(io, 1h);
  CHECK(*state == 101);
  CHECK(uses() == 0);
}

TEST_CASE("A coroutine that outlives its wheel keeps what it captured", "[coroutines]") {
  const at_start clock;
  asio::io_context io;
  gate open(io, manual_clock::now() + 1h);
  int result = 0;
  {
    manual_wheel wheel{io};
    wheel.schedule_every(10ms, 10ms, [&open, &result, n = 40]() mutable -> asio::awaitable<void> {
      n += 2;
      co_await open.async_wait(asio::use_awaitable);
      result = n;
    });
    stall(io, 10ms);
  }
  CHECK(result == 0);
  stall(io, 1h);
  CHECK(result == 42);
}

TEST_CASE_METHOD(one_wheel, "A periodic coroutine that suspends does not hold up its next firing",
                 "[coroutines]") {
  gate open(io, manual_clock::now() + 1h);
  int begun = 0;
  int ended = 0;
  const auto id = wheel.schedule_every(10ms, 10ms, [&]() -> asio::awaitable<void> {
    ++begun;
    co_await open.async_wait(asio::use_awaitable);
    ++ended;
  });
  pass(io, 50ms);
  CHECK(begun == 5);
  CHECK(ended == 0);
  CHECK(wheel.cancel(id));
  stall(io, 1h);
  CHECK(ended == 5);
}

TEST_CASE_METHOD(one_wheel, "What a coroutine throws leaves run()", "[coroutines][exceptions]") {
  const bool late = GENERATE(false, true);
  const bool periodic = GENERATE(false, true);
  journal ran;
  const auto f = [&, late]() -> asio::awaitable<void> {
    if (late)
      co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    throw std::runtime_error("coroutine");
  };
  if (periodic)
    wheel.schedule_every(10ms, 10ms, f);
  else
    wheel.schedule_after(10ms, f);
  wheel.schedule_after(10ms, ran.note(1));
  wheel.schedule_after(15ms, ran.note(2));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(ran.size() == 1);
  CHECK(wheel.size() == (periodic ? 2 : 1));
  manual_clock::advance(10ms);
  if (periodic)
    CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(ran.size() == 2);
}

TEST_CASE_METHOD(one_wheel, "A coroutine bound to a strand runs in it", "[coroutines]") {
  const auto strand = asio::make_strand(io);
  int inside = 0;
  wheel.schedule_after(10ms, asio::bind_executor(strand, [&]() -> asio::awaitable<void> {
                         inside += strand.running_in_this_thread();
                         co_await asio::post(co_await asio::this_coro::executor,
                                             asio::use_awaitable);
                         inside += strand.running_in_this_thread();
                       }));
  stall(io, 10ms);
  CHECK(inside == 2);
}

TEST_CASE_METHOD(one_wheel, "A coroutine whose timer is cancelled in time never begins",
                 "[coroutines]") {
  bool begun = false;
  const auto id = wheel.schedule_after(10ms, [&]() -> asio::awaitable<void> {
    begun = true;
    co_return;
  });
  CHECK(wheel.cancel(id));
  stall(io, 10ms);
  CHECK_FALSE(begun);
}

TEST_CASE("A coroutine may use the wheel, and destroy it", "[coroutines]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  int ran = 0;
  wheel->schedule_every(10ms, 10ms, [&](kestrel::timer_id id) -> asio::awaitable<void> {
    wheel->schedule_after(5ms, [&ran] { ++ran; });
    co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable);
    if (ran == 2) {
      CHECK(wheel->cancel(id));
      wheel.reset();
    }
  });
  pass(io, 100ms);
  CHECK_FALSE(wheel);
  CHECK(ran == 2);
}

#else

TEST_CASE("This compiler has no coroutines that Asio can use", "[coroutines]") { SUCCEED(); }

#endif
