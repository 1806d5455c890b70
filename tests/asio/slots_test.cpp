// SPDX-License-Identifier: MIT
//
// Two steps to a timer: a slot, whose id is known before there is a callback, and a task that is
// scheduled in it. What is refused leaves slot, task and wheel as they were.

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::missed_periods;
using kestrel::timer_kind;
using kestrel::timer_slot;
using kestrel::timer_task;

static_assert(std::movable<timer_slot> && !std::copyable<timer_slot>);
static_assert(std::is_nothrow_move_constructible_v<timer_slot>);
static_assert(std::is_nothrow_move_assignable_v<timer_slot>);
static_assert(std::movable<timer_task> && !std::copyable<timer_task>);
static_assert(std::is_nothrow_move_constructible_v<timer_task>);

// ---- The id first

TEST_CASE_METHOD(one_wheel, "A callback may hold the id of its own timer", "[slots]") {
  journal ran;
  auto slot = wheel.allocate();
  const auto id = slot.id();
  CHECK(id);
  bool ended = false;
  SECTION("and end a periodic timer with it") {
    wheel.schedule(std::move(slot),
                   timer_task::periodic(10ms, 10ms, [&, note = ran.note(1)]() mutable {
                     note();
                     if (ran.size() == 3)
                       ended = wheel.cancel(id);
                   }));
    pass(io, 100ms);
    CHECK(ran == journal{{1, 10ms}, {1, 20ms}, {1, 30ms}});
    CHECK(ended);
  }
  SECTION("though it is move-only") {
    wheel.schedule(
        std::move(slot),
        timer_task::one_shot(15ms, [&, id, p = std::make_unique<int>(7)](kestrel::timer_id told) {
          ended = told == id && *p == 7;
        }));
    pass(io, 20ms);
    CHECK(ended);
  }
  SECTION("and run on a strand") {
    const auto strand = asio::make_strand(io);
    wheel.schedule(
        std::move(slot),
        timer_task::one_shot(15ms, asio::bind_executor(strand, [&](kestrel::timer_id told) {
                               ended = told == id && strand.running_in_this_thread();
                             })));
    pass(io, 20ms);
    CHECK(ended);
  }
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "The timer has the id of its slot, which is empty afterwards",
                 "[slots]") {
  auto slot = wheel.allocate();
  CHECK(slot);
  const auto id = slot.id();
  const auto handle = wheel.schedule(std::move(slot), timer_task::one_shot(15ms));
  CHECK_FALSE(slot);
  CHECK(slot.id() == kestrel::timer_id());
  CHECK(handle.id() == id);
  CHECK(wheel.size() == 1);
  CHECK(wheel.expiry(id) == manual_clock::start + 15ms);
  slot = {};
  CHECK(wheel.size() == 1);
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_wheel, "A delay counts from scheduling the task, not from allocating its slot",
                 "[slots]") {
  journal ran;
  auto slot = wheel.allocate();
  auto task = timer_task::one_shot(15ms, ran.note(1));
  stall(io, 1h);
  wheel.schedule(std::move(slot), std::move(task));
  pass(io, 30ms);
  CHECK(ran == journal{{1, 1h + 20ms}});
}

TEST_CASE_METHOD(one_wheel, "Timers of one tick fire in the order of scheduling, not of allocation",
                 "[slots]") {
  journal ran;
  auto slots = wheel.allocate(10);
  for (int i = 9; i >= 0; --i)
    wheel.schedule(std::move(slots[static_cast<std::size_t>(i)]),
                   timer_task::one_shot(10ms, ran.note(i)));
  stall(io, 10ms);
  CHECK(ran.labels() == std::vector{9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
}

TEST_CASE_METHOD(one_wheel, "Slots may be allocated, used and dropped inside a callback",
                 "[slots]") {
  journal ran;
  std::optional<timer_slot> kept(wheel.allocate());
  wheel.schedule_after(10ms, [&] {
    auto dropped = wheel.allocate();
    wheel.schedule(std::move(*kept), timer_task::one_shot(10ms, ran.note(1)));
    wheel.schedule(wheel.allocate(), timer_task::one_shot(20ms, ran.note(2)));
    kept.reset();
  });
  pass(io, 50ms);
  CHECK(ran == journal{{1, 20ms}, {2, 30ms}});
  CHECK(wheel.empty());
}

TEST_CASE("A callback may own a slot of its wheel", "[slots]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  auto timer = wheel->schedule_after(10ms, [slot = wheel->allocate()] { CHECK(slot); });
  SECTION("when it fires") { stall(io, 10ms); }
  SECTION("when it is cancelled") { CHECK(wheel->cancel(timer)); }
  SECTION("when the wheel is destroyed") { wheel.reset(); }
  SECTION("when the wheel is shut down") { wheel->shutdown(); }
  CHECK(checked_mutex::take_violations() == 0);
}

// ---- Before it is used

TEST_CASE_METHOD(one_wheel, "Until it is used, the id of a slot names no timer", "[slots]") {
  journal ran;
  wheel.schedule_after(10ms, ran.note(0));
  auto used_before = wheel.schedule_after(20ms, [] {});
  wheel.cancel(used_before);
  auto slots = wheel.allocate(2); // one was never used, one was
  for (const timer_slot& slot : slots) {
    const auto id = slot.id();
    CHECK_FALSE(wheel.cancel(id));
    CHECK_FALSE(wheel.postpone(id, 1s));
    CHECK_FALSE(wheel.postpone(id, 1s, ran.note(1)));
    CHECK_FALSE(wheel.postpone_at(id, manual_clock::now()));
    CHECK_FALSE(wheel.expiry(id));
    CHECK(wheel.cancel(std::vector{id}) == 0);
    CHECK(wheel.postpone(std::vector{std::pair(id, 1ms)}) == 0);
    auto handle = wheel.handle(id);
    CHECK_FALSE(handle.cancel());
    CHECK_FALSE(handle.postpone(1ms));
    CHECK_FALSE(handle.expiry());
    std::optional<std::error_code> waited;
    wheel.async_wait(id, [&](asio::error_code e, kestrel::completion) { waited = e; });
    settle(io);
    CHECK(waited == kestrel::make_error_code(kestrel::errc::no_such_timer));
  }
  CHECK(wheel.size() == 1);
  CHECK(wheel.stats().live == 1);
  CHECK(wheel.stats().scheduled == 2);
  stall(io, 10ms);
  CHECK(ran == journal{{0, 10ms}});
  CHECK(wheel.empty());
  CHECK(out_of_work(io)); // nothing waits for a slot
  // And after all that, it is as good as new.
  for (timer_slot& slot : slots)
    wheel.schedule(std::move(slot), timer_task::one_shot(10ms, ran.note(2)));
  stall(io, 10ms);
  CHECK(ran == journal{{0, 10ms}, {2, 20ms}, {2, 20ms}});
}

TEST_CASE_METHOD(one_wheel, "A million slots that are never used leave memory as it was",
                 "[slots][memory]") {
  const bool in_a_used_wheel = GENERATE(false, true);
  if (in_a_used_wheel) {
    for (int i = 0; i != 1000; ++i)
      wheel.schedule_after(10ms, [] {});
    stall(io, 10ms);
  }
  { const auto warm_up = wheel.allocate(); }
  const auto memory = wheel.stats().memory;
  const auto capacity = wheel.stats().capacity;
  for (int i = 0; i != 1'000'000; ++i) {
    if (!wheel.allocate())
      FAIL("is empty");
  }
  CHECK(wheel.stats().memory == memory);
  CHECK(wheel.stats().capacity == capacity);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A slot that was dropped is the next to be allocated", "[slots]") {
  auto first = wheel.allocate();
  auto second = wheel.allocate();
  const auto index = first.id().index();
  SECTION("out of scope") { const timer_slot gone = std::move(first); }
  SECTION("by assigning to it") { first = timer_slot(); }
  SECTION("by assigning another to it") {
    const auto id = second.id();
    first = std::move(second);
    CHECK(first.id() == id);
    CHECK_FALSE(second);
  }
  CHECK(wheel.allocate().id().index() == index);
  CHECK(wheel.schedule_after(10ms, [] {}).index() == index);
}

TEST_CASE_METHOD(one_wheel, "Slots in use, dropped and fired do not get into each other's way",
                 "[slots]") {
  // Whatever is allocated, the live ids differ and each timer runs once, under its own id.
  std::vector<timer_slot> idle;
  std::size_t scheduled = 0;
  std::size_t fired = 0;
  std::size_t wrong = 0;
  std::uint64_t random = 12345;
  const auto next = [&](std::uint64_t n) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % n;
  };
  for (int step = 0; step != 20'000; ++step) {
    switch (next(4)) {
    case 0:
    case 1:
      idle.push_back(wheel.allocate());
      break;
    case 2:
      if (!idle.empty()) {
        std::swap(idle[next(idle.size())], idle.back());
        const auto id = idle.back().id();
        wheel.schedule(std::move(idle.back()),
                       timer_task::one_shot(next(100) * 1ms, [&, id](kestrel::timer_id told) {
                         ++fired;
                         wrong += told != id;
                       }));
        idle.pop_back();
        ++scheduled;
      }
      break;
    case 3:
      if (!idle.empty()) {
        std::swap(idle[next(idle.size())], idle.back());
        idle.pop_back();
      }
      break;
    }
    if (step % 100 == 0) {
      std::set<kestrel::timer_id> ids;
      for (const timer_slot& slot : idle)
        ids.insert(slot.id());
      wrong += ids.size() != idle.size();
      stall(io, 10ms);
    }
  }
  stall(io, 1s);
  CHECK(wrong == 0);
  CHECK(fired == scheduled);
  CHECK(wheel.empty());
}

// Someone may still hold the id of a slot that was dropped: ids never alias.
TEST_CASE_METHOD(one_wheel, "The id of a dropped slot never names another timer", "[slots][ids]") {
  kestrel::timer_id dropped;
  const bool used_before = GENERATE(false, true);
  if (used_before)
    wheel.cancel(wheel.schedule_after(1s, [] {}));
  {
    const auto slot = wheel.allocate();
    dropped = slot.id();
  }
  const auto next = wheel.schedule_after(10ms, [] {});
  CHECK(next != dropped);
  CHECK_FALSE(wheel.cancel(dropped));
  CHECK(wheel.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "Several slots are allocated at once", "[slots]") {
  CHECK(wheel.allocate(0).empty());
  const auto n = GENERATE(as<std::size_t>{}, 1, 2, 511, 512, 513, 5000);
  auto slots = wheel.allocate(n);
  REQUIRE(slots.size() == n);
  std::set<kestrel::timer_id> ids;
  for (const timer_slot& slot : slots) {
    CHECK(slot);
    ids.insert(slot.id());
  }
  CHECK(ids.size() == n);
  CHECK(wheel.empty());
  std::size_t ran = 0;
  for (timer_slot& slot : slots)
    wheel.schedule(std::move(slot), timer_task::one_shot(10ms, [&ran] { ++ran; }));
  CHECK(wheel.size() == n);
  stall(io, 10ms);
  CHECK(ran == n);
}

// ---- What is refused

TEST_CASE_METHOD(one_wheel, "More slots than a wheel can have are refused, before any is made",
                 "[slots]") {
  const auto slot = wheel.allocate();
  const auto memory = wheel.stats().memory;
  const auto n = GENERATE(as<std::size_t>{}, (std::size_t{1} << 30) + 1,
                          std::numeric_limits<std::size_t>::max() / sizeof(timer_slot) + 1,
                          std::numeric_limits<std::size_t>::max());
  CHECK(error_of([&] { (void)wheel.allocate(n); }) == kestrel::errc::too_many_timers);
  CHECK(message_of([&] { (void)wheel.allocate(n); }).find("timers = " + std::to_string(n)) == 0);
  CHECK(wheel.stats().memory == memory);
  CHECK(wheel.allocate(3).size() == 3);
}

TEST_CASE_METHOD(one_wheel, "A slot that is empty is refused, and the task keeps its callable",
                 "[slots]") {
  journal ran;
  manual_wheel other{io};
  timer_slot slot;
  SECTION("default-made") {}
  SECTION("used") {
    slot = wheel.allocate();
    wheel.cancel(wheel.schedule(std::move(slot), timer_task::one_shot(1h)).id());
  }
  SECTION("moved from") {
    slot = wheel.allocate();
    const timer_slot taken = std::move(slot);
  }
  SECTION("another wheel's, and used there") {
    slot = other.allocate();
    other.schedule(std::move(slot), timer_task::one_shot(1h));
  }
  CHECK_FALSE(slot);
  CHECK(slot.id() == kestrel::timer_id());
  const auto stats = wheel.stats();
  auto task = timer_task::periodic(10ms, 20ms, ran.note(1));
  CHECK(error_of([&] { wheel.schedule(std::move(slot), std::move(task)); }) ==
        kestrel::errc::invalid_slot);
  CHECK_FALSE(slot);
  CHECK(wheel.empty());
  CHECK(wheel.stats().scheduled == stats.scheduled);
  CHECK(wheel.stats().memory == stats.memory);
  CHECK(task.type() == timer_kind::periodic);
  CHECK(task.delay() == 10ms);
  CHECK(task.interval() == std::chrono::nanoseconds(20ms));
  wheel.schedule(wheel.allocate(), std::move(task));
  pass(io, 40ms);
  CHECK(ran == journal{{1, 10ms}, {1, 30ms}});
}

TEST_CASE_METHOD(one_wheel, "A slot of another wheel is refused, and nothing has changed",
                 "[slots]") {
  journal ran;
  manual_wheel other{io};
  auto slot = other.allocate();
  const auto id = slot.id();
  const auto own = wheel.allocate(); // its index is that of the other's
  CHECK(own.id().index() == id.index());
  auto task = timer_task::one_shot(10ms, ran.note(1));
  CHECK(error_of([&] { wheel.schedule(std::move(slot), std::move(task)); }) ==
        kestrel::errc::invalid_slot);
  CHECK(slot);
  CHECK(slot.id() == id);
  CHECK(wheel.empty());
  CHECK(other.empty());
  CHECK(out_of_work(io));
  CHECK(other.schedule(std::move(slot), std::move(task)).id() == id);
  CHECK(other.size() == 1);
  CHECK(wheel.empty());
  stall(io, 10ms);
  CHECK(ran == journal{{1, 10ms}});
}

TEST_CASE("A slot may outlive its wheel", "[slots][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel(std::in_place, *io);
  journal ran;
  auto slot = wheel->allocate();
  const auto id = slot.id();
  auto slots = wheel->allocate(600);
  SECTION("destroyed") {
    wheel.reset();
    SECTION("with the context") { io.reset(); }
    SECTION("while another takes its place") {
      wheel.emplace(*io);
      auto task = timer_task::one_shot(10ms, ran.note(1));
      CHECK(error_of([&] { wheel->schedule(std::move(slot), std::move(task)); }) ==
            kestrel::errc::invalid_slot);
      wheel->schedule(std::move(task));
      stall(*io, 10ms);
      CHECK(ran == journal{{1, 10ms}});
    }
  }
  SECTION("shut down") { wheel->shutdown(); }
  SECTION("whose context is gone") { io.reset(); }
  CHECK(slot);
  CHECK(slot.id() == id);
  timer_slot moved = std::move(slot);
  CHECK(moved.id() == id);
  slots[3] = std::move(moved);
  slots.clear();
}

TEST_CASE("After shutdown, neither slots nor tasks are taken, and they are unharmed",
          "[slots][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  manual_wheel wheel{*io};
  auto slot = wheel.allocate();
  const auto id = slot.id();
  if (GENERATE(false, true))
    wheel.shutdown();
  else
    io.reset();
  journal ran;
  auto task =
      timer_task::one_shot(10ms, [note = ran.note(1), big = std::vector{1, 2, 3}]() mutable {
        CHECK(big.size() == 3);
        note();
      });
  CHECK(error_of([&] { wheel.schedule(std::move(slot), std::move(task)); }) ==
        kestrel::errc::shut_down);
  CHECK(error_of([&] { wheel.schedule(std::move(task)); }) == kestrel::errc::shut_down);
  CHECK(slot.id() == id);
  CHECK(error_of([&] { static_cast<void>(wheel.allocate()); }) == kestrel::errc::shut_down);
  CHECK(error_of([&] { static_cast<void>(wheel.allocate(3)); }) == kestrel::errc::shut_down);
  CHECK(wheel.empty());
  asio::io_context other_io;
  manual_wheel other{other_io};
  other.schedule(std::move(task));
  stall(other_io, 10ms);
  CHECK(ran == journal{{1, 10ms}});
}

// ---- Tasks

TEST_CASE("A task tells what it is", "[tasks]") {
  const auto once = timer_task::one_shot(1500ms, [] {});
  CHECK(once.type() == timer_kind::one_shot);
  CHECK(once.delay() == 1500ms);
  CHECK_FALSE(once.interval());
  auto often = timer_task::periodic(0s, 15ms, [] {});
  CHECK(often.type() == timer_kind::periodic);
  CHECK(often.delay() == 0s);
  CHECK(often.interval() == std::chrono::nanoseconds(15ms));
  const auto moved = std::move(often);
  CHECK(moved.type() == timer_kind::periodic);
  CHECK(moved.interval() == std::chrono::nanoseconds(15ms));
}

TEST_CASE("A task's durations are kept in nanoseconds, rounded up, and saturate", "[tasks]") {
  using std::chrono::duration;
  using ns = std::chrono::nanoseconds;
  CHECK(timer_task::one_shot(duration<double, std::nano>(0.1)).delay() == 1ns);
  CHECK(timer_task::one_shot(duration<double>(1.5)).delay() == 1500ms);
  CHECK(timer_task::one_shot(-1h).delay() == -1h);
  CHECK(timer_task::one_shot(std::chrono::hours::max()).delay() == ns::max());
  CHECK(timer_task::one_shot(std::chrono::hours::min()).delay() == ns::min());
  CHECK(timer_task::one_shot(duration<double>(std::numeric_limits<double>::infinity())).delay() ==
        ns::max());
  CHECK(timer_task::periodic(1s, std::chrono::hours::max()).interval() == ns::max());
  CHECK(timer_task::periodic(1s, duration<double, std::nano>(0.5)).interval() == 1ns);
}

TEST_CASE("A task with an impossible time, or an empty callable, is refused", "[tasks]") {
  using kestrel::errc;
  using std::chrono::duration;
  const duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  const duration<double> infinite(std::numeric_limits<double>::infinity());
  const auto once = [](auto delay) {
    return error_of([&] { static_cast<void>(timer_task::one_shot(delay, [] {})); });
  };
  const auto often = [](auto initial, auto interval) {
    return error_of([&] { static_cast<void>(timer_task::periodic(initial, interval, [] {})); });
  };
  CHECK(once(nan) == errc::invalid_delay);
  CHECK_FALSE(once(0s));
  CHECK_FALSE(once(-1s));
  CHECK_FALSE(once(-infinite));
  CHECK(often(nan, 1s) == errc::invalid_delay);
  CHECK(often(1s, 0s) == errc::invalid_interval);
  CHECK(often(1s, -1ns) == errc::invalid_interval);
  CHECK(often(1s, nan) == errc::invalid_interval);
  CHECK(often(1s, -infinite) == errc::invalid_interval);
  CHECK(often(1s, duration<double>(-0.0)) == errc::invalid_interval);
  CHECK_FALSE(often(-1s, 1ns));
  CHECK_FALSE(often(0s, infinite));

  const std::function<void()> empty;
  void (*null)() = nullptr;
  CHECK(error_of([&] { static_cast<void>(timer_task::one_shot(1s, empty)); }) ==
        errc::invalid_callback);
  CHECK(error_of([&] { static_cast<void>(timer_task::periodic(1s, 1s, null)); }) ==
        errc::invalid_callback);
}

TEST_CASE_METHOD(one_wheel, "A task of zero or negative delay is due at once, but not inline",
                 "[tasks]") {
  journal ran;
  stall(io, 15ms);
  wheel.schedule(timer_task::one_shot(0s, ran.note(1)));
  wheel.schedule(timer_task::one_shot(std::chrono::hours::min(), ran.note(2)));
  wheel.schedule(wheel.allocate(), timer_task::one_shot(-1ns, ran.note(3)));
  CHECK(ran.empty());
  settle(io);
  CHECK(ran == journal{{1, 15ms}, {2, 15ms}, {3, 15ms}});
}

TEST_CASE_METHOD(one_wheel, "A task needs no callback", "[tasks]") {
  auto once = wheel.schedule(timer_task::one_shot(10ms));
  auto often = wheel.schedule(wheel.allocate(), timer_task::periodic(10ms, 10ms));
  std::vector<kestrel::completion> notices;
  once.async_wait([&](asio::error_code, kestrel::completion c) { notices.push_back(c); });
  CHECK(wheel.size() == 2);
  pass(io, 50ms);
  CHECK(notices.size() == 1);
  CHECK(wheel.stats().fired == 6);
  CHECK_FALSE(once.cancel());
  CHECK(often.cancel());
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A task that is never scheduled destroys its callable", "[tasks]") {
  const auto alive = std::make_shared<int>();
  {
    const auto task = timer_task::one_shot(10ms, [alive] {});
    CHECK(alive.use_count() == 2);
    auto scheduled = timer_task::one_shot(10ms, [alive] {});
    wheel.schedule(std::move(scheduled));
    CHECK(alive.use_count() == 3);
  }
  CHECK(alive.use_count() == 2);
  stall(io, 10ms);
  CHECK(alive.use_count() == 1);
}

TEST_CASE_METHOD(one_wheel, "A task runs on any wheel, and may outlive the one it was meant for",
                 "[tasks][lifetimes]") {
  journal ran;
  std::optional<timer_task> task;
  {
    manual_wheel gone{io};
    const auto slot = gone.allocate();
    task.emplace(timer_task::one_shot(
        10ms, [note = ran.note(1), p = std::make_unique<int>()]() mutable { note(); }));
  }
  wheel.schedule(std::move(*task));
  stall(io, 10ms);
  CHECK(ran == journal{{1, 10ms}});
}

TEST_CASE_METHOD(one_wheel, "A task that was scheduled before has nothing left to call",
                 "[tasks]") {
  journal ran;
  auto task = timer_task::one_shot(10ms, ran.note(1));
  wheel.schedule(std::move(task));
  auto slot = wheel.allocate();
  CHECK(error_of([&] { wheel.schedule(std::move(task)); }) == kestrel::errc::invalid_callback);
  CHECK(error_of([&] { wheel.schedule(std::move(slot), std::move(task)); }) ==
        kestrel::errc::invalid_callback);
  CHECK(slot);
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::one_shot(10ms, ran.note(2)));
  tasks.push_back(std::move(task));
  CHECK(error_of([&] { wheel.schedule(tasks); }) == kestrel::errc::invalid_callback);
  CHECK(wheel.size() == 1);
  tasks.pop_back();
  wheel.schedule(tasks);
  stall(io, 10ms);
  CHECK(ran.labels() == std::vector{1, 2});
}
