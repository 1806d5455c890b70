// SPDX-License-Identifier: MIT
//
// wheel.async_wait_after: a wait without a callback. Never early, never inline, always told how it
// ended, and no timer stays behind when it is cancelled.

#include "manual_clock.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

using error_codes = std::vector<asio::error_code>;

const asio::error_code success;
const asio::error_code operation_aborted = asio::error::operation_aborted;
const asio::error_code begun_too_late = make_error_code(kestrel::errc::shut_down);

auto note_in(error_codes& told) {
  return [&told](asio::error_code ec) { told.push_back(ec); };
}

} // namespace

TEST_CASE_METHOD(one_wheel, "A wait ends up to a tick after its time, and never early",
                 "[wait_after]") {
  std::mt19937_64 random(7);
  struct wait {
    manual_clock::time_point due;
    std::optional<manual_clock::time_point> ended;
  };
  std::vector<wait> waits(300);
  for (wait& w : waits) {
    const std::chrono::nanoseconds delay(random() %
                                         (random() % 2 == 0 ? 200'000'000 : 7'000'000'000));
    w.due = manual_clock::now() + delay;
    wheel.async_wait_after(delay, [&w](asio::error_code ec) {
      CHECK_FALSE(ec);
      CHECK_FALSE(w.ended);
      w.ended = manual_clock::now();
    });
    stall(io, std::chrono::microseconds(random() % 1000)); // so that they begin within ticks
  }
  pass(io, 8s, 1ms);
  int early = 0;
  int late = 0;
  for (const wait& w : waits) {
    REQUIRE(w.ended);
    early += *w.ended < w.due;
    late += *w.ended >= w.due + tick + 1ms; // what the clock advances by
  }
  CHECK(early == 0);
  CHECK(late == 0);
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A wait for no time ends soon, but not in the function that starts it",
                 "[wait_after]") {
  const auto delay = GENERATE(0ns, -1ns, -1h + 0ns, manual_clock::duration::min());
  error_codes told;
  asio::post(io, [&] {
    wheel.async_wait_after(delay, note_in(told));
    CHECK(told.empty());
  });
  settle(io);
  CHECK(told == error_codes{success});
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A wait lets run() return when it is over", "[wait_after]") {
  error_codes told;
  wheel.async_wait_after(25ms, note_in(told));
  CHECK(wheel.size() == 1);
  CHECK_FALSE(out_of_work(io));
  pass(io, 30ms);
  CHECK(told == error_codes{success});
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Waits of any duration", "[wait_after]") {
  error_codes told;
  wheel.async_wait_after(std::chrono::duration<double>(0.0105), note_in(told));
  wheel.async_wait_after(std::chrono::hours::max(), [](asio::error_code) { FAIL("too early"); });
  wheel.async_wait_after(std::chrono::nanoseconds::max(),
                         [](asio::error_code) { FAIL("too early"); });
  stall(io, 10ms);
  CHECK(told.empty());
  stall(io, 10ms);
  CHECK(told == error_codes{success});
  stall(io, 24h * 365 * 10);
  CHECK(wheel.size() == 2);
}

TEST_CASE_METHOD(one_wheel, "A wait for something that is no number is refused", "[wait_after]") {
  using seconds = std::chrono::duration<double>;
  bool called = false;
  bool refused = false;
  try {
    wheel.async_wait_after(seconds(std::numeric_limits<double>::quiet_NaN()),
                           [&](asio::error_code) { called = true; });
  } catch (const std::system_error& e) {
    refused = e.code() == kestrel::errc::invalid_delay;
  }
  CHECK(refused);
  settle(io);
  CHECK_FALSE(called);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "Waits of one tick end in the order in which they began",
                 "[wait_after]") {
  std::vector<int> order;
  std::vector<int> expected;
  for (int i = 0; i != 300; ++i) {
    wheel.async_wait_after(15ms, [&order, i](asio::error_code) { order.push_back(i); });
    expected.push_back(i);
  }
  stall(io, 20ms);
  CHECK(order == expected);
}

TEST_CASE_METHOD(one_wheel, "A wait that is cancelled leaves no timer behind", "[wait_after]") {
  error_codes told;
  asio::cancellation_signal signal;
  wheel.async_wait_after(1h, asio::bind_cancellation_slot(signal.slot(), note_in(told)));
  settle(io);
  CHECK(wheel.size() == 1);
  const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                             asio::cancellation_type::total, asio::cancellation_type::all);
  signal.emit(asio::cancellation_type::none);
  CHECK(wheel.size() == 1);
  signal.emit(type);
  CHECK(wheel.empty());
  CHECK(told.empty()); // never inline
  signal.emit(type);
  settle(io);
  CHECK(told == error_codes{operation_aborted});
  signal.emit(type);
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A wait that is due is told of its end or of its cancellation",
                 "[wait_after]") {
  error_codes told;
  asio::cancellation_signal signal;
  wheel.async_wait_after(10ms, asio::bind_cancellation_slot(signal.slot(), note_in(told)));
  SECTION("cancelled before the wheel gets to it") {
    manual_clock::advance(10ms);
    signal.emit(asio::cancellation_type::all);
    settle(io);
    CHECK(told == error_codes{operation_aborted});
  }
  SECTION("cancelled after it was told") {
    stall(io, 10ms);
    CHECK(told == error_codes{success});
    signal.emit(asio::cancellation_type::all);
    settle(io);
    CHECK(told.size() == 1);
  }
  SECTION("cancelled in between") {
    manual_clock::advance(10ms);
    while (!wheel.empty())
      io.poll_one();
    signal.emit(asio::cancellation_type::all);
    settle(io);
    CHECK(told == error_codes{success});
  }
}

TEST_CASE_METHOD(one_wheel, "A slot that is emitted late harms no other wait", "[wait_after]") {
  error_codes first;
  error_codes second;
  asio::cancellation_signal signal;
  wheel.async_wait_after(10ms, asio::bind_cancellation_slot(signal.slot(), note_in(first)));
  stall(io, 10ms);
  wheel.async_wait_after(10ms, note_in(second)); // in the same slot of the wheel
  signal.emit(asio::cancellation_type::terminal);
  CHECK(wheel.size() == 1);
  stall(io, 10ms);
  CHECK(first == error_codes{success});
  CHECK(second == error_codes{success});
}

TEST_CASE("A slot may be emitted when the wheel is gone", "[wait_after][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel(std::in_place, *io);
  asio::cancellation_signal signal;
  error_codes told;
  wheel->async_wait_after(1h, asio::bind_cancellation_slot(signal.slot(), note_in(told)));
  wheel.reset();
  signal.emit(asio::cancellation_type::terminal);
  if (GENERATE(false, true)) {
    settle(*io);
    CHECK(told == error_codes{operation_aborted});
  }
  io.reset();
  signal.emit(asio::cancellation_type::terminal);
  CHECK(told.size() <= 1);
}

TEST_CASE("When the wheel ends, waits are operation_aborted", "[wait_after][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  error_codes told;
  wheel->async_wait_after(10ms, note_in(told));
  wheel->async_wait_after(1h, note_in(told));
  SECTION("by shutdown()") { wheel->shutdown(); }
  SECTION("by its destructor") { wheel.reset(); }
  SECTION("in a callback of it") {
    wheel->schedule_after(-1s, [&] { wheel.reset(); });
    settle(io);
  }
  SECTION("in the handler of a wait") {
    wheel->async_wait_after(-1s, [&](asio::error_code) { wheel.reset(); });
    settle(io);
  }
  settle(io);
  CHECK(told == error_codes{operation_aborted, operation_aborted});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A wait that begins after shutdown() is told so",
                 "[wait_after][lifetimes]") {
  wheel.shutdown();
  error_codes told;
  asio::cancellation_signal signal;
  wheel.async_wait_after(10ms, note_in(told));
  wheel.async_wait_after(-10ms, asio::bind_cancellation_slot(signal.slot(), note_in(told)));
  CHECK(told.empty());
  signal.emit(asio::cancellation_type::terminal);
  settle(io);
  CHECK(told == error_codes{begun_too_late, begun_too_late});
}

TEST_CASE("When the context of a wait goes first, its handler is destroyed",
          "[wait_after][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  asio::io_context other;
  manual_wheel wheel{*io};
  const auto alive = std::make_shared<int>();
  const auto handler = [alive](asio::error_code) { FAIL("its context is gone"); };
  error_codes elsewhere;
  wheel.async_wait_after(10ms, handler);
  wheel.async_wait_after(1h, asio::bind_executor(asio::make_strand(*io), handler));
  wheel.async_wait_after(1h, asio::bind_executor(other, note_in(elsewhere)));
  if (GENERATE(false, true)) {
    manual_clock::advance(10ms);
    io->poll_one();
  }
  io.reset();
  CHECK(alive.use_count() == 2); // with the one here
  other.run();
  CHECK(elsewhere == error_codes{operation_aborted});
  wheel.async_wait_after(1h, asio::bind_executor(other, note_in(elsewhere)));
  other.restart();
  other.run();
  CHECK(elsewhere == error_codes{operation_aborted, begun_too_late});
  std::promise<asio::error_code> told; // on a thread of the system's
  std::future<asio::error_code> error = told.get_future();
  wheel.async_wait_after(
      1h, [told = std::move(told)](asio::error_code ec) mutable { told.set_value(ec); });
  CHECK(error.get() == begun_too_late);
}

TEST_CASE("A context that is stopped and restarted ends the waits that are over",
          "[wait_after][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  error_codes told;
  wheel.async_wait_after(10ms, note_in(told));
  wheel.async_wait_after(-1s, note_in(told));
  io.stop();
  manual_clock::advance(1s);
  CHECK(io.run() == 0);
  io.restart();
  io.run();
  CHECK(told == error_codes{success, success});
}

TEST_CASE_METHOD(one_wheel, "A handler may begin the next wait, and throw", "[wait_after]") {
  int left = 3;
  const auto began = manual_clock::now();
  std::function<void(asio::error_code)> again = [&](asio::error_code ec) {
    CHECK_FALSE(ec);
    if (--left != 0)
      wheel.async_wait_after(20ms, again);
    else
      throw std::runtime_error("handler");
  };
  wheel.async_wait_after(20ms, again);
  pass(io, 50ms);
  CHECK(left == 1);
  CHECK_THROWS_AS(pass(io, 10ms), std::runtime_error);
  CHECK(manual_clock::now() == began + 60ms);
  settle(io);
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Waits and timers share a wheel without disturbing one another",
                 "[wait_after]") {
  journal ran;
  wheel.schedule_after(10ms, ran.note(1));
  wheel.async_wait_after(10ms, [note = ran.note(2)](asio::error_code) mutable { note(); });
  wheel.schedule_after(20ms, ran.note(3));
  CHECK(wheel.size() == 3);
  pass(io, 20ms);
  CHECK(ran == journal{{1, 10ms}, {2, 10ms}, {3, 20ms}});
}

TEST_CASE("A wait without a lock, on a wheel for one thread", "[wait_after]") {
  const at_start clock;
  asio::io_context io;
  wheel_with<single_threaded_traits> wheel{io};
  error_codes told;
  asio::cancellation_signal signal;
  wheel.async_wait_after(10ms, note_in(told));
  wheel.async_wait_after(1h, asio::bind_cancellation_slot(signal.slot(), note_in(told)));
  stall(io, 10ms);
  signal.emit(asio::cancellation_type::partial);
  settle(io);
  CHECK(told == error_codes{success, operation_aborted});
  CHECK(out_of_work(io));
}
