// SPDX-License-Identifier: MIT
//
// handle.async_wait and wheel.async_wait(id): each firing and each cancellation is told, after it
// has happened, to everyone who asks, and to each of them once.

#include "manual_clock.hpp"
#include "notices.hpp"

#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::completion;
using kestrel::timer_task;

namespace {

using handle = manual_wheel::handle_type;

/// The error of a wait whose handler has no executor but the wheel's, which may be gone: then it
/// runs on a thread of the system's. The error is handed over as a value: when two threads let go
/// of an exception, the thread sanitizer does not see what orders them.
asio::error_code error_of_wait(handle& timer) {
  std::promise<asio::error_code> told;
  std::future<asio::error_code> error = told.get_future();
  timer.async_wait(
      [told = std::move(told)](asio::error_code ec, completion) mutable { told.set_value(ec); });
  return error.get();
}

} // namespace

// ---- Timers that fire once

TEST_CASE_METHOD(one_wheel, "A wait is told of a firing when the callback has run", "[notices]") {
  std::vector<std::string> order;
  auto timer = wheel.schedule(timer_task::one_shot(15ms, [&] { order.emplace_back("callback"); }));
  timer.async_wait([&](asio::error_code ec, completion c) {
    CHECK_FALSE(ec);
    CHECK(c == completion::fired);
    CHECK(c.count() == 1);
    order.emplace_back("notice");
  });
  pass(io, 10ms);
  CHECK(order.empty());
  pass(io, 10ms);
  CHECK(order == std::vector<std::string>{"callback", "notice"});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A wait is told of a firing whose callback throws", "[notices]") {
  const bool periodic = GENERATE(false, true);
  const auto f = [] { throw std::runtime_error("callback"); };
  auto timer = wheel.schedule(periodic ? timer_task::periodic(10ms, 10ms, f)
                                       : timer_task::one_shot(10ms, f));
  notices told;
  timer.async_wait(told.note());
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(told == notices{fired()});
  timer.cancel();
  timer.async_wait(told.note());
  settle(io);
  CHECK(told.back() == (periodic ? cancelled : gone));
}

TEST_CASE_METHOD(one_wheel, "A timer without a callback is told of all the same", "[notices]") {
  auto once = wheel.schedule(timer_task::one_shot(10ms));
  auto often = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  once.async_wait(told.note());
  often.async_wait(told.note());
  stall(io, 10ms);
  CHECK(told == notices{fired(), fired()});
}

TEST_CASE_METHOD(one_wheel, "A wait is told of a firing on the callback's own executor",
                 "[notices]") {
  asio::io_context other;
  bool ran = false;
  auto timer =
      wheel.schedule(timer_task::one_shot(10ms, asio::bind_executor(other, [&] { ran = true; })));
  notices told;
  timer.async_wait(told.note());
  stall(io, 10ms);
  CHECK(told.empty());
  other.poll();
  CHECK(ran);
  settle(io);
  CHECK(told == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "A handler is never called by the function that starts its wait",
                 "[notices]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  auto stopped = wheel.schedule(timer_task::one_shot(10ms));
  stopped.cancel();
  stall(io, 10ms);
  notices told;
  handle none;
  asio::post(io, [&] { // in a thread that runs the context, where dispatch() would be inline
    timer.async_wait(told.note());
    stopped.async_wait(told.note());
    wheel.async_wait(timer.id(), told.note());
    none.async_wait(asio::bind_executor(io, told.note()));
    CHECK(told.empty());
  });
  settle(io);
  CHECK(told == notices{fired(), cancelled, gone, gone});
}

TEST_CASE_METHOD(one_wheel, "A firing is told once to a handle, whenever it begins to wait",
                 "[notices]") {
  notices told;
  const int when = GENERATE(0, 1, 2);
  std::optional<handle> timer;
  timer = wheel.schedule(timer_task::one_shot(10ms, [&] {
    if (when == 1)
      timer->async_wait(told.note());
    settle(io); // a notice that came too early would be told here
    CHECK(told.empty());
  }));
  if (when == 0)
    timer->async_wait(told.note());
  stall(io, 10ms);
  if (when == 2) {
    stall(io, 1h);
    timer->async_wait(told.note());
    settle(io);
  }
  CHECK(told == notices{fired()});
  for (int i = 0; i != 3; ++i) {
    timer->async_wait(told.note());
    settle(io);
  }
  CHECK(told == notices{fired(), gone, gone, gone});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "There is no waiting for an id that names no timer", "[notices]") {
  notices told;
  SECTION("a default-made one") { wheel.async_wait({}, told.note()); }
  SECTION("one that was never given out") {
    wheel.async_wait(kestrel::timer_id::from_value((std::uint64_t{7} << 32) | 4711), told.note());
  }
  SECTION("one that has fired") {
    const auto id = wheel.schedule_after(10ms, [] {});
    stall(io, 10ms);
    wheel.async_wait(id, told.note());
  }
  SECTION("one that is firing") {
    wheel.schedule_after(10ms, [&](kestrel::timer_id id) { wheel.async_wait(id, told.note()); });
    stall(io, 10ms);
  }
  SECTION("one that was cancelled") {
    const auto id = wheel.schedule_after(10ms, [] {});
    wheel.cancel(id);
    wheel.schedule_after(10ms, [] {}); // in the same slot
    wheel.async_wait(id, told.note());
  }
  SECTION("one that was told of before") {
    const auto id = wheel.schedule_after(10ms, [] {});
    notices first;
    wheel.async_wait(id, first.note());
    stall(io, 10ms);
    CHECK(first == notices{fired()});
    wheel.async_wait(id, told.note());
  }
  SECTION("a slot without a timer") {
    const auto slot = wheel.allocate();
    wheel.async_wait(slot.id(), told.note());
    settle(io);
  }
  SECTION("a handle of it") { wheel.handle({}).async_wait(told.note()); }
  CHECK(told.size() <= 1);
  settle(io);
  CHECK(told == notices{gone});
}

TEST_CASE_METHOD(one_wheel, "A handle that names no timer cannot wait", "[notices]") {
  handle none;
  if (GENERATE(false, true)) { // one that was moved from
    none = wheel.schedule(timer_task::one_shot(10ms));
    const handle taken(std::move(none));
    CHECK(taken);
  }
  notices told;
  none.async_wait(asio::bind_executor(io, told.note()));
  settle(io);
  CHECK(told == notices{gone});
  CHECK(error_of_wait(none) == kestrel::errc::no_such_timer);
}

TEST_CASE_METHOD(one_wheel, "Waits for a timer that was scheduled without a handle", "[notices]") {
  notices told;
  const auto id = wheel.schedule_after(10ms, [] {});
  SECTION("by its id") { wheel.async_wait(id, told.note()); }
  SECTION("by a handle made from its id") { wheel.handle(id).async_wait(told.note()); }
  SECTION("by a handle that is gone by then") {
    std::optional<handle> timer(wheel.handle(id));
    timer->async_wait(told.note());
    timer.reset();
  }
  stall(io, 10ms);
  CHECK(told == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "Timers of one slot are told apart", "[notices]") {
  notices first;
  notices second;
  auto a = wheel.schedule(timer_task::one_shot(10ms));
  a.async_wait(first.note());
  stall(io, 10ms);
  auto b = wheel.schedule(timer_task::one_shot(10ms));
  REQUIRE(a.id().index() == b.id().index());
  b.async_wait(second.note());
  a.async_wait(first.note());
  stall(io, 10ms);
  CHECK(first == notices{fired(), gone});
  CHECK(second == notices{fired()});
}

// ---- Cancelled

TEST_CASE_METHOD(one_wheel, "A cancellation is told once, without an error", "[notices]") {
  const bool periodic = GENERATE(false, true);
  auto timer =
      wheel.schedule(periodic ? timer_task::periodic(10ms, 10ms) : timer_task::one_shot(10ms));
  notices told;
  SECTION("before the first wait") {
    CHECK(timer.cancel());
    timer.async_wait(told.note());
  }
  SECTION("long before the first wait") {
    CHECK(timer.cancel());
    stall(io, 1h);
    timer.async_wait(told.note());
  }
  SECTION("while it waits") {
    timer.async_wait(told.note());
    settle(io);
    CHECK(wheel.cancel(timer.id()));
    CHECK(told.empty());
  }
  SECTION("in a batch") {
    timer.async_wait(told.note());
    CHECK(wheel.cancel(std::array{timer.id()}) == 1);
  }
  SECTION("when it is due") {
    timer.async_wait(told.note());
    manual_clock::advance(10ms);
    CHECK(timer.cancel());
  }
  settle(io);
  CHECK(told == notices{cancelled});
  CHECK_FALSE(timer.cancel());
  timer.async_wait(told.note());
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{cancelled, gone, gone});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A cancellation between two waits is kept, and so are the firings",
                 "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  timer.async_wait(told.note());
  pass(io, 10ms);
  const bool fires_again = GENERATE(false, true);
  if (fires_again)
    pass(io, 30ms);
  CHECK(timer.cancel());
  for (int i = 0; i != 3; ++i) {
    timer.async_wait(told.note());
    settle(io);
  }
  if (fires_again)
    CHECK(told == notices{fired(), fired(3), cancelled, gone});
  else
    CHECK(told == notices{fired(), cancelled, gone, gone});
}

TEST_CASE_METHOD(one_wheel, "A periodic timer that is cancelled by its callback has fired first",
                 "[notices]") {
  int ran = 0;
  const bool own = GENERATE(false, true);
  const auto f = [&](kestrel::timer_id id) {
    if (++ran == 3) {
      CHECK(wheel.cancel(id));
      settle(io); // a notice that came too early would be told here
    }
  };
  reader timer(wheel.schedule(own ? timer_task::periodic(10ms, 10ms, asio::bind_executor(io, f))
                                  : timer_task::periodic(10ms, 10ms, f)));
  pass(io, 100ms);
  CHECK(timer.told == notices{fired(), fired(), fired(), cancelled, gone});
}

TEST_CASE_METHOD(one_wheel, "While a callback runs that has cancelled its timer, a wait is put off",
                 "[notices]") {
  notices told;
  std::optional<handle> timer;
  timer = wheel.schedule(timer_task::periodic(10ms, 10ms, [&] {
    timer->cancel();
    timer->async_wait(told.note());
    settle(io);
    CHECK(told.empty());
  }));
  stall(io, 10ms);
  CHECK(told == notices{fired()});
  timer->async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(), cancelled});
}

TEST_CASE_METHOD(one_wheel, "A timer that cancels itself and throws has fired and was cancelled",
                 "[notices]") {
  reader timer(wheel.schedule(timer_task::periodic(10ms, 10ms, [&](kestrel::timer_id id) {
    wheel.cancel(id);
    throw std::runtime_error("callback");
  })));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(timer.told == notices{fired(), cancelled, gone});
}

TEST_CASE_METHOD(one_wheel, "A scoped timer that goes away tells those who wait", "[notices]") {
  notices told;
  {
    kestrel::basic_scoped_timer<manual_clock> timer(wheel.schedule(timer_task::one_shot(10ms)));
    timer.async_wait(told.note());
  }
  settle(io);
  CHECK(told == notices{cancelled});
}

TEST_CASE_METHOD(one_wheel, "Many waits end when their timers are cancelled", "[notices]") {
  std::vector<handle> timers;
  notices told;
  for (int i = 0; i != 1000; ++i) {
    timers.push_back(wheel.schedule(timer_task::one_shot(1h)));
    timers.back().async_wait(told.note());
  }
  std::size_t cancelled_now = 0;
  for (handle& t : timers)
    cancelled_now += t.cancel();
  CHECK(cancelled_now == 1000);
  settle(io);
  CHECK(told == notices(1000, cancelled));
  CHECK(out_of_work(io));
}

// ---- Postponed

TEST_CASE_METHOD(one_wheel, "A timer that is postponed keeps those who wait for it", "[notices]") {
  notices told;
  int ran = 0;
  int replaced = 0;
  auto timer = wheel.schedule(timer_task::one_shot(50ms, [&] { ++ran; }));
  const bool replace = GENERATE(false, true);
  const auto to = GENERATE(10ms, 50ms, 2000ms, 100'000ms);
  timer.async_wait(told.note());
  stall(io, 20ms);
  CHECK((replace ? timer.postpone(to, [&] { ++replaced; }) : timer.postpone(to)));
  stall(io, to - 1ns);
  CHECK(told.empty());
  stall(io, tick);
  CHECK(told == notices{fired()});
  CHECK(ran == !replace);
  CHECK(replaced == replace);
  CHECK_FALSE(timer.postpone(10ms));
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(), gone});
}

TEST_CASE_METHOD(one_wheel, "A timer that is postponed and then cancelled tells of it",
                 "[notices]") {
  notices told;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(told.note());
  manual_clock::advance(10ms); // due
  CHECK(timer.postpone(1s, [] {}));
  settle(io);
  CHECK(told.empty());
  CHECK(timer.cancel());
  settle(io);
  CHECK(told == notices{cancelled});
}

TEST_CASE_METHOD(one_wheel, "A periodic timer keeps its readers when its callback is replaced",
                 "[notices]") {
  int replaced = 0;
  std::optional<handle> timer;
  timer = wheel.schedule(timer_task::periodic(
      10ms, 10ms, [&] { CHECK(timer->postpone(20ms, [&replaced] { ++replaced; })); }));
  reader r(*timer);
  pass(io, 40ms);
  CHECK(replaced == 2);
  CHECK(r.told == notices{fired(), fired(), fired()});
  timer->cancel();
  settle(io);
  CHECK(r.told.back() == gone);
}

// ---- Timers that fire again and again

TEST_CASE_METHOD(one_wheel, "Each firing of a periodic timer is one notice", "[notices]") {
  journal ran;
  reader r(wheel.schedule(timer_task::periodic(15ms, 25ms, ran.note(1))));
  pass(io, 1s);
  CHECK(ran.size() == 40);
  CHECK(r.told == notices(40, fired()));
}

TEST_CASE_METHOD(one_wheel, "A slow reader is told how often the timer fired", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  pass(io, 50ms);
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(5)});
  timer.async_wait(told.note());
  settle(io);
  CHECK(told.size() == 1);
  pass(io, 70ms);
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(5), fired(), fired(6)});
}

TEST_CASE_METHOD(one_wheel, "Periods left out after a stall are no firings", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  auto all = wheel.schedule(timer_task::periodic(
      10ms, 10ms, [] {}, kestrel::missed_periods::catch_up));
  notices told;
  stall(io, 100ms);
  timer.async_wait(told.note());
  all.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(), fired(10)});
}

TEST_CASE_METHOD(one_wheel, "The counts of a reader add up to the firings", "[notices]") {
  std::mt19937_64 random(20240211);
  for (int round = 0; round != 50; ++round) {
    std::uint64_t ran = 0;
    const std::chrono::milliseconds first(random() % 30);
    const std::chrono::milliseconds interval(1 + random() % 30);
    auto timer = wheel.schedule(timer_task::periodic(first, interval, [&ran] { ++ran; }));
    std::uint64_t total = 0;
    int cancellations = 0;
    int errors = 0;
    int waiting = 0;
    const auto wait = [&] {
      ++waiting;
      timer.async_wait([&](asio::error_code ec, completion c) {
        --waiting;
        errors += ec == kestrel::errc::no_such_timer;
        if (!ec && c == completion::cancelled)
          ++cancellations;
        if (!ec && c == completion::fired)
          total += c.count();
      });
    };
    for (int step = 0; step != 100; ++step) {
      if (waiting == 0 && random() % 4 == 0)
        wait();
      if (random() % 10 == 0)
        timer.postpone(std::chrono::milliseconds(random() % 50));
      stall(io, std::chrono::milliseconds(random() % 20));
      if (waiting != 0)
        CHECK(total == ran);
    }
    CHECK(timer.cancel());
    settle(io);
    while (errors == 0) {
      if (waiting == 0)
        wait();
      settle(io);
    }
    CHECK(ran > 0);
    CHECK(total == ran);
    CHECK(cancellations == 1);
  }
}

TEST_CASE_METHOD(one_wheel, "Several waits of one handle all get the next notice", "[notices]") {
  const bool periodic = GENERATE(false, true);
  auto timer =
      wheel.schedule(periodic ? timer_task::periodic(10ms, 10ms) : timer_task::one_shot(10ms));
  notices told;
  for (int i = 0; i != 5; ++i)
    timer.async_wait(told.note());
  if (GENERATE(false, true)) {
    stall(io, 10ms);
    CHECK(told == notices(5, fired()));
    timer.async_wait(told.note());
    settle(io);
    CHECK(told.size() == (periodic ? 5 : 6));
  } else {
    timer.cancel();
    settle(io);
    CHECK(told == notices(5, cancelled));
    timer.async_wait(told.note());
    settle(io);
    CHECK(told.back() == gone);
  }
}

TEST_CASE_METHOD(one_wheel, "Those who wait are told in the order in which they came",
                 "[notices]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  std::vector<int> order;
  for (int i = 0; i != 5; ++i)
    timer.async_wait([&order, i](asio::error_code, completion) { order.push_back(i); });
  stall(io, 10ms);
  CHECK(order == std::vector{0, 1, 2, 3, 4});
}

TEST_CASE_METHOD(one_wheel, "A copy of a handle is a reader of its own", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  handle early(timer);
  notices told;
  notices told_early;
  notices told_late;
  pass(io, 20ms);
  timer.async_wait(told.note());
  settle(io);
  handle late(timer); // has been told what the original has been told
  pass(io, 10ms);
  late.async_wait(told_late.note());
  pass(io, 10ms);
  early.async_wait(told_early.note());
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(2), fired(2)});
  CHECK(told_late == notices{fired(1)});
  CHECK(told_early == notices{fired(4)});

  timer.cancel();
  early.async_wait(told_early.note());
  late.async_wait(told_late.note());
  late.async_wait(told_late.note()); // the firing it had not been told of, then the cancellation
  timer.async_wait(told.note());
  settle(io);
  CHECK(told.back() == cancelled);
  CHECK(told_early.back() == cancelled);
  CHECK(told_late == notices{fired(1), fired(1), cancelled});
  handle last(timer);
  last.async_wait(told.note());
  settle(io);
  CHECK(told.back() == gone);
}

TEST_CASE_METHOD(one_wheel, "A handle that was assigned waits for its new timer", "[notices]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  notices told;
  timer.async_wait(told.note());
  const auto other = wheel.schedule(timer_task::one_shot(20ms));
  if (GENERATE(false, true))
    timer = other;
  else
    timer = handle(other);
  timer.async_wait(told.note());
  stall(io, 10ms);
  CHECK(told == notices{fired()});
  stall(io, 10ms);
  CHECK(told == notices{fired(), fired()});
}

TEST_CASE_METHOD(one_wheel, "A handle that is moved goes on where it was", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  pass(io, 20ms);
  timer.async_wait(told.note());
  settle(io);
  handle moved(std::move(timer));
  moved.async_wait(told.note());
  handle again;
  again = std::move(moved); // while it waits
  pass(io, 20ms);
  again.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(2), fired(), fired()});
}

TEST_CASE_METHOD(one_wheel, "Waits by the id share one count", "[notices]") {
  const auto id = wheel.schedule_every(10ms, 10ms, [] {});
  notices a;
  notices b;
  pass(io, 30ms); // nobody has asked yet
  wheel.async_wait(id, a.note());
  wheel.async_wait(id, b.note());
  pass(io, 10ms);
  CHECK(a == notices{fired()});
  CHECK(b == notices{fired()});
  pass(io, 40ms);
  wheel.async_wait(id, a.note());
  wheel.async_wait(id, b.note()); // all has been told to `a`
  settle(io);
  CHECK(a == notices{fired(), fired(4)});
  CHECK(b == notices{fired()});
  wheel.cancel(id);
  settle(io);
  CHECK(b == notices{fired(), cancelled});
  wheel.async_wait(id, b.note());
  settle(io);
  CHECK(b.back() == gone);
}

TEST_CASE_METHOD(one_wheel, "Handles and waits by the id count for themselves", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices by_handle;
  notices by_id;
  wheel.async_wait(timer.id(), by_id.note());
  pass(io, 30ms);
  timer.async_wait(by_handle.note());
  wheel.async_wait(timer.id(), by_id.note());
  settle(io);
  CHECK(by_handle == notices{fired(3)});
  CHECK(by_id == notices{fired(), fired(2)});
}

TEST_CASE_METHOD(one_wheel, "A handle made from an id begins to count with its first wait",
                 "[notices]") {
  const bool watched = GENERATE(false, true); // does someone else wait for the timer already?
  const auto id = watched ? wheel.schedule(timer_task::periodic(10ms, 10ms)).id()
                          : wheel.schedule_every(10ms, 10ms, [] {});
  auto late = wheel.handle(id);
  notices told;
  pass(io, 50ms);
  late.async_wait(told.note());
  settle(io);
  CHECK(told.empty());
  pass(io, 10ms);
  CHECK(told == notices{fired()});
  pass(io, 30ms);
  late.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(), fired(3)});
}

TEST_CASE_METHOD(one_wheel, "A first wait by the id is for the next firing", "[notices]") {
  const bool watched = GENERATE(false, true);
  const auto id = watched ? wheel.schedule(timer_task::periodic(10ms, 10ms)).id()
                          : wheel.schedule_every(10ms, 10ms, [] {});
  notices told;
  pass(io, 50ms);
  wheel.async_wait(id, told.note());
  settle(io);
  CHECK(told.empty());
  pass(io, 10ms);
  CHECK(told == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "A notice may cancel, postpone and schedule, and wait again",
                 "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  timer.async_wait([&](asio::error_code, completion) {
    CHECK(timer.postpone(50ms));
    timer.async_wait([&](asio::error_code, completion) {
      told.push_back(fired());
      CHECK(timer.cancel());
      timer = wheel.schedule(timer_task::one_shot(10ms));
      timer.async_wait(told.note());
    });
  });
  pass(io, 50ms);
  CHECK(told.empty());
  pass(io, 10ms);
  CHECK(told == notices{fired()});
  pass(io, 10ms);
  CHECK(told == notices{fired(), fired()});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "What a handler throws leaves run(), and others are told",
                 "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  timer.async_wait([](asio::error_code, completion) { throw std::runtime_error("handler"); });
  timer.async_wait(told.note());
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  settle(io);
  CHECK(told == notices{fired()});
  timer.async_wait(told.note());
  pass(io, 10ms);
  CHECK(told == notices{fired(), fired()});
}

TEST_CASE("The next firing on another thread does not confuse the notices", "[notices][threads]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  std::atomic<bool> second_began{false};
  std::atomic<int> told{0};
  std::atomic<bool> too_late{false};
  const auto wait_for = [&](auto condition) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) {
        too_late = true;
        return;
      }
      std::this_thread::yield();
    }
  };
  // The first callback is replaced by the second while it runs. It is destroyed after the timer was
  // filed again, and does not come to an end before the second has begun.
  struct lingers {
    explicit lingers(std::function<void()> f) : at_end(std::move(f)) {}
    lingers(lingers&& other) noexcept : at_end(std::exchange(other.at_end, nullptr)) {}
    ~lingers() {
      if (at_end)
        at_end();
    }
    std::function<void()> at_end;
  };
  const auto second = [&](kestrel::timer_id id) {
    second_began = true;
    wait_for([&] { return told.load() >= 1; }); // of the first
    wheel.cancel(id);
    std::this_thread::sleep_for(10ms); // time for a notice to come too early
  };
  auto timer = wheel.schedule(
      timer_task::periodic(10ms, 10ms, [&, l = lingers([&] {
                                             wait_for([&] { return second_began.load(); });
                                           })](kestrel::timer_id id) {
        wheel.postpone(id, 10ms, second);
        manual_clock::advance(10ms);
      }));
  const auto strand = asio::make_strand(io);
  notices log;
  std::function<void()> read = [&] {
    timer.async_wait(asio::bind_executor(strand, [&](asio::error_code ec, completion c) {
      log.push_back({ec, c});
      ++told;
      if (!ec)
        read();
    }));
  };
  read();
  manual_clock::advance(10ms);
  std::thread another([&] { io.run(); });
  io.run();
  another.join();
  CHECK_FALSE(too_late);
  CHECK(log == notices{fired(), fired(), cancelled, gone});
}

// ---- The end of the wheel, and of its context

TEST_CASE("When the wheel ends, so do all waits", "[notices][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  notices told;
  auto once = wheel->schedule(timer_task::one_shot(50ms));
  auto often = wheel->schedule(timer_task::periodic(10ms, 10ms));
  const auto by_id = wheel->schedule_after(1h, [] {});
  auto copy = often;
  pass(io, 10ms);
  once.async_wait(told.note());
  often.async_wait(told.note()); // told of the first firing
  wheel->async_wait(by_id, told.note());
  wheel->handle(by_id).async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired()});
  told.clear();
  often.async_wait(told.note());
  SECTION("by shutdown()") { wheel->shutdown(); }
  SECTION("by its destructor") { wheel.reset(); }
  SECTION("from a callback") {
    wheel->schedule_after(1ms, [&] { wheel.reset(); });
    stall(io, 10ms);
    if (!told.empty() && told.front() == fired()) // the second firing came first
      told.erase(told.begin());
  }
  settle(io);
  CHECK(told.size() >= 3);
  for (const notice& n : told)
    CHECK(n == aborted);
  CHECK(out_of_work(io));

  told.clear();
  often.async_wait(asio::bind_executor(io, told.note()));
  once.async_wait(asio::bind_executor(io, told.note()));
  settle(io);
  CHECK(told.back() == aborted);
  CHECK_FALSE(once.cancel());
  CHECK_FALSE(once.postpone(1s));
  CHECK_FALSE(once.expiry());
  copy.async_wait(asio::bind_executor(io, told.note())); // what was told to the others, and is kept
  copy.async_wait(asio::bind_executor(io, told.note()));
  settle(io);
  CHECK(told.back() == aborted);
}

TEST_CASE_METHOD(one_wheel, "A wheel that ends in a callback lets that firing be told",
                 "[notices][lifetimes]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms, [&] { wheel.shutdown(); }));
  notices told;
  timer.async_wait(told.note());
  stall(io, 10ms);
  CHECK(told == notices{fired()});
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{fired(), gone});
}

TEST_CASE_METHOD(one_wheel, "After shutdown(), what was not told yet still is",
                 "[notices][lifetimes]") {
  auto fires = wheel.schedule(timer_task::one_shot(10ms));
  auto stopped = wheel.schedule(timer_task::one_shot(10ms));
  auto pending = wheel.schedule(timer_task::one_shot(1h));
  stopped.cancel();
  stall(io, 10ms);
  wheel.shutdown();
  notices told;
  for (handle* h : {&fires, &stopped, &pending}) {
    h->async_wait(told.note());
    settle(io);
    h->async_wait(told.note());
    settle(io);
  }
  CHECK(told == notices{fired(), gone, cancelled, gone, aborted, aborted});
  wheel.async_wait(pending.id(), told.note());
  wheel.handle(pending.id()).async_wait(told.note());
  settle(io);
  CHECK(told[6] == gone);
  CHECK(told[7] == gone);
}

TEST_CASE("A handler may own the wheel, and what it waits for", "[notices][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  struct session {
    explicit session(asio::io_context& context) : wheel{context} {}
    manual_wheel wheel;
    handle timer;
    notices told;
  };
  std::weak_ptr<session> watch;
  {
    const auto s = std::make_shared<session>(io);
    watch = s;
    s->timer = s->wheel.schedule(timer_task::periodic(10ms, 10ms));
    s->timer.async_wait([s](asio::error_code ec, completion c) { s->told.push_back({ec, c}); });
  }
  CHECK_FALSE(watch.expired());
  SECTION("until it is told") { stall(io, 10ms); }
  SECTION("until the wheel is shut down") {
    watch.lock()->wheel.shutdown();
    settle(io);
  }
  CHECK(watch.expired());
  CHECK(out_of_work(io));
}

TEST_CASE("When the context goes first, handlers are destroyed and not called",
          "[notices][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  asio::io_context other;
  std::optional<manual_wheel> wheel(std::in_place, *io);
  const auto alive = std::make_shared<int>();
  const auto handler = [alive](asio::error_code, completion) { FAIL("its context is gone"); };
  auto once = wheel->schedule(timer_task::one_shot(10ms));
  auto often = wheel->schedule(timer_task::periodic(10ms, 10ms));
  notices elsewhere;
  once.async_wait(handler);
  often.async_wait(handler);
  wheel->async_wait(often.id(), handler);
  often.async_wait(asio::bind_executor(asio::make_strand(*io), handler));
  often.async_wait(asio::bind_executor(other, elsewhere.note()));
  if (GENERATE(false, true)) { // due, but not told
    manual_clock::advance(10ms);
    io->poll_one();
  }
  const bool wheel_first = GENERATE(false, true);
  if (wheel_first)
    wheel.reset();
  io.reset();
  CHECK(alive.use_count() == 2); // with the one here
  other.run();
  REQUIRE(elsewhere.size() == 1);
  CHECK((elsewhere[0] == aborted || elsewhere[0] == fired()));

  once.async_wait(asio::bind_executor(other, elsewhere.note()));
  CHECK_FALSE(often.cancel());
  CHECK_FALSE(often.expiry());
  other.restart();
  other.run();
  CHECK(elsewhere.size() == 2);
  CHECK(elsewhere.back().error);
  CHECK(error_of_wait(once));
  if (wheel) {
    wheel->async_wait(often.id(), asio::bind_executor(other, elsewhere.note()));
    other.restart();
    other.run();
    CHECK(elsewhere.back() == gone);
  }
}

TEST_CASE("A handler that owns the wheel may be destroyed with the context",
          "[notices][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  auto wheel = std::make_shared<manual_wheel>(*io);
  const std::weak_ptr<manual_wheel> watch(wheel);
  auto timer = wheel->schedule(timer_task::one_shot(10ms));
  timer.async_wait([wheel, timer](asio::error_code, completion) { FAIL("its context is gone"); });
  wheel.reset();
  CHECK_FALSE(watch.expired());
  io.reset();
  CHECK(watch.expired());
}

TEST_CASE("A context that is stopped and restarted tells what it has to tell",
          "[notices][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  notices told;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  auto stopped = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(told.note());
  stopped.async_wait(told.note());
  io.stop();
  stopped.cancel();
  manual_clock::advance(10ms);
  CHECK(io.run() == 0);
  CHECK(told.empty());
  io.restart();
  io.run();
  CHECK(told == notices{cancelled, fired()});
}

// ---- The value

TEST_CASE("A completion compares, switches and prints by its names", "[notices]") {
  const auto name = [](completion c) {
    switch (c) {
    case completion::fired:
      return "fired";
    case completion::cancelled:
      return "cancelled";
    }
    return "neither";
  };
  const completion often(completion::fired, 3);
  const completion stopped = completion::cancelled;
  CHECK(name(often) == std::string("fired"));
  CHECK(name(stopped) == std::string("cancelled"));
  CHECK(often == completion::fired);
  CHECK(often != completion::cancelled);
  CHECK(stopped == completion::cancelled);
  CHECK(completion() == completion::fired);
  CHECK(completion(completion::fired).count() == 1);
  CHECK(often.count() == 3);
  CHECK(stopped.count() == 0);
  CHECK(completion(completion::cancelled, 7).count() == 0);
  std::ostringstream out;
  out << often << ' ' << stopped;
  CHECK(out.str() == "fired cancelled");
  std::wostringstream wide;
  wide << stopped;
  CHECK(wide.str() == L"cancelled");
  static_assert(completion(completion::fired, 2).count() == 2);
}

// ---- Without waiting

namespace {

/// As a notice, or `nothing_new`.
const notice nothing_new{asio::error::would_block, {}};

template <class Timer>
notice news_of(Timer& timer) {
  const std::optional<completion> news = timer.try_wait();
  return news ? notice{{}, *news} : nothing_new;
}

} // namespace

TEST_CASE_METHOD(one_wheel, "A handle may be asked for news without waiting", "[notices]") {
  notice end = nothing_new;
  handle timer;
  SECTION("once") {
    timer = wheel.schedule(timer_task::one_shot(10ms));
    CHECK(news_of(timer) == nothing_new);
    pass(io, 10ms);
    end = fired();
  }
  SECTION("a periodic timer, with a count") {
    timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
    CHECK(news_of(timer) == nothing_new);
    pass(io, 10ms);
    CHECK(news_of(timer) == fired());
    CHECK(news_of(timer) == nothing_new);
    pass(io, 30ms);
    CHECK(timer.cancel());
    CHECK(news_of(timer) == fired(3));
    end = cancelled;
  }
  SECTION("after a cancellation") {
    timer = wheel.schedule(timer_task::one_shot(10ms));
    CHECK(timer.cancel());
    end = cancelled;
  }
  SECTION("after the end of the wheel") {
    timer = wheel.schedule(timer_task::one_shot(10ms));
    wheel.shutdown();
  }
  SECTION("after it fired and the wheel ended") {
    timer = wheel.schedule(timer_task::one_shot(10ms));
    pass(io, 10ms);
    wheel.shutdown();
    end = fired();
  }
  SECTION("when no timer is named") {}
  CHECK(news_of(timer) == end);
  CHECK(news_of(timer) == nothing_new);
  CHECK(news_of(timer) == nothing_new);
}

TEST_CASE_METHOD(one_wheel, "News are told once, to a wait or without one", "[notices]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  auto copy = timer;
  notices told;
  timer.async_wait(told.note());
  CHECK(news_of(timer) == nothing_new);
  pass(io, 10ms);
  CHECK(told == notices{fired()});
  CHECK(news_of(timer) == nothing_new);
  pass(io, 20ms);
  CHECK(news_of(timer) == fired(2));
  timer.async_wait(told.note());
  settle(io);
  CHECK(told.size() == 1);
  CHECK(wheel.cancel(timer.id()));
  settle(io);
  CHECK(told == notices{fired(), cancelled});
  CHECK(news_of(timer) == nothing_new);
  CHECK(news_of(copy) == fired(3));
  CHECK(news_of(copy) == cancelled);
  CHECK(news_of(copy) == nothing_new);
}

TEST_CASE_METHOD(one_wheel, "A handle made from an id hears the news since it was first asked",
                 "[notices]") {
  const auto id = wheel.schedule_every(10ms, 10ms, [] {});
  pass(io, 20ms);
  auto timer = wheel.handle(id);
  pass(io, 20ms);
  CHECK(news_of(timer) == nothing_new);
  pass(io, 20ms);
  CHECK(news_of(timer) == fired(2));
  auto stale = wheel.handle({});
  CHECK(news_of(stale) == nothing_new);
}

TEST_CASE_METHOD(one_wheel, "There are no news of a firing before its callback has run",
                 "[notices]") {
  kestrel::basic_scoped_timer<manual_clock> timer;
  std::vector<notice> inside;
  timer = wheel.schedule(timer_task::one_shot(10ms, [&] { inside.push_back(news_of(timer)); }));
  pass(io, 10ms);
  CHECK(inside == std::vector{nothing_new});
  CHECK(news_of(timer) == fired());
}

// ---- What it costs

TEST_CASE_METHOD(one_wheel, "To wait for one timer costs the same however many there are",
                 "[notices]") {
  constexpr std::size_t n = 100'000;
  wheel.reserve(n);
  std::vector<kestrel::timer_id> ids(n);
  for (kestrel::timer_id& id : ids)
    id = wheel.schedule_after(1h, [] {});
  notices told;
  std::size_t before = wheel.stats().memory;
  for (const std::size_t i : {n / 2, n - 1, std::size_t{0}}) {
    wheel.async_wait(ids[i], told.note());
    const std::size_t after = wheel.stats().memory;
    CHECK(after - before < n / 4);
    before = after;
  }
  for (const std::size_t i : {std::size_t{0}, n - 1, n / 2})
    CHECK(wheel.cancel(ids[i]));
  settle(io);
  CHECK(told == notices{cancelled, cancelled, cancelled});
}
