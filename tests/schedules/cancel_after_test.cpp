// SPDX-License-Identifier: MIT
//
// Timeouts of operations that are initiated on one thread and complete, or run out of time, on
// another before they are wholly initiated.

#include "explored_atomic.hpp"
#include "explored_wheel.hpp"

#include <kestrel/cancel_after.hpp>

#include <catch.hpp>

using namespace kestrel_tests;

namespace {

/// How an operation ended, on an explored executor: each step of what its timeout does is a point
/// where another thread may go on.
struct ending {
  auto note(explored_world& w) {
    return asio::bind_executor(w.context.get_executor(), [this](asio::error_code ec) {
      error = ec;
      ++times;
    });
  }

  asio::error_code error;
  int times = 0;
};

} // namespace

TEST_CASE("An operation whose time is up before it is wholly initiated is cancelled all the same",
          "[schedules]") {
  explore(
      "cancel_after: initiate / expire",
      [](exploration& e) {
        ending end;
        explored_world w;
        w.together(e, {w.run(), w.beside([&] {
                         w.wheel.async_wait_after(1h,
                                                  kestrel::cancel_after(w.wheel, 0ms, end.note(w)));
                       })});
        e.expect(end.times == 1 && end.error == asio::error::operation_aborted,
                 "it was not cancelled once");
        e.expect(w.wheel.empty() && explored_clock::now() == w.epoch, "somebody waited for it");
      },
      more_preemptions);
}

TEST_CASE("A timeout that comes early is not lost, whichever thread makes up for it",
          "[schedules]") {
  explore("cancel_after: initiate / expire / make up", [](exploration& e) {
    ending end;
    explored_world w;
    // No more than that, since who is done waits for who still cancels by posting itself again.
    const auto run_two = [&] { static_cast<void>(w.context.run_one() && w.context.run_one()); };
    w.together(e, {run_two, run_two, w.beside([&] {
                     w.wheel.async_wait_after(1h, kestrel::cancel_after(w.wheel, 0ms, end.note(w)));
                   })});
    w.context.run();
    e.expect(end.times == 1 && end.error == asio::error::operation_aborted,
             "it was not cancelled once");
    e.expect(w.wheel.empty() && explored_clock::now() == w.epoch, "somebody waited for it");
  });
}

TEST_CASE("An operation that completes when its time is up ends once, and its timer with it",
          "[schedules]") {
  explore(
      "cancel_after: initiate / complete / expire",
      [](exploration& e) {
        ending due;
        ending in_time;
        explored_world w;
        w.together(e, {w.run(), w.beside([&] {
                         w.wheel.async_wait_after(0ms,
                                                  kestrel::cancel_after(w.wheel, 0ms, due.note(w)));
                         w.wheel.async_wait_after(
                             10ms, kestrel::cancel_after(w.wheel, 1h, in_time.note(w)));
                       })});
        e.expect(due.times == 1 && (!due.error || due.error == asio::error::operation_aborted),
                 "the one whose time is up did not end once");
        e.expect(in_time.times == 1 && !in_time.error, "the one that completes in time");
        e.expect(w.wheel.empty() && explored_clock::now() == w.epoch + 10ms,
                 "somebody waited for a timer");
      },
      3);
}

TEST_CASE("A wheel that ends takes the timeout along, and not the operation", "[schedules]") {
  explore("cancel_after: shutdown / complete / expire", [](exploration& e) {
    ending end;
    explored_world w;
    explored_wheel timeouts{w.context};
    w.wheel.async_wait_after(10ms, kestrel::cancel_after(timeouts, 10ms, end.note(w)));
    w.pass(10ms);
    w.together(e, {w.run(), w.beside([&] { timeouts.shutdown(); })});
    e.expect(end.times == 1 && (!end.error || end.error == asio::error::operation_aborted),
             "it did not end once");
    e.expect(w.wheel.empty() && timeouts.empty(), "a timer is left");
  });
}
