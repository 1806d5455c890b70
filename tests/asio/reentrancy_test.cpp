// SPDX-License-Identifier: MIT
//
// From inside a callback everything may be called: schedule, cancel, postpone, shutdown. What it
// schedules runs later, never inside it.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <memory>
#include <system_error>
#include <vector>

using namespace kestrel_tests;

TEMPLATE_TEST_CASE("A callback may use the wheel that calls it", "[reentrancy]", manual_traits,
                   single_threaded_traits, tiny_traits) {
  const at_start clock;
  asio::io_context io;
  wheel_with<TestType> wheel{io};
  journal ran;
  int held = 0;
  bool in_callback = false;
  int nested = 0;
  const auto sibling = wheel.schedule_after(20ms, ran.note(90));
  const auto moved = wheel.schedule_after(20ms, ran.note(1));
  wheel.schedule_after(10ms, [&] {
    in_callback = true;
    held += checked_mutex::held();
    CHECK(wheel.size() == 2);
    wheel.schedule_after(0ms, [&] { nested += in_callback; });
    wheel.schedule_after(-1h, ran.note(2));
    wheel.schedule_at(manual_clock::now(), ran.note(3));
    wheel.schedule_after(1ns, ran.note(4));
    wheel.schedule_every(5s, 5s, ran.note(5));
    CHECK(wheel.cancel(sibling));
    CHECK_FALSE(wheel.cancel(sibling));
    CHECK(wheel.postpone(moved, 50ms));
    CHECK(wheel.postpone(moved, 40ms, ran.note(6)));
    CHECK(wheel.expiry(moved) == manual_clock::now() + 40ms);
    wheel.reserve(1000);
    CHECK(wheel.stats().fired == 1);
    in_callback = false;
  });
  stall(io, 10ms);
  CHECK(ran == journal{{2, 10ms}, {3, 10ms}});
  pass(io, 6s);
  CHECK(ran == journal{{2, 10ms}, {3, 10ms}, {4, 20ms}, {6, 50ms}, {5, 5010ms}});
  CHECK(held == 0);
  CHECK(nested == 0);
}

TEST_CASE_METHOD(one_wheel, "A callback that schedules itself at once gives way to other handlers",
                 "[reentrancy]") {
  int ran = 0;
  bool stop = false;
  struct again {
    manual_wheel& wheel;
    int& ran;
    bool& stop;
    void operator()() const {
      ++ran;
      if (!stop)
        wheel.schedule_after(0ms, *this);
    }
  };
  wheel.schedule_after(0ms, again{wheel, ran, stop});
  wheel.schedule_after(10ms, [&stop] { stop = true; });
  manual_clock::advance(10ms);
  settle(io); // endless if the second timer never got its turn
  CHECK(stop);
  CHECK(ran < 1000);
}

TEST_CASE_METHOD(one_wheel, "All timers of a batch may be cancelled by the first of them",
                 "[reentrancy]") {
  const auto strand = asio::make_strand(io);
  std::vector<kestrel::timer_id> ids;
  int ran = 0;
  std::size_t cancelled = 0;
  wheel.schedule_after(10ms, [&] {
    for (const auto id : ids)
      cancelled += wheel.cancel(id);
  });
  for (int i = 0; i != 1000; ++i) {
    const auto f = [&ran] { ++ran; };
    ids.push_back(i % 2 ? wheel.schedule_after(10ms, f)
                        : wheel.schedule_after(10ms, asio::bind_executor(strand, f)));
  }
  stall(io, 10ms);
  CHECK(cancelled == 1000);
  CHECK(ran == 0);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A callback may shut the wheel down", "[reentrancy]") {
  const bool periodic = GENERATE(false, true);
  bool refused = false;
  const auto f = [&] {
    wheel.shutdown();
    try {
      wheel.schedule_after(1s, [] {});
    } catch (const std::system_error& e) {
      refused = e.code() == kestrel::errc::shut_down;
    }
  };
  if (periodic)
    wheel.schedule_every(10ms, 10ms, f);
  else
    wheel.schedule_after(10ms, f);
  wheel.schedule_after(10ms, [] { FAIL("was shut down"); });
  stall(io, 10ms);
  CHECK(refused);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A callback may run the context itself", "[reentrancy]") {
  journal ran;
  bool nested = false;
  wheel.schedule_after(10ms, [&] {
    ran.note(1)();
    io.poll();
    nested = ran.size() == 301;
    ran.note(2)();
  });
  for (int i = 0; i != 300; ++i)
    wheel.schedule_after(10ms, ran.note(3));
  stall(io, 10ms);
  CHECK(nested); // the rest was handed over before the first began
  CHECK(ran.size() == 302);
}

TEST_CASE("Two wheels may use one another", "[reentrancy]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel ping{io};
  manual_wheel pong{io};
  int turns = 0;
  struct hit {
    manual_wheel& here;
    manual_wheel& there;
    int& turns;
    void operator()() const {
      if (++turns != 100)
        there.schedule_after(10ms, hit{there, here, turns});
    }
  };
  ping.schedule_after(10ms, hit{ping, pong, turns});
  pass(io, 1s);
  CHECK(turns == 100);
}
