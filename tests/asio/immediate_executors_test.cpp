// SPDX-License-Identifier: MIT
//
// Waits that end at once: where their handlers are called, with an immediate
// executor and without. Asio has these since 1.28. With an older one, all of
// this is compiled twice, with a stand-in the second time (tests/newer_asio).

#include "manual_clock.hpp"
#include "notices.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/timer_service.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/post.hpp>
#include <asio/system_executor.hpp>
#include <asio/use_future.hpp>

#if defined(KESTREL_HAS_IMMEDIATE_EXECUTOR)
#include <asio/bind_immediate_executor.hpp>
#endif

#include <catch.hpp>

#include <future>
#include <memory>
#include <stdexcept>
#include <utility>

using namespace kestrel_tests;
using kestrel::completion;
using kestrel::errc;
using kestrel::timer_task;

TEST_CASE_METHOD(one_wheel,
                 "A wait that ends at once does not call from the function that began it",
                 "[immediate]") {
  notices told;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  pass(io, 20ms);
  timer.async_wait(told.note());
  wheel.async_wait({}, told.note());
  CHECK(told.empty());
  settle(io);
  CHECK(told == notices{fired(2), gone});
}

#if defined(KESTREL_HAS_IMMEDIATE_EXECUTOR)

TEST_CASE_METHOD(one_wheel, "A wait that ends at once calls through the immediate executor",
                 "[immediate]") {
  notices told;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  const auto at_once = [&] {
    return asio::bind_immediate_executor(asio::system_executor(), told.note());
  };
  timer.async_wait(at_once());
  CHECK(told.empty());
  pass(io, 10ms);
  CHECK(told == notices{fired()});
  pass(io, 20ms);
  timer.async_wait(at_once());
  CHECK(told == notices{fired(), fired(2)});
  wheel.async_wait({}, at_once());
  CHECK(told == notices{fired(), fired(2), gone});
  manual_wheel::handle_type().async_wait(at_once());
  CHECK(told.size() == 4);
}

TEST_CASE_METHOD(one_wheel, "The immediate executor leads to the handler's own executor",
                 "[immediate]") {
  asio::io_context other;
  notices told;
  wheel.async_wait({}, asio::bind_immediate_executor(asio::system_executor(),
                                                     asio::bind_executor(other, told.note())));
  CHECK(told.empty());
  CHECK(other.run() == 1);
  CHECK(told == notices{gone});
}

TEST_CASE_METHOD(one_wheel, "A receiver that is served at once uses its immediate executor",
                 "[immediate][service]") {
  kestrel::timer_service service{wheel};
  int told = 0;
  asio::error_code error;
  const auto receive = [&] {
    service.async_receive(
        asio::bind_immediate_executor(asio::system_executor(), [&](asio::error_code ec, auto) {
          ++told;
          error = ec;
        }));
  };
  service.schedule_after(10ms);
  receive();
  CHECK(told == 0);
  service.schedule_after(10ms);
  stall(io, 10ms);
  CHECK(told == 1);
  receive();
  CHECK(told == 2);
  service.shutdown();
  receive();
  CHECK(told == 3);
  CHECK(error == errc::shut_down);
}

TEST_CASE_METHOD(one_wheel, "A wait that ends at once does not end the work of its context",
                 "[immediate]") {
  kestrel::timer_service service{wheel};
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  service.schedule_after(10ms);
  stall(io, 10ms);
  io.restart();
  int told = 0;
  const auto at_once = asio::bind_immediate_executor(
      asio::system_executor(), [&](asio::error_code, const auto&) { ++told; });
  timer.async_wait(at_once); // fired
  CHECK_FALSE(io.stopped());
  timer.async_wait(at_once); // gone
  CHECK_FALSE(io.stopped());
  wheel.async_wait({}, at_once);
  CHECK_FALSE(io.stopped());
  service.async_receive(at_once);
  CHECK_FALSE(io.stopped());
  service.shutdown();
  service.async_receive(at_once);
  CHECK_FALSE(io.stopped());
  CHECK(told == 5);
  asio::post(io, [&] { ++told; });
  CHECK(io.run() == 1);
  CHECK(told == 6);
}

TEST_CASE_METHOD(one_wheel, "A wait that does not end at once is as it was without",
                 "[immediate]") {
  asio::cancellation_signal signal;
  notices told;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(asio::bind_immediate_executor(
      asio::system_executor(), asio::bind_cancellation_slot(signal.slot(), told.note())));
  signal.emit(asio::cancellation_type::total);
  CHECK(told.empty());
  settle(io);
  CHECK(told == notices{aborted});
  timer.async_wait(asio::bind_immediate_executor(asio::system_executor(), told.note()));
  stall(io, 10ms);
  CHECK(told == notices{aborted, fired()});
}

TEST_CASE_METHOD(one_wheel, "An immediate executor may call later", "[immediate]") {
  asio::io_context other;
  notices told;
  wheel.async_wait({}, asio::bind_immediate_executor(other.get_executor(), told.note()));
  CHECK(told.empty());
  CHECK(other.run() == 1);
  CHECK(told == notices{gone});
}

TEST_CASE_METHOD(one_wheel, "A token with an immediate executor is like any other", "[immediate]") {
  std::future<completion> none = wheel.async_wait(
      {}, asio::bind_immediate_executor(asio::system_executor(), asio::use_future));
  CHECK_THROWS_AS(none.get(), std::system_error);
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  stall(io, 10ms);
  int calls = 0;
  auto moves_only = [&, one = std::make_unique<int>(1)](asio::error_code, completion) {
    calls += *one;
  };
  timer.async_wait(asio::bind_immediate_executor(asio::system_executor(), std::move(moves_only)));
  CHECK(calls == 1);
}

TEST_CASE_METHOD(one_wheel, "What a handler throws that is called at once leaves run()",
                 "[immediate][exceptions]") {
  asio::post(io, [&] {
    wheel.async_wait({}, asio::bind_immediate_executor(io.get_executor(), [](auto...) {
                       throw std::runtime_error("at once");
                     }));
  });
  CHECK_THROWS_AS(io.run(), std::runtime_error);
}

TEST_CASE_METHOD(one_wheel, "An operation with a timeout may end at once", "[immediate]") {
  notices told;
  wheel.async_wait(
      {}, kestrel::cancel_after(
              wheel, 5s, asio::bind_immediate_executor(asio::system_executor(), told.note())));
  CHECK(told == notices{gone});
  CHECK(wheel.empty());
}

#endif
