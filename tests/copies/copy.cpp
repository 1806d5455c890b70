// SPDX-License-Identifier: MIT
//
// A part of a program that has Kestrel to itself. It is compiled once for each copy;
// KESTREL_TESTS_COPY is the namespace that keeps the parts apart.

#include <kestrel/kestrel.hpp>

#include <asio/bind_executor.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <chrono>
#include <system_error>

namespace KESTREL_TESTS_COPY {

namespace {

using namespace std::chrono_literals;

bool is_refused(kestrel::timer_wheel& wheel) {
  try {
    wheel.schedule_every(1ms, 0ms, [] {});
  } catch (const std::system_error& e) {
    return e.code() == kestrel::errc::invalid_interval;
  }
  return false;
}

} // namespace

/// How many of nine things went as they should.
int things_done() {
  int done = 0;
  asio::io_context io;
  kestrel::timer_wheel wheel{io, kestrel::wheel_config::network_timeouts()};
  kestrel::single_threaded_timer_wheel other{io};
  kestrel::timer_service service{wheel, {.capacity = 1}};

  wheel.schedule_after(1ms, [&] { ++done; });
  wheel.schedule_after(1ms, asio::bind_executor(asio::make_strand(io), [&] { ++done; }));
  other.schedule_after(1ms, [&] { ++done; });

  auto timer = wheel.schedule(kestrel::timer_task::one_shot(1ms));
  timer.async_wait([&](asio::error_code ec, kestrel::completion c) {
    done += !ec && c == kestrel::completion::fired;
  });
  wheel.async_wait({}, [&](asio::error_code ec, kestrel::completion) {
    done += ec == kestrel::errc::no_such_timer;
  });

  const kestrel::timer_id served = service.schedule_after(1ms);
  service.async_receive([&](asio::error_code ec, kestrel::timer_notification n) {
    done += !ec && n.id == served;
    service.shutdown();
  });

  kestrel::steady_timer steady(io, 1ms);
  steady.async_wait([&](asio::error_code ec) { done += !ec; });
  kestrel::steady_timer late(io, 1h);
  late.async_wait(kestrel::cancel_after(
      1ms, [&](asio::error_code ec) { done += ec == asio::error::operation_aborted; }));

  done += is_refused(wheel);
  io.run();
  return done;
}

} // namespace KESTREL_TESTS_COPY
