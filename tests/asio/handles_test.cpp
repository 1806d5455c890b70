// SPDX-License-Identifier: MIT
//
// A handle does to its timer what the wheel would, for as long as someone keeps it: before, in and
// after the callback, and after the wheel. A scoped_timer cancels at the end of its scope.

#include "error_of.hpp"
#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <chrono>
#include <concepts>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using kestrel::timer_task;

namespace {

using handle = manual_wheel::handle_type;
using scoped = kestrel::basic_scoped_timer<manual_clock>;

static_assert(std::default_initializable<handle> && std::copyable<handle>);
static_assert(std::is_nothrow_move_constructible_v<handle>);
static_assert(std::default_initializable<scoped> && std::movable<scoped>);
static_assert(!std::is_copy_constructible_v<scoped> && !std::is_copy_assignable_v<scoped>);
static_assert(std::is_nothrow_move_constructible_v<scoped>);
static_assert(std::is_nothrow_destructible_v<scoped>);
static_assert(std::same_as<kestrel::timer_wheel::handle_type, kestrel::timer_handle>);

/// There is no timer, whatever is asked of it.
void check_names_no_pending_timer(handle h) {
  bool replaced = false;
  CHECK_FALSE(h.cancel());
  CHECK_FALSE(h.postpone(1ms));
  CHECK_FALSE(h.postpone(-1h));
  CHECK_FALSE(h.postpone(1ms, [&replaced] { replaced = true; }));
  CHECK_FALSE(h.expiry());
  CHECK_FALSE(h.cancel());
  CHECK_FALSE(replaced);
}

} // namespace

TEST_CASE_METHOD(one_wheel, "A handle cancels its timer, once", "[handles]") {
  journal ran;
  auto h = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  CHECK(h);
  CHECK(h.cancel());
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
  check_names_no_pending_timer(h);
  stall(io, 1h);
  CHECK(ran.empty());
  CHECK(wheel.stats().cancelled == 1);
}

TEST_CASE_METHOD(one_wheel, "A handle postpones its timer, and keeps or replaces the callback",
                 "[handles]") {
  journal ran;
  stall(io, 3ms);
  auto h = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  const auto to = GENERATE(as<manual_clock::duration>{}, 1ms, 15ms, 2s, 70s);
  int label = 1;
  SECTION("keeps") { CHECK(h.postpone(to)); }
  SECTION("replaces") {
    CHECK(h.postpone(to, ran.note(2)));
    label = 2;
  }
  SECTION("replaces by a move-only one") {
    CHECK(h.postpone(to, [note = ran.note(2), p = std::make_unique<int>()]() mutable { note(); }));
    label = 2;
  }
  SECTION("replaces, and then keeps that") {
    CHECK(h.postpone(1h, ran.note(2)));
    CHECK(h.postpone(to));
    label = 2;
  }
  CHECK(h.expiry() == manual_clock::start + 3ms + to);
  const auto due = tick_after(manual_clock::start + 3ms + to, manual_clock::start);
  stall(io, due - manual_clock::now() - 1ns);
  CHECK(ran.empty());
  stall(io, 1ns);
  CHECK(ran == journal{{label, due - manual_clock::start}});
  check_names_no_pending_timer(h);
}

TEST_CASE_METHOD(one_wheel, "A handle and the wheel speak of the same timer", "[handles]") {
  journal ran;
  auto h = wheel.schedule(timer_task::periodic(25ms, 20ms, ran.note(1)));
  CHECK(wheel.expiry(h.id()) == manual_clock::start + 25ms);
  CHECK(h.expiry() == wheel.expiry(h.id()));
  CHECK(wheel.postpone(h.id(), 5ms));
  CHECK(h.expiry() == manual_clock::start + 5ms);
  CHECK(h.postpone(10ms));
  CHECK(wheel.expiry(h.id()) == manual_clock::start + 10ms);
  pass(io, 30ms);
  CHECK(ran == journal{{1, 10ms}, {1, 30ms}});
  CHECK(h.expiry() == manual_clock::start + 50ms);
  CHECK(wheel.cancel(h.id()));
  check_names_no_pending_timer(h);
}

TEST_CASE_METHOD(one_wheel, "wheel.handle(id) makes a handle of any timer", "[handles]") {
  journal ran;
  auto after = wheel.handle(wheel.schedule_after(10ms, ran.note(1)));
  auto at = wheel.handle(wheel.schedule_at(manual_clock::start + 10ms, ran.note(2)));
  auto every = wheel.handle(wheel.schedule_every(10ms, 10ms, ran.note(3)));
  CHECK(after.postpone(20ms));
  CHECK(at.cancel());
  CHECK(every.postpone(20ms, ran.note(4)));
  pass(io, 30ms);
  CHECK(ran == journal{{1, 20ms}, {4, 20ms}, {4, 30ms}});
  CHECK(every.cancel());
  // Any other id makes a handle of no timer.
  manual_wheel other{io};
  const auto theirs = other.schedule_after(1h, [] {});
  check_names_no_pending_timer(wheel.handle(after.id()));
  check_names_no_pending_timer(wheel.handle({}));
  check_names_no_pending_timer(wheel.handle(theirs));
  CHECK(other.size() == 1);
}

TEST_CASE("A default-made handle names no timer", "[handles]") {
  const handle h;
  CHECK_FALSE(h);
  CHECK(h.id() == kestrel::timer_id());
  check_names_no_pending_timer(h);
  handle other = h;
  other = handle();
  CHECK_FALSE(other);
  scoped nothing;
  CHECK_FALSE(nothing);
  CHECK_FALSE(nothing.cancel());
  CHECK_FALSE(nothing.postpone(1s));
  CHECK_FALSE(nothing.expiry());
  CHECK_FALSE(nothing.release());
}

TEST_CASE_METHOD(one_wheel,
                 "Copies of a handle name the same timer, and destroying them does nothing",
                 "[handles]") {
  journal ran;
  auto h = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  {
    auto copy = h;
    CHECK(copy.id() == h.id());
    CHECK(copy.postpone(20ms));
    handle assigned;
    assigned = copy;
    CHECK(assigned.expiry() == manual_clock::start + 20ms);
    const handle moved = std::move(assigned);
    CHECK(moved.expiry() == manual_clock::start + 20ms);
  }
  CHECK(wheel.size() == 1);
  auto copy = h;
  SECTION("one cancels for all") {
    CHECK(copy.cancel());
    CHECK_FALSE(h.cancel());
    CHECK_FALSE(h.expiry());
  }
  SECTION("nobody does") {
    pass(io, 20ms);
    CHECK(ran == journal{{1, 20ms}});
    check_names_no_pending_timer(h);
    check_names_no_pending_timer(copy);
  }
  SECTION("assigning another timer's does not cancel either") {
    h = wheel.schedule(timer_task::one_shot(30ms, ran.note(2)));
    pass(io, 30ms);
    CHECK(ran == journal{{1, 20ms}, {2, 30ms}});
  }
}

TEST_CASE_METHOD(one_wheel,
                 "A handle of a timer that is gone leaves the next one in its slot alone",
                 "[handles][ids]") {
  journal ran;
  auto h = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  if (GENERATE(true, false))
    stall(io, 10ms);
  else
    h.cancel();
  ran.clear();
  const auto next = wheel.schedule_after(50ms, ran.note(2));
  CHECK(next.index() == h.id().index()); // the case in question
  check_names_no_pending_timer(h);
  CHECK(wheel.size() == 1);
  stall(io, 50ms);
  CHECK(ran.labels() == std::vector{2});
}

TEST_CASE_METHOD(one_wheel, "A handle tells the truth of a timer that waits in its strand's queue",
                 "[handles]") {
  asio::io_context other;
  journal ran;
  auto h = wheel.schedule(
      timer_task::one_shot(10ms, asio::bind_executor(asio::make_strand(other), ran.note(1))));
  stall(io, 10ms);
  SECTION("and is cancelled") {
    CHECK(h.cancel());
    settle(other);
    CHECK(ran.empty());
  }
  SECTION("and is postponed") {
    CHECK(h.postpone(20ms));
    settle(other);
    CHECK(ran.empty());
    stall(io, 20ms);
    settle(other);
    CHECK(ran == journal{{1, 30ms}});
  }
  SECTION("and runs") {
    settle(other);
    CHECK(ran == journal{{1, 10ms}});
  }
  check_names_no_pending_timer(h);
}

TEST_CASE_METHOD(one_wheel, "Inside its one-shot callback, a handle's timer is no more",
                 "[handles][reentrancy]") {
  handle h;
  int ran = 0;
  h = wheel.schedule(timer_task::one_shot(10ms, [&] {
    ++ran;
    check_names_no_pending_timer(h);
  }));
  stall(io, 10ms);
  stall(io, 10ms);
  CHECK(ran == 1);
}

TEST_CASE_METHOD(one_wheel, "Inside its periodic callback, a handle acts on what is to come",
                 "[handles][reentrancy]") {
  journal ran;
  handle h;
  std::function<void()> act;
  h = wheel.schedule(timer_task::periodic(10ms, 20ms, [&, note = ran.note(1)]() mutable {
    note();
    CHECK(h.expiry() == manual_clock::now() + 20ms);
    if (ran.size() == 1)
      act();
  }));
  SECTION("postpones, and what follows moves along") {
    act = [&] { CHECK(h.postpone(30ms)); };
    pass(io, 60ms);
    CHECK(ran == journal{{1, 10ms}, {1, 40ms}, {1, 60ms}});
  }
  SECTION("replaces the callback that is running") {
    act = [&] { CHECK(h.postpone(20ms, ran.note(2))); };
    pass(io, 50ms);
    CHECK(ran == journal{{1, 10ms}, {2, 30ms}, {2, 50ms}});
  }
  SECTION("forgets itself, and the timer goes on") {
    const auto id = h.id();
    act = [&, id] {
      h = handle();
      h = wheel.handle(id);
    };
    pass(io, 30ms);
    CHECK(ran == journal{{1, 10ms}, {1, 30ms}});
  }
  SECTION("cancels") {
    act = [&] {
      CHECK(h.cancel());
      check_names_no_pending_timer(h);
    };
    pass(io, 100ms);
    CHECK(ran == journal{{1, 10ms}});
    CHECK(wheel.empty());
    return;
  }
  CHECK(h.cancel());
}

TEST_CASE_METHOD(one_wheel, "A handle refuses what its wheel would, and nothing changes",
                 "[handles]") {
  journal ran;
  auto h = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  CHECK(error_of([&] { h.postpone(nan); }) == kestrel::errc::invalid_delay);
  CHECK(error_of([&] { h.postpone(nan, ran.note(2)); }) == kestrel::errc::invalid_delay);
  CHECK(error_of([&] { h.postpone(1h, std::function<void()>()); }) ==
        kestrel::errc::invalid_callback);
  CHECK(h.expiry() == manual_clock::start + 10ms);
  stall(io, 10ms);
  CHECK(ran == journal{{1, 10ms}});
}

TEST_CASE("A handle may outlive its wheel, and its context", "[handles][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel(std::in_place, *io);
  const auto alive = std::make_shared<int>();
  auto h = wheel->schedule(timer_task::one_shot(10ms, [alive] { FAIL("was destroyed"); }));
  auto by_id = wheel->handle(wheel->schedule_every(10ms, 10ms, [alive] { FAIL("was destroyed"); }));
  scoped s = wheel->schedule(timer_task::one_shot(10ms, [alive] { FAIL("was destroyed"); }));
  SECTION("the wheel is destroyed") { wheel.reset(); }
  SECTION("the wheel is shut down") { wheel->shutdown(); }
  SECTION("the context is destroyed") { io.reset(); }
  SECTION("the wheel is destroyed, and then the context") {
    wheel.reset();
    io.reset();
  }
  SECTION("the context is destroyed, and then the wheel") {
    io.reset();
    wheel.reset();
  }
  SECTION("another wheel takes its place") {
    wheel.emplace(*io);
    wheel->schedule_after(10ms, [] {});
    wheel->schedule_after(10ms, [] {});
    wheel->schedule_after(10ms, [] {});
  }
  CHECK(alive.use_count() == 1);
  check_names_no_pending_timer(h);
  check_names_no_pending_timer(by_id);
  CHECK_FALSE(s.cancel());
  CHECK(s.id());
  const auto copy = h;
  CHECK(copy.id() == h.id());
  const auto replacement = std::make_shared<int>();
  CHECK_FALSE(h.postpone(1s, [replacement, big = std::vector<int>(100)] {}));
  CHECK(replacement.use_count() == 1);
  if (io)
    stall(*io, 1s);
  if (wheel)
    CHECK(wheel->empty());
}

// ---- scoped_timer

TEST_CASE_METHOD(one_wheel, "A scoped_timer cancels at the end of its scope", "[scoped_timer]") {
  journal ran;
  const auto alive = std::make_shared<int>();
  const auto f = [&ran, alive] { ran.note(1)(); };
  {
    const scoped by_handle = wheel.schedule(timer_task::one_shot(10ms, f));
    const scoped by_id(wheel, wheel.schedule_every(10ms, 10ms, f));
    CHECK(by_handle);
    CHECK(by_id.expiry() == manual_clock::start + 10ms);
    CHECK(wheel.size() == 2);
    CHECK(alive.use_count() == 4);
  }
  CHECK(wheel.empty());
  CHECK(alive.use_count() == 2);
  CHECK(out_of_work(io));
  stall(io, 1s);
  CHECK(ran.empty());
}

TEST_CASE_METHOD(one_wheel, "A scoped_timer does what a handle does", "[scoped_timer]") {
  journal ran;
  scoped s = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  const auto id = s.id();
  CHECK(wheel.expiry(id) == s.expiry());
  CHECK(s.postpone(20ms));
  CHECK(s.expiry() == manual_clock::start + 20ms);
  CHECK(s.postpone(30ms, ran.note(2)));
  pass(io, 30ms);
  CHECK(ran == journal{{2, 30ms}});
  CHECK_FALSE(s.cancel());
  CHECK_FALSE(s.postpone(1s));
  CHECK_FALSE(s.expiry());
  CHECK(s.id() == id);
  s = wheel.schedule(timer_task::one_shot(10ms, ran.note(3)));
  CHECK(s.cancel());
  CHECK_FALSE(s.cancel());
  stall(io, 1s);
  CHECK(ran.size() == 1);
}

TEST_CASE_METHOD(one_wheel, "A scoped_timer that is moved takes its timer along",
                 "[scoped_timer]") {
  journal ran;
  std::optional<scoped> first(std::in_place,
                              wheel.schedule(timer_task::one_shot(10ms, ran.note(1))));
  SECTION("to a new one") {
    scoped second = std::move(*first);
    CHECK_FALSE(*first);
    CHECK_FALSE(first->cancel());
    first.reset();
    CHECK(wheel.size() == 1);
    stall(io, 10ms);
    CHECK(ran == journal{{1, 10ms}});
  }
  SECTION("to one that had a timer, which is cancelled") {
    scoped second = wheel.schedule(timer_task::one_shot(10ms, ran.note(2)));
    const auto id = first->id();
    second = std::move(*first);
    CHECK(wheel.size() == 1);
    CHECK(second.id() == id);
    first.reset();
    CHECK(wheel.size() == 1);
    stall(io, 10ms);
    CHECK(ran == journal{{1, 10ms}});
  }
  SECTION("to one whose timer has fired") {
    scoped second = wheel.schedule(timer_task::one_shot(5ms, ran.note(2)));
    CHECK(first->postpone(20ms));
    pass(io, 10ms);
    second = std::move(*first);
    first.reset();
    pass(io, 10ms);
    CHECK(ran == journal{{2, 10ms}, {1, 20ms}});
  }
  SECTION("into a vector that grows") {
    std::vector<scoped> timers;
    timers.push_back(std::move(*first));
    for (int i = 2; i != 100; ++i)
      timers.emplace_back(wheel.schedule(timer_task::one_shot(10ms, ran.note(i))));
    CHECK(wheel.size() == 99);
    timers.resize(50);
    CHECK(wheel.size() == 50);
    stall(io, 10ms);
    CHECK(ran.size() == 50);
    CHECK(ran.labels().back() == 50);
  }
}

TEST_CASE_METHOD(one_wheel, "Assigning a timer, or nothing, cancels the one before",
                 "[scoped_timer]") {
  journal ran;
  scoped s = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
  s = wheel.schedule(timer_task::one_shot(20ms, ran.note(2)));
  CHECK(wheel.size() == 1);
  pass(io, 10ms);
  SECTION("another timer") { s = scoped(wheel, wheel.schedule_after(20ms, ran.note(3))); }
  SECTION("nothing") { s = {}; }
  pass(io, 50ms);
  CHECK(ran == (s ? journal{{3, 30ms}} : journal{}));
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A scoped_timer that was released leaves the timer alone",
                 "[scoped_timer]") {
  journal ran;
  handle h;
  {
    scoped s = wheel.schedule(timer_task::one_shot(10ms, ran.note(1)));
    h = s.release();
    CHECK_FALSE(s);
    CHECK(s.id() == kestrel::timer_id());
    CHECK_FALSE(s.cancel());
  }
  CHECK(wheel.size() == 1);
  CHECK(h.postpone(20ms));
  pass(io, 20ms);
  CHECK(ran == journal{{1, 20ms}});
}

TEST_CASE_METHOD(one_wheel, "A scoped_timer may be destroyed inside its own callback",
                 "[scoped_timer][reentrancy]") {
  int ran = 0;
  const auto alive = std::make_shared<int>();
  std::optional<scoped> s;
  const auto f = [&, alive] {
    ++ran;
    s.reset();
    CHECK(alive.use_count() >= 2); // the callback is not destroyed while it runs
  };
  SECTION("once") { s.emplace(wheel.schedule(timer_task::one_shot(10ms, f))); }
  SECTION("periodic") { s.emplace(wheel.schedule(timer_task::periodic(10ms, 10ms, f))); }
  SECTION("on a strand") {
    s.emplace(wheel.schedule(
        timer_task::periodic(10ms, 10ms, asio::bind_executor(asio::make_strand(io), f))));
  }
  SECTION("with a sibling of the same tick") {
    wheel.schedule_after(10ms, f);
    s.emplace(wheel.schedule(timer_task::periodic(10ms, 10ms, [&] { ran += 100; })));
  }
  pass(io, 50ms);
  CHECK(ran == 1);
  CHECK(wheel.empty());
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE_METHOD(one_wheel, "A callback may replace the scoped_timer that it runs for",
                 "[scoped_timer][reentrancy]") {
  // As a connection does that tries again, later each time.
  struct retry {
    manual_wheel& wheel;
    journal& ran;
    scoped timer{};
    int tries = 0;

    void arm() {
      if (++tries != 5)
        timer = wheel.schedule(timer_task::one_shot(tries * 10ms, [this] {
          ran.note(tries)();
          arm();
        }));
    }
  };
  journal ran;
  retry r{wheel, ran};
  r.arm();
  pass(io, 200ms);
  CHECK(ran == journal{{1, 10ms}, {2, 30ms}, {3, 60ms}, {4, 100ms}});
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_wheel, "A callback may own the scoped_timer of another timer",
                 "[scoped_timer][reentrancy]") {
  journal ran;
  scoped inner = wheel.schedule(timer_task::one_shot(20ms, ran.note(2)));
  auto outer = wheel.schedule(
      timer_task::one_shot(10ms, [note = ran.note(1), s = std::move(inner)]() mutable { note(); }));
  SECTION("which is cancelled when the callback has run") {
    pass(io, 50ms);
    CHECK(ran == journal{{1, 10ms}});
  }
  SECTION("which is cancelled when the callback is") {
    CHECK(outer.cancel());
    pass(io, 50ms);
    CHECK(ran.empty());
  }
  CHECK(wheel.empty());
  CHECK(checked_mutex::take_violations() == 0);
}

namespace {

/// What scoped_timer is for.
class connection {
public:
  connection(manual_wheel& wheel, std::vector<int>& timed_out, int number)
      : timed_out_{timed_out},
        number_{number},
        idle_(wheel.schedule(timer_task::one_shot(30ms, [this] { on_idle(); }))),
        ping_(wheel, wheel.schedule_every(10ms, 10ms, [this] { ++pings_; })) {}

  void on_data() { CHECK(idle_.postpone(30ms)); }
  [[nodiscard]] int pings() const { return pings_; }

private:
  void on_idle() { timed_out_.push_back(number_); }

  std::vector<int>& timed_out_;
  int number_;
  int pings_ = 0;
  scoped idle_;
  scoped ping_;
};

} // namespace

TEST_CASE_METHOD(one_wheel, "A connection with its timeout as a member may go at any time",
                 "[scoped_timer]") {
  std::vector<int> timed_out;
  auto closed = std::make_unique<connection>(wheel, timed_out, 1);
  auto busy = std::make_unique<connection>(wheel, timed_out, 2);
  auto idle = std::make_unique<connection>(wheel, timed_out, 3);
  CHECK(wheel.size() == 6);
  pass(io, 20ms);
  busy->on_data();
  closed.reset();
  CHECK(wheel.size() == 4);
  pass(io, 20ms);
  CHECK(timed_out == std::vector{3});
  CHECK(busy->pings() == 4);
  idle.reset();
  pass(io, 10ms);
  CHECK(timed_out == std::vector{3, 2});
  busy.reset();
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE("A connection may outlive the wheel of its timeout", "[scoped_timer][lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel(std::in_place, *io);
  std::vector<int> timed_out;
  std::optional<connection> c(std::in_place, *wheel, timed_out, 1);
  if (GENERATE(true, false))
    wheel.reset();
  if (GENERATE(true, false))
    io.reset();
  c.reset();
  if (io)
    stall(*io, 1s);
  CHECK(timed_out.empty());
}

TEST_CASE("A scoped_timer of a wheel on the steady clock", "[scoped_timer]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  bool ran = false;
  {
    kestrel::scoped_timer s(wheel, wheel.schedule_after(0s, [&] { ran = true; }));
    kestrel::timer_handle h = s.release();
    s = h;
    CHECK(s.id() == h.id());
  }
  io.run();
  CHECK_FALSE(ran);
}
