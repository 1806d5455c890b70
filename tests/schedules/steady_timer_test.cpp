// SPDX-License-Identifier: MIT
//
// kestrel::steady_timer: one thread waits, cancels, moves or destroys its timers, while others run
// the context on which they expire. What is returned tells how each wait ends.

#include "explored_wheel.hpp"

#include <kestrel/steady_timer.hpp>
#include <kestrel/use_wheel.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <catch.hpp>

#include <chrono>
#include <cstddef>
#include <optional>

/// The wheel that a context shares among its timers is explored as well.
template <>
struct kestrel::detail::context_wheel_traits<kestrel_tests::explored_clock> {
  using clock = kestrel_tests::explored_clock;
  using wait_traits = asio::wait_traits<clock>;
  using mutex = kestrel_tests::explored_mutex;
  using geometry = kestrel::dynamic_geometry;
};

using namespace kestrel_tests;

namespace {

using explored_timer = kestrel::basic_wheel_timer<explored_clock, explored_context::executor_type>;

/// How waits ended, and when the last one did. Several threads may tell.
struct endings {
  auto note() {
    return [this](asio::error_code ec) {
      (ec ? aborted : expired).fetch_add(1, std::memory_order_relaxed);
      at.store(explored_clock::now(), std::memory_order_relaxed);
    };
  }

  std::atomic<std::size_t> aborted = 0;
  std::atomic<std::size_t> expired = 0;
  std::atomic<explored_clock::time_point> at = explored_clock::time_point();
};

/// A context whose shared wheel has a few slots, so that it is quickly made.
struct shared_world : explored_world {
  shared_world() { kestrel::use_wheel<explored_clock>(context, {10ms, 8, 40ms, 4}); }
};

} // namespace

TEST_CASE("cancel returns how many waits it aborts, though they are expiring", "[schedules]") {
  const std::size_t waits = GENERATE(1u, 3u);
  explore("steady_timer: cancel / expire", [=](exploration& e) {
    endings ends;
    shared_world w;
    explored_timer timer(w.context, 10ms);
    for (std::size_t i = 0; i != waits; ++i)
      timer.async_wait(ends.note());
    w.pass(10ms);
    std::size_t cancelled = 0;
    std::size_t over = 0;
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     cancelled = timer.cancel();
                     over = ends.expired;
                   })});
    e.expect(over + cancelled + 2 >= waits, "more are in time than there are threads");
    e.expect(ends.aborted == cancelled, "cancel lied");
    e.expect(ends.aborted + ends.expired == waits, "not each wait ended once");
  });
}

TEST_CASE("A timer that is set again while it expires is on time", "[schedules]") {
  explore("steady_timer: expires_after / expire", [](exploration& e) {
    endings first;
    endings second;
    endings others;
    shared_world w;
    explored_timer timer(w.context, 10ms);
    explored_timer other(w.context, 1h);
    timer.async_wait(first.note());
    other.async_wait(others.note());
    w.pass(10ms);
    const auto start = explored_clock::now();
    std::size_t cancelled = 0;
    w.together(e, {w.run(), w.run(), w.beside([&] {
                     cancelled = timer.expires_after(50ms);
                     timer.async_wait(second.note());
                     turns::wait([&] { return second.expired != 0; });
                     other.cancel();
                   })});
    e.expect(first.aborted == cancelled && first.aborted + first.expired == 1, "the first wait");
    e.expect(first.at.load() == start, "the first wait ended late");
    e.expect(second.expired == 1 && second.aborted == 0, "the second wait");
    e.expect(second.at.load() == start + 50ms, "the second wait ended at the wrong time");
    e.expect(others.aborted == 1 && others.at.load() == start + 50ms, "the other timer");
  });
}

TEST_CASE("A timer that is set and not waited for keeps nobody waiting", "[schedules]") {
  explore("steady_timer: expires_after / expire another", [](exploration& e) {
    endings due;
    endings given_up;
    shared_world w;
    explored_timer timer(w.context, 10ms);
    explored_timer other(w.context, 1h);
    timer.async_wait(due.note());
    other.async_wait(given_up.note());
    w.pass(10ms);
    w.together(e, {w.run(), w.run(), w.beside([&] { other.expires_after(2h); })});
    e.expect(due.expired == 1 && due.aborted == 0, "the one that is due");
    e.expect(given_up.aborted == 1 && given_up.expired == 0, "the one that was set");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for nothing");
  });
}

TEST_CASE("The waits of a timer that is destroyed while it expires end once", "[schedules]") {
  explore("steady_timer: destroy / expire", [](exploration& e) {
    endings ends;
    endings others;
    shared_world w;
    std::optional<explored_timer> timer(std::in_place, w.context, 10ms);
    explored_timer other(w.context, 1h);
    timer->async_wait(ends.note());
    other.async_wait(others.note());
    w.pass(10ms);
    w.together(e, {w.run(), w.beside([&] { timer.reset(); }), w.beside([&] { other.cancel(); })});
    e.expect(ends.aborted + ends.expired == 1, "the wait did not end once");
    e.expect(others.aborted == 1 && others.expired == 0, "the other wait");
    e.expect(explored_clock::now() == w.epoch + 10ms, "somebody waited for nothing");
  });
}

TEST_CASE("A wait is cut short while its timer expires, and the other one is not", "[schedules]") {
  explore("steady_timer: cut short / expire", [](exploration& e) {
    endings cut;
    endings other;
    asio::cancellation_signal signal;
    shared_world w;
    explored_timer timer(w.context, 10ms);
    timer.async_wait(asio::bind_cancellation_slot(signal.slot(), cut.note()));
    timer.async_wait(other.note());
    w.pass(10ms);
    w.together(e,
               {w.run(), w.run(), w.beside([&] { signal.emit(asio::cancellation_type::total); })});
    e.expect(cut.aborted + cut.expired == 1, "the one that was cut short");
    e.expect(other.aborted == 0 && other.expired == 1, "the other one");
  });
}

TEST_CASE("Timers of two threads share a wheel, and neither sleeps too long", "[schedules]") {
  explore("steady_timer: wait / wait and cancel", [](exploration& e) {
    endings far_off;
    endings nearby;
    endings given_up;
    shared_world w;
    explored_timer one(w.context, 100ms);
    explored_timer other(w.context, 20ms);
    explored_timer third(w.context, 1h);
    w.together(e, {w.run(), w.beside([&] {
                     one.async_wait(far_off.note());
                     other.async_wait(nearby.note());
                   }),
                   w.beside([&] {
                     third.async_wait(given_up.note());
                     third.cancel();
                   })});
    e.expect(far_off.expired == 1 && far_off.at.load() == w.epoch + 100ms, "the far one");
    e.expect(nearby.expired == 1 && nearby.at.load() == w.epoch + 20ms, "the near one");
    e.expect(given_up.aborted == 1 && given_up.expired == 0, "the one that was given up");
    e.expect(explored_clock::now() == w.epoch + 100ms, "somebody waited for nothing");
  });
}
