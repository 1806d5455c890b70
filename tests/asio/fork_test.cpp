// SPDX-License-Identifier: MIT
//
// fork(), with the notify_fork() of the context: what was pending before fires in both processes,
// once in each, and never early. On the real clock, since it is about what Asio asks the system.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/bind_executor.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>

#include <catch.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#if defined(__unix__)

#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;

namespace {

using real_clock = std::chrono::steady_clock;

/// What one process saw of each timer.
struct seen {
  int fired = 0;
  bool early = false;

  auto at(real_clock::time_point deadline) {
    return [this, deadline] {
      ++fired;
      early = early || real_clock::now() < deadline;
    };
  }

  [[nodiscard]] bool is(int times) const { return fired == times && !early; }
};

/// Forks, and has `rest` run in both processes. What it returns in the child is sent to the parent.
/// Tells whether it returned true in both.
bool in_both(asio::io_context& io, const std::function<bool()>& rest) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  io.notify_fork(asio::io_context::fork_prepare);
  const ::pid_t child = ::fork();
  if (child == 0) {
    bool good = false;
    try {
      io.notify_fork(asio::io_context::fork_child);
      good = rest();
    } catch (...) {
    }
    const ::ssize_t sent = ::write(ends[1], &good, sizeof good);
    ::_exit(sent == sizeof good ? 0 : 1);
  }
  io.notify_fork(asio::io_context::fork_parent);
  ::close(ends[1]);
  const bool here = rest();
  bool there = false;
  const bool told = ::read(ends[0], &there, sizeof there) == sizeof there;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return here && told && there;
}

} // namespace

TEST_CASE("Timers that were armed before a fork fire in both processes, once in each", "[fork]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  const auto start = real_clock::now();
  seen before, queued, near, far, cancelled, postponed, after;
  wheel.schedule_at(start, before.at(start));
  wheel.schedule_at(start, asio::bind_executor(io.get_executor(), queued.at(start)));
  wheel.schedule_at(start + 50ms, near.at(start + 50ms));
  wheel.schedule_at(start + 1100ms, far.at(start + 1100ms)); // in the second level
  const auto cancelled_id = wheel.schedule_at(start + 60ms, cancelled.at(start));
  const auto postponed_id = wheel.schedule_at(start + 40ms, postponed.at(start + 120ms));
  while (before.fired == 0)
    io.run_one();
  CHECK(in_both(io, [&] {
    const bool undone =
        wheel.cancel(cancelled_id) && wheel.postpone_at(postponed_id, start + 120ms);
    wheel.schedule_at(start + 80ms, after.at(start + 80ms));
    io.restart();
    io.run();
    return undone && before.is(1) && queued.is(1) && near.is(1) && far.is(1) && cancelled.is(0) &&
           postponed.is(1) && after.is(1) && wheel.empty();
  }));
}

TEST_CASE("A periodic timer goes on in both processes, without drift", "[fork]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  const auto start = real_clock::now();
  std::uint64_t number = 0;
  seen periods;
  wheel.schedule_every(15ms, 15ms, [&](kestrel::timer_id id, std::uint64_t missed) {
    periods.at(start + (number + 1) * 15ms)();
    number += 1 + missed;
    if (number >= 10)
      wheel.cancel(id);
  });
  while (number == 0)
    io.run_one();
  CHECK(in_both(io, [&] {
    io.restart();
    io.run();
    return number >= 10 && !periods.early && periods.fired > 1 &&
           periods.fired <= static_cast<int>(number);
  }));
}

TEST_CASE("steady_timers, waits and services go on in both processes", "[fork]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  kestrel::timer_service service{wheel};
  kestrel::steady_timer timer{io};
  const auto start = real_clock::now();
  seen steady, waited, served;
  timer.expires_at(start + 30ms);
  timer.async_wait([&, f = steady.at(start + 30ms)](asio::error_code ec) mutable {
    if (!ec)
      f();
  });
  wheel.async_wait_after(40ms, [&, f = waited.at(start + 40ms)](asio::error_code ec) mutable {
    if (!ec)
      f();
  });
  service.schedule_at(start + 20ms);
  service.async_receive(
      [&, f = served.at(start + 20ms)](asio::error_code ec, kestrel::timer_notification n) mutable {
        if (!ec && n.count == 1)
          f();
      });
  io.poll();
  CHECK(in_both(io, [&] {
    io.restart();
    io.run();
    return steady.is(1) && waited.is(1) && served.is(1);
  }));
}

#endif // defined(__unix__)
