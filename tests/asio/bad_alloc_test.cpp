// SPDX-License-Identifier: MIT
//
// Whichever allocation fails in whichever operation, it is as if the operation had not been tried:
// what is pending, when it fires, what it calls and what is destroyed. With the memory back, the
// operation does what it does elsewhere.

#include "counted_new.hpp"
#include "timer_kinds.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/steady_timer.hpp>
#include <kestrel/testing.hpp>
#include <kestrel/timer_service.hpp>

#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/post.hpp>

#include <catch.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <ostream>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

/// The n-th allocation of `f` fails, from 0 on, and no other. Tells whether there are so many, and
/// whether `bad_alloc` came of it.
struct shortage {
  bool failed = false;
  bool thrown = false;

  template <class F>
  shortage(int n, F&& f) {
    until_failure = n;
    try {
      f();
    } catch (const std::bad_alloc&) {
      thrown = true;
    }
    failed = std::exchange(until_failure, no_failure) == no_failure;
  }
};

/// For what is not meant in the midst of it.
template <class F>
void with_memory(F&& f) {
  const long n = std::exchange(until_failure, no_failure);
  f();
  until_failure = n;
}

/// What there is to see of a scene without moving its clock.
struct view {
  std::size_t size;
  std::uint64_t scheduled, cancelled, postponed, fired;
  std::vector<std::optional<manual_clock::time_point>> expiries;
  long callables;
  bool out_of_work;

  friend bool operator==(const view&, const view&) = default;
  friend std::ostream& operator<<(std::ostream& out, const view& v) {
    return out << v.size << " pending; scheduled " << v.scheduled << ", cancelled " << v.cancelled
               << ", postponed " << v.postponed << ", fired " << v.fired << "; " << v.callables
               << " callables; out of work " << v.out_of_work;
  }
};

/// What comes of it later: what ran when, and how many callables are left then.
struct outcome {
  journal ran;
  std::size_t left;
  long callables;

  friend bool operator==(const outcome&, const outcome&) = default;
  friend std::ostream& operator<<(std::ostream& out, const outcome& o) {
    for (const event& e : o.ran)
      out << e << "; ";
    return out << o.left << " left; " << o.callables << " callables";
  }
};

/// A wheel with some timers, among them one of each sort that operations are tried on. Its arena
/// and its chains are full after some numbers of timers, among those in `sizes`.
struct scene {
  static constexpr std::array sizes{0, 505};

  explicit scene(int others) {
    for (int i = 0; i != others; ++i)
      wheel.schedule_after(2h, [] {});
    if (others == 0)
      return; // the first timer there is
    one_shot = wheel.schedule_after(1s, note(1));
    periodic = wheel.schedule_every(300ms, 400ms, note(2));
    ids = {one_shot, periodic};
    settle(io);
  }

  struct note_of {
    void operator()() const {
      s->ran.push_back({label, manual_clock::now() - manual_clock::start});
    }

    scene* s;
    std::shared_ptr<int> owned;
    int label;
  };

  note_of note(int label) { return {this, token, label}; }

  [[nodiscard]] view look() {
    const kestrel::timer_wheel_stats stats = wheel.stats();
    view v{wheel.size(),   stats.scheduled, stats.cancelled, stats.postponed, stats.fired, {}, 0,
           out_of_work(io)};
    for (const kestrel::timer_id id : ids)
      v.expiries.push_back(wheel.expiry(id));
    v.callables = token.use_count();
    return v;
  }

  [[nodiscard]] outcome finish() {
    pass(io, 2s, 250ms);
    return {ran, wheel.size(), token.use_count()};
  }

  const at_start clock;
  std::shared_ptr<int> token = std::make_shared<int>(0);
  asio::cancellation_signal signal;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  kestrel::timer_id one_shot;
  kestrel::timer_id periodic;
  std::vector<kestrel::timer_id> ids;
};

/// Each allocation of `operation(scene)` fails in turn, always in a new scene, until there are no
/// more of them. What it throws, it throws without having changed anything; what it does not throw,
/// it got over. Returns how many there are.
template <class Scene = scene, class Operation>
int whichever_allocation_fails(Operation operation) {
  const int others = GENERATE(from_range(scene::sizes));
  CAPTURE(others);
  const auto outcome_of = [&](auto&& what) {
    Scene s(others);
    what(s);
    return s.finish();
  };
  const outcome without = outcome_of([](Scene&) {});
  const outcome with = outcome_of(operation);
  for (int n = 0;; ++n) {
    CAPTURE(n);
    for (const bool again : {true, false}) {
      const long blocks = live_blocks;
      {
        Scene s(others);
        const view before = s.look();
        const shortage memory(n, [&] { operation(s); });
        if (memory.thrown) {
          CHECK(s.look() == before);
          if (again)
            operation(s);
        }
        CHECK(s.finish() == (memory.thrown && !again ? without : with));
        if (!memory.failed)
          return n;
      }
      CHECK(live_blocks == blocks);
    }
  }
}

} // namespace

// ---- Callables: trivial, with a destructor, large, and with each of the associators

namespace {

struct trivial {
  static auto of(scene& s, int label) { return s.ran.note(label); }
};

struct owning {
  static auto of(scene& s, int label) { return s.note(label); }
};

struct bulky {
  static auto of(scene& s, int label) {
    return [note = s.note(label), padding = std::array<char, 200>()]() mutable {
      static_cast<void>(padding);
      note();
    };
  }
};

struct with_allocator {
  static auto of(scene& s, int label) {
    return asio::bind_allocator(std::allocator<int>(), bulky::of(s, label));
  }
};

struct with_executor {
  static auto of(scene& s, int label) {
    return asio::bind_executor(s.io.get_executor(), s.note(label));
  }
};

struct with_slot {
  static auto of(scene& s, int label) {
    return asio::bind_cancellation_slot(s.signal.slot(), s.note(label));
  }
};

template <class Callable>
std::vector<kestrel::timer_task> tasks_of(scene& s) {
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != 6; ++i)
    tasks.push_back(kestrel::timer_task::one_shot((i + 1) * 100ms, Callable::of(s, 10 + i)));
  tasks.push_back(kestrel::timer_task::periodic(10ms, 300ms, Callable::of(s, 30)));
  return tasks;
}

} // namespace

#define KESTREL_TESTS_CALLABLES trivial, owning, bulky, with_allocator, with_executor, with_slot

TEMPLATE_TEST_CASE("Scheduling that runs out of memory was never tried", "[memory][exceptions]",
                   KESTREL_TESTS_CALLABLES) {
  SECTION("after a delay") {
    whichever_allocation_fails([](scene& s) { s.wheel.schedule_after(15ms, TestType::of(s, 5)); });
  }
  SECTION("at a time, later than those there are") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.schedule_at(manual_clock::start + 1200ms, TestType::of(s, 5)); });
  }
  SECTION("periodically") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.schedule_every(15ms, 700ms, TestType::of(s, 5)); });
  }
  SECTION("a task") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.schedule(kestrel::timer_task::one_shot(15ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("a task in a slot") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.schedule(s.wheel.allocate(),
                             kestrel::timer_task::periodic(15ms, 700ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("a batch") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.schedule(tasks_of<TestType>(s)); }) >
          0);
  }
  SECTION("a batch in slots") {
    CHECK(whichever_allocation_fails([](scene& s) {
            auto tasks = tasks_of<TestType>(s);
            s.wheel.schedule(s.wheel.allocate(tasks.size()), tasks);
          }) > 0);
  }
}

TEMPLATE_TEST_CASE("Replacing a callback that runs out of memory was never tried",
                   "[memory][exceptions]", KESTREL_TESTS_CALLABLES) {
  SECTION("of a one-shot timer, earlier") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone(s.one_shot, 15ms, TestType::of(s, 5)); });
  }
  SECTION("of a one-shot timer, later") {
    whichever_allocation_fails([](scene& s) {
      s.wheel.postpone_at(s.one_shot, manual_clock::start + 1300ms, TestType::of(s, 5));
    });
  }
  SECTION("of a periodic timer") {
    whichever_allocation_fails(
        [](scene& s) { s.wheel.postpone(s.periodic, 15ms, TestType::of(s, 5)); });
  }
  SECTION("of several") {
    using callable = decltype(TestType::of(std::declval<scene&>(), 5));
    whichever_allocation_fails([](scene& s) {
      std::vector<std::tuple<kestrel::timer_id, manual_clock::duration, callable>> moves;
      moves.emplace_back(s.one_shot, 15ms, TestType::of(s, 5));
      moves.emplace_back(s.periodic, 25ms, TestType::of(s, 6));
      s.wheel.postpone(std::move(moves));
    });
  }
}

TEST_CASE("Postponing, cancelling or making room without memory was never tried",
          "[memory][exceptions]") {
  SECTION("postponing") {
    whichever_allocation_fails([](scene& s) { s.wheel.postpone(s.one_shot, 15ms); });
  }
  SECTION("postponing several") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.postpone({{s.one_shot, 15ms}, {s.periodic, 1500ms}});
          }) > 0);
  }
  SECTION("cancelling one needs none") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.cancel(s.one_shot);
            s.wheel.cancel(s.periodic);
          }) == 0);
  }
  SECTION("cancelling several") {
    CHECK(whichever_allocation_fails([](scene& s) {
            s.wheel.cancel({s.one_shot, s.periodic});
          }) > 0);
  }
  SECTION("slots that are not used") {
    CHECK(whichever_allocation_fails([](scene& s) { static_cast<void>(s.wheel.allocate(700)); }) >
          0);
  }
  SECTION("reserving") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.reserve(3000); }) > 0);
  }
  SECTION("shutting down needs none") {
    CHECK(whichever_allocation_fails([](scene& s) { s.wheel.shutdown(); }) == 0);
  }
}

// ---- Waits

namespace {

/// A handler that notes how a wait ended. One that ended before it began has not begun, for who
/// `begins` it: it might as well have been thrown at.
struct wait_note {
  scene::note_of note;
  bool* failed;

  template <class... Results>
  void operator()(asio::error_code ec, Results...) {
    if (ec)
      *failed = true;
    else
      note();
  }
};

template <class Initiate>
void begin_wait(scene& s, Initiate initiate) {
  bool failed = false;
  initiate(wait_note{s.note(7), &failed});
  with_memory([&] { settle(s.io); });
  if (failed)
    throw std::bad_alloc();
}

} // namespace

TEST_CASE("Waiting for which there is no memory has not begun", "[memory][exceptions]") {
  SECTION("for a time") {
    CHECK(whichever_allocation_fails([](scene& s) {
            begin_wait(s, [&](wait_note h) { s.wheel.async_wait_after(15ms, std::move(h)); });
          }) > 0);
  }
  SECTION("for a timer") {
    CHECK(whichever_allocation_fails([](scene& s) {
            if (s.one_shot)
              s.wheel.async_wait(s.one_shot, wait_note{s.note(7), nullptr});
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("through a handle") {
    CHECK(whichever_allocation_fails([](scene& s) {
            const auto handle = s.wheel.handle(s.periodic);
            if (s.periodic)
              handle.async_wait(wait_note{s.note(7), nullptr});
            else
              s.wheel.reserve(1000);
          }) > 0);
  }
  SECTION("for the timer of a task") {
    CHECK(whichever_allocation_fails([](scene& s) {
            auto task = kestrel::timer_task::one_shot(15ms, s.note(5));
            const auto handle = s.wheel.schedule(task);
            with_memory([&] { handle.async_wait(wait_note{s.note(7), nullptr}); });
          }) > 0);
  }
}

// ---- Services

namespace {

/// Whose notifications a consumer notes.
struct service_scene : scene {
  explicit service_scene(int others) : scene(others) {
    own = service.schedule_after(100ms, note(11));
    own_periodic = service.schedule_every(200ms, 900ms, note(12));
    ids.insert(ids.end(), {own, own_periodic});
    receive();
    settle(io);
  }

  void receive() {
    service.async_receive([this](asio::error_code ec, kestrel::timer_notification n) {
      if (ec)
        return;
      note(100 + static_cast<int>(n.count))();
      receive();
    });
  }

  [[nodiscard]] view look() {
    view v = scene::look();
    v.size += 10'000 * service.size();
    return v;
  }

  kestrel::basic_timer_service<manual_clock> service{wheel, {.capacity = 4}};
  kestrel::timer_id own;
  kestrel::timer_id own_periodic;
};

} // namespace

TEMPLATE_TEST_CASE("What a service cannot do for want of memory it has not tried",
                   "[memory][exceptions][service]", owning, bulky, with_slot) {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<service_scene>(operation);
  };
  SECTION("scheduling after a delay") {
    CHECK(each([](service_scene& s) { s.service.schedule_after(15ms, TestType::of(s, 5)); }) > 0);
  }
  SECTION("scheduling at a time") {
    CHECK(each([](service_scene& s) {
            s.service.schedule_at(manual_clock::start + 15ms, TestType::of(s, 5));
          }) > 0);
  }
  SECTION("scheduling periodically") {
    CHECK(each([](service_scene& s) {
            s.service.schedule_every(15ms, 700ms, TestType::of(s, 5));
          }) > 0);
  }
  SECTION("scheduling a task in a slot") {
    CHECK(each([](service_scene& s) {
            s.service.schedule(s.service.allocate(),
                               kestrel::timer_task::one_shot(15ms, TestType::of(s, 5)));
          }) > 0);
  }
  SECTION("scheduling a batch") {
    CHECK(each([](service_scene& s) { s.service.schedule(tasks_of<TestType>(s)); }) > 0);
  }
  SECTION("scheduling a batch in slots") {
    CHECK(each([](service_scene& s) {
            auto tasks = tasks_of<TestType>(s);
            s.service.schedule(s.service.allocate(tasks.size()), tasks);
          }) > 0);
  }
  SECTION("replacing a callback") {
    each([](service_scene& s) { s.service.postpone(s.own, 15ms, TestType::of(s, 5)); });
  }
}

TEST_CASE("What a service cannot postpone, cancel or receive for want of memory it has not tried",
          "[memory][exceptions][service]") {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<service_scene>(operation);
  };
  SECTION("postponing") {
    each([](service_scene& s) { s.service.postpone(s.own_periodic, 15ms); });
  }
  SECTION("postponing several") {
    CHECK(each([](service_scene& s) {
            s.service.postpone({{s.own, 15ms}, {s.own_periodic, 1500ms}});
          }) > 0);
  }
  SECTION("cancelling one needs none") {
    CHECK(each([](service_scene& s) { s.service.cancel(s.own); }) == 0);
  }
  SECTION("cancelling several") {
    CHECK(each([](service_scene& s) { s.service.cancel({s.own, s.own_periodic}); }) > 0);
  }
  SECTION("receiving") {
    CHECK(each([](service_scene& s) {
            s.service.async_receive([n = s.note(8)](auto, auto) mutable { n(); });
          }) > 0);
  }
  SECTION("another service") {
    CHECK(each([](service_scene& s) {
            kestrel::basic_timer_service<manual_clock> other{s.wheel};
            with_memory([&] { other.schedule_after(15ms, s.note(8)); });
          }) > 0);
  }
}

// ---- steady_timers, and timeouts of operations

namespace {

/// On a context that has, or has not, a steady_timer yet.
struct steady_scene : scene {
  auto handler(int label) {
    return [n = note(label)](asio::error_code ec) mutable {
      n.label += ec ? 1000 : 0;
      n();
    };
  }

  explicit steady_scene(int others) : scene(others) {
    if (others == 0)
      return;
    timer.emplace(io, 100ms);
    for (int i = 0; i != others; ++i) {
      waiting.emplace_back(io, 1h);
      waiting.back().async_wait([](asio::error_code) {});
    }
    timer->async_wait(handler(11));
    settle(io);
  }

  [[nodiscard]] view look() {
    view v = scene::look();
    if (timer)
      v.expiries.push_back(timer->expiry());
    return v;
  }

  std::optional<kestrel_timer> timer;
  std::vector<kestrel_timer> waiting;
};

} // namespace

TEST_CASE("What a steady_timer cannot do for want of memory it has not tried",
          "[memory][exceptions][steady_timer]") {
  const auto each = [](auto operation) {
    return whichever_allocation_fails<steady_scene>(operation);
  };
  SECTION("being made, and waiting") {
    each([](steady_scene& s) {
      with_memory([&] { s.waiting.reserve(1000); });
      kestrel_timer timer(s.io, 15ms);
      timer.async_wait(s.handler(5));
      s.waiting.push_back(std::move(timer));
    });
  }
  SECTION("waiting besides") {
    each([](steady_scene& s) {
      if (s.timer)
        s.timer->async_wait(s.handler(5));
    });
  }
  SECTION("waiting with a cancellation slot") {
    each([](steady_scene& s) {
      if (s.timer)
        s.timer->async_wait(asio::bind_cancellation_slot(s.signal.slot(), s.handler(5)));
    });
  }
  SECTION("moving needs none") {
    CHECK(each([](steady_scene& s) {
            if (!s.timer)
              return;
            kestrel_timer moved(std::move(*s.timer));
            *s.timer = std::move(moved);
          }) == 0);
  }
}

namespace {

/// An operation that never ends, and wheels that are made.
struct timeout_scene : scene {
  using scene::scene;

  /// A timer that was scheduled and cancelled again was never tried.
  [[nodiscard]] view look() {
    view v = scene::look();
    v.scheduled -= std::exchange(v.cancelled, 0);
    return v;
  }

  asio_timer never{io, manual_clock::time_point::max()};
  std::optional<manual_wheel> other;
};

} // namespace

TEST_CASE("A timeout for which there is no memory leaves the operation unbegun",
          "[memory][exceptions][cancel_after]") {
  CHECK(whichever_allocation_fails<timeout_scene>([](timeout_scene& s) {
          s.never.async_wait(kestrel::cancel_after(
              s.wheel, 15ms, [n = s.note(5)](asio::error_code) mutable { n(); }));
        }) > 0);
}

TEST_CASE("A wheel for which there is no memory is not made", "[memory][exceptions]") {
  CHECK(whichever_allocation_fails<timeout_scene>([](timeout_scene& s) {
          s.other.emplace(s.io);
          s.other->schedule_after(15ms, s.note(5));
        }) > 3);
}

TEST_CASE("The first wheel of a context may fail to be made, and the next one is",
          "[memory][exceptions]") {
  const at_start clock;
  int n = 0;
  for (bool failed = true; failed; ++n) {
    const long blocks = live_blocks;
    {
      asio::io_context io;
      std::optional<manual_wheel> wheel;
      const shortage memory(n, [&] { wheel.emplace(io); });
      failed = memory.failed;
      CHECK(memory.thrown == failed);
      CHECK(wheel.has_value() != failed);
      wheel.emplace(io);
      bool fired = false;
      wheel->schedule_after(10ms, [&] { fired = true; });
      stall(io, 20ms);
      CHECK(fired);
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(n > 5);
}

TEST_CASE("What is made under virtual time when memory is short is made when it is not",
          "[memory][exceptions][testing]") {
  int n = 0;
  for (bool failed = true; failed; ++n) {
    const long blocks = live_blocks;
    {
      asio::io_context io;
      std::optional<kestrel::testing::virtual_time> time;
      std::optional<kestrel::timer_wheel> wheel;
      std::array<int, 2> fired{};
      kestrel::timer_id id;
      const auto each = [&](auto step) {
        const shortage memory(n, step);
        failed |= memory.failed;
        if (memory.thrown)
          step();
      };
      failed = false;
      each([&] { time.emplace(io); });
      each([&] { wheel.emplace(io); });
      each([&] { wheel->schedule_every(100ms, 100ms, [&] { ++fired[1]; }); });
      each([&] { id = wheel->schedule_after(1s, [&] { ++fired[0]; }); });
      wheel->postpone(id, 10ms);
      time->advance(2s);
      CHECK(fired == std::array{1, 20});
    }
    CHECK(live_blocks == blocks);
  }
  CHECK(n > 5);
}

// ---- While timers fire

namespace {

/// A wheel on a context whose other timers fill the room that Asio has for them, for some of the
/// numbers up to 16, while the wheel's own is out of it. Then there is no memory.
struct crowded {
  using asio_timer = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;

  crowded() { others.reserve(64); }

  void crowd(std::size_t n, bool for_good) {
    for (std::size_t i = 0; i != n; ++i) {
      others.emplace_back(io, manual_clock::now() + 1h);
      others.back().async_wait([](asio::error_code) {});
    }
    fail_for_good = for_good;
    until_failure = 0;
  }

  /// Runs without memory, and tells whether that threw.
  bool run_short() {
    bool thrown = false;
    io.restart();
    for (int i = 0; i != 8; ++i) {
      try {
        io.poll();
      } catch (const std::bad_alloc&) {
        thrown = true;
      }
      io.restart();
    }
    fail_for_good = false;
    until_failure = no_failure;
    return thrown;
  }

  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  std::vector<asio_timer> others;
};

} // namespace

TEST_CASE("A periodic timer goes on although the wheel found no memory to be woken for it",
          "[memory][exceptions][periodic]") {
  const bool for_good = GENERATE(false, true);
  const bool throws = GENERATE(false, true);
  const bool bound = GENERATE(false, true);
  int failures = 0;
  for (std::size_t n = 0; n != 17; ++n) {
    crowded c;
    int fired = 0;
    const auto f = [&] {
      if (++fired != 1)
        return;
      c.crowd(n, for_good);
      if (throws)
        throw std::bad_alloc();
    };
    if (bound)
      c.wheel.schedule_every(10ms, 10ms, asio::bind_executor(c.io.get_executor(), f));
    else
      c.wheel.schedule_every(10ms, 10ms, f);
    manual_clock::advance(10ms);
    failures += c.run_short() && !throws ? 1 : 0;
    CHECK(fired == 1);
    pass(c.io, 100ms);
    CHECK(fired == 11);
    CHECK(c.wheel.size() == 1);
  }
  CHECK((failures > 3) == !throws);
}

TEST_CASE("Timers that are due run although the wheel found no memory to be woken for the others",
          "[memory][exceptions]") {
  const bool for_good = GENERATE(false, true);
  int failures = 0;
  for (std::size_t n = 0; n != 17; ++n) {
    crowded c;
    journal ran;
    ran.reserve(8);
    crowded::asio_timer first(c.io, manual_clock::start + 9ms);
    first.async_wait([&](asio::error_code) { c.crowd(n, for_good); });
    c.wheel.schedule_after(10ms, ran.note(1));
    c.wheel.schedule_after(10ms, ran.note(2));
    c.wheel.schedule_after(30ms, ran.note(3));
    manual_clock::advance(10ms);
    failures += c.run_short() ? 1 : 0;
    pass(c.io, 100ms);
    CHECK(ran == journal{{1, 10ms}, {2, 10ms}, {3, 30ms}});
    CHECK(c.wheel.empty());
  }
  CHECK(failures > 3);
}
