// SPDX-License-Identifier: MIT
//
// The wheel, its execution context and its callbacks may end in any order, from anywhere.

#include "executor_base.hpp"
#include "manual_clock.hpp"

#include <kestrel/timer_service.hpp>

#include <asio/bind_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>

#include <catch.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

template <class F>
bool refused_as_shut_down(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code() == kestrel::errc::shut_down;
  }
  return false;
}

/// An executor of an io_context that tells by `owners` whether a copy of it is left.
class owned_executor : public executor_base<owned_executor> {
public:
  owned_executor(asio::io_context& io, std::shared_ptr<const void> owners)
      : executor_base(io), owners_(std::move(owners)) {}

  template <class F>
  void execute(F f) const {
    asio::post(io(), std::move(f));
  }

private:
  std::shared_ptr<const void> owners_;
};

/// Lets a test come in where a wheel that nobody names any more is being destroyed.
struct ending_mutex : checked_mutex {
  inline static std::function<void()> on_end;

  ~ending_mutex() {
    if (const auto f = std::exchange(on_end, nullptr))
      f();
  }
};

struct ending_traits : manual_traits {
  using mutex = ending_mutex;
};

/// A wheel that is gone but for one handle of it, which nothing of the context refers to.
template <class Wheel>
auto last_handle(asio::io_context& io, std::shared_ptr<const void> owners) {
  Wheel wheel{owned_executor(io, std::move(owners))};
  auto timer = wheel.schedule(kestrel::timer_task::one_shot(1h));
  wheel.shutdown();
  settle(io);
  return timer;
}

/// A wheel that was shut down, or lost its context, answers everything.
template <class Wheel>
void check_shut_down(Wheel& wheel, kestrel::timer_id old) {
  CHECK(refused_as_shut_down([&] { wheel.schedule_after(1s, [] {}); }));
  CHECK(refused_as_shut_down([&] { wheel.schedule_after(-1s, [] {}); }));
  CHECK(refused_as_shut_down([&] { wheel.schedule_at(manual_clock::now(), [] {}); }));
  CHECK(refused_as_shut_down([&] { wheel.schedule_every(1s, 1s, [] {}); }));
  CHECK(refused_as_shut_down([&] { wheel.reserve(100); }));
  CHECK_FALSE(wheel.cancel(old));
  CHECK_FALSE(wheel.cancel({}));
  CHECK_FALSE(wheel.postpone(old, 1s));
  CHECK_FALSE(wheel.postpone(old, 1s, [] {}));
  CHECK_FALSE(wheel.postpone_at(old, manual_clock::now()));
  CHECK_FALSE(wheel.expiry(old));
  CHECK(wheel.empty());
  CHECK(wheel.stats().live == 0);
  wheel.shutdown();
}

} // namespace

TEST_CASE("After shutdown(), nothing runs and nothing can be scheduled", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  const auto alive = std::make_shared<int>();
  const auto id = wheel.schedule_after(10ms, [alive] { FAIL("was shut down"); });
  wheel.schedule_every(10ms, 10ms, [alive] { FAIL("was shut down"); });
  wheel.schedule_after(7s, [alive] { FAIL("was shut down"); });
  CHECK(alive.use_count() == 4);
  wheel.shutdown();
  CHECK(alive.use_count() == 1);
  CHECK(out_of_work(io));
  check_shut_down(wheel, id);
  stall(io, 10s);
  wheel.shutdown();
}

TEST_CASE("Shutting down a wheel that was never used", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  wheel.shutdown();
  check_shut_down(wheel, {});
}

TEST_CASE("shutdown() stops callbacks that are due and queued", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  manual_wheel wheel{io};
  int ran = 0;
  const auto alive = std::make_shared<int>();
  SECTION("behind the one that calls it") {
    wheel.schedule_after(10ms, [&] {
      ++ran;
      wheel.shutdown();
    });
    for (int i = 0; i != 300; ++i)
      wheel.schedule_after(10ms, [&ran, alive] { ++ran; });
    stall(io, 10ms);
    CHECK(ran == 1);
  }
  SECTION("behind many, in a later batch") {
    int before = 0;
    for (int i = 0; i != 300; ++i)
      wheel.schedule_after(10ms, [&ran, alive] { ++ran; });
    manual_clock::advance(10ms);
    while (ran == 0)
      io.poll_one();
    before = ran;
    CHECK(before < 300);
    wheel.shutdown();
    CHECK(alive.use_count() == 1);
    settle(io);
    CHECK(ran == before);
  }
  SECTION("on their own executor") {
    wheel.schedule_after(10ms, asio::bind_executor(other, [&ran, alive] { ++ran; }));
    stall(io, 10ms);
    wheel.shutdown();
    CHECK(alive.use_count() == 1);
    other.run();
    CHECK(ran == 0);
  }
  SECTION("in the periodic callback that calls it") {
    wheel.schedule_every(10ms, 10ms, [&, alive] {
      ++ran;
      wheel.shutdown();
      CHECK(alive.use_count() == 2); // it is not destroyed while it runs
    });
    stall(io, 10ms);
    stall(io, 10ms);
    CHECK(ran == 1);
  }
  CHECK(alive.use_count() == 1);
  CHECK(out_of_work(io));
}

TEST_CASE("A wheel may be destroyed with timers pending", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  const auto alive = std::make_shared<int>();
  {
    manual_wheel wheel{io};
    for (int i = 0; i != 1000; ++i)
      wheel.schedule_after((i + 1) * 77ms, [alive] { FAIL("was destroyed"); });
    stall(io, 50ms);
  }
  CHECK(alive.use_count() == 1);
  CHECK(out_of_work(io));
  stall(io, 100s);
}

TEST_CASE("A wheel may be destroyed while it is empty, and before its context ever runs",
          "[lifetimes]") {
  asio::io_context io;
  { const manual_wheel wheel{io}; }
  CHECK(out_of_work(io));
}

TEST_CASE("The execution context may be destroyed first", "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::optional<manual_wheel> wheel;
  if (GENERATE(false, true))
    wheel.emplace(asio::make_strand(*io));
  else
    wheel.emplace(*io);
  const auto alive = std::make_shared<int>();
  const auto id = wheel->schedule_after(10ms, [alive] {});
  wheel->schedule_every(10ms, 10ms, asio::bind_executor(asio::make_strand(*io), [alive] {}));
  wheel->schedule_after(10s, [alive] {});
  const int state = GENERATE(0, 1, 2);
  if (state == 1)
    stall(*io, 5ms);
  if (state == 2) {
    manual_clock::advance(10ms);
    io->poll_one(); // maybe some are queued
    io->poll_one();
  }
  io.reset();
  CHECK(alive.use_count() == 1);
  check_shut_down(*wheel, id);
  wheel.reset();
}

TEST_CASE("The execution context may be destroyed while the last handle of a wheel is",
          "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  auto owners = std::make_shared<int>();
  const std::weak_ptr<int> executors = owners;
  auto timer = last_handle<wheel_with<ending_traits>>(*io, std::move(owners));
  CHECK_FALSE(executors.expired()); // that of the handle's wheel
  bool asked = false;
  ending_mutex::on_end = [&] {
    asked = true;
    CHECK(executors.expired());
    io.reset();
  };
  timer = {};
  CHECK(asked);
}

TEST_CASE("The execution context waits for the last handle of a wheel that another thread destroys",
          "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  std::atomic<bool> ending{false};
  std::atomic<bool> gone{false};
  bool gone_too_early = false;
  auto timer = last_handle<manual_wheel>(*io, {&ending, [&](const void*) {
                                                 ending = true;
                                                 for (int i = 0; i != 20'000 && !gone; ++i)
                                                   std::this_thread::yield();
                                                 gone_too_early = gone;
                                               }});
  std::thread other([&] { timer = {}; });
  while (!ending)
    std::this_thread::yield();
  io.reset();
  gone = true;
  other.join();
  CHECK_FALSE(gone_too_early);
}

TEST_CASE("The thread pool of a wheel may be destroyed first", "[lifetimes]") {
  const at_start clock;
  auto pool = std::make_unique<asio::thread_pool>(1);
  manual_wheel wheel{*pool};
  const auto id = wheel.schedule_after(10h, [] {});
  pool->stop();
  pool->join();
  pool.reset();
  check_shut_down(wheel, id);
}

TEST_CASE("When its context is destroyed, a callback may call into the wheel", "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  manual_wheel wheel{*io};
  struct caller {
    manual_wheel* wheel;
    int* destroyed;
    caller(manual_wheel& w, int& d) : wheel{&w}, destroyed{&d} {}
    caller(caller&& other) noexcept
        : wheel{std::exchange(other.wheel, nullptr)}, destroyed{other.destroyed} {}
    ~caller() {
      if (wheel == nullptr)
        return;
      ++*destroyed;
      *destroyed += static_cast<int>(wheel->size());
      *destroyed += wheel->cancel(kestrel::timer_id());
      *destroyed += !refused_as_shut_down([this] { wheel->schedule_after(1s, [] {}); });
      wheel->shutdown();
    }
    void operator()() const {}
  };
  int destroyed = 0;
  wheel.schedule_after(1s, caller(wheel, destroyed));
  wheel.schedule_after(1s, caller(wheel, destroyed));
  if (GENERATE(true, false))
    io.reset();
  else
    wheel.shutdown();
  CHECK(destroyed == 2);
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE("An execution context may be stopped and restarted", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  for (int i = 0; i != 600; ++i)
    wheel.schedule_after(10ms, [&io, i, note = ran.note(i)]() mutable {
      note();
      if (i % 50 == 0)
        io.stop();
    });
  wheel.schedule_after(1s, ran.note(600));
  manual_clock::advance(10ms);
  int stopped = 0;
  for (int round = 0; round != 100'000 && ran.size() != 600; ++round) {
    io.restart();
    io.poll();
    stopped += io.stopped();
  }
  CHECK(stopped >= 2); // one that was begun goes on to its end, which is a bounded number
  REQUIRE(ran.size() == 600);
  stall(io, 1s);
  REQUIRE(ran.size() == 601);
  for (int i = 0; i != 601; ++i)
    CHECK(ran[static_cast<std::size_t>(i)].label == i);
}

TEST_CASE("Timers that fall due while the context stands still run when it is run again",
          "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io};
  journal ran;
  wheel.schedule_after(20ms, ran.note(2));
  wheel.schedule_after(10ms, ran.note(1));
  io.stop();
  wheel.schedule_after(3s, ran.note(3));
  manual_clock::advance(10s);
  const std::size_t handled = io.run();
#if !defined(_WIN32) // whose queue still hands out what was in it before the stop
  CHECK(handled == 0);
#endif
  static_cast<void>(handled);
  settle(io);
  CHECK(ran.labels() == std::vector{1, 2, 3});
}

TEST_CASE("A wheel may be destroyed inside its own callback", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  auto wheel = std::make_unique<manual_wheel>(io);
  int ran = 0;
  const auto alive = std::make_shared<int>();
  const auto destroy = [&, alive] {
    ++ran;
    wheel.reset();
  };
  SECTION("once") { wheel->schedule_after(10ms, destroy); }
  SECTION("periodic") { wheel->schedule_every(10ms, 10ms, destroy); }
  SECTION("bound") {
    wheel->schedule_after(10ms, asio::bind_executor(asio::make_strand(io), destroy));
  }
  SECTION("bound and periodic") {
    wheel->schedule_every(10ms, 10ms, asio::bind_executor(asio::make_strand(io), destroy));
  }
  SECTION("while a batch is queued behind it") {
    wheel->schedule_after(10ms, destroy);
    for (int i = 0; i != 300; ++i)
      wheel->schedule_after(10ms, [alive] { FAIL("was destroyed"); });
    wheel->schedule_after(
        10ms, asio::bind_executor(asio::make_strand(io), [] { FAIL("was destroyed"); }));
  }
  SECTION("and then throws") {
    wheel->schedule_every(10ms, 10ms, [&, alive] {
      ++ran;
      wheel.reset();
      throw 1;
    });
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), int);
  }
  stall(io, 10ms);
  CHECK(ran == 1);
  CHECK_FALSE(wheel);
  stall(io, 10ms);
  CHECK(out_of_work(io));
  CHECK(ran == 1);
}

TEST_CASE("A wheel may be destroyed in the destructor of a callback", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  auto wheel = std::make_unique<manual_wheel>(io);
  struct destroys {
    std::unique_ptr<manual_wheel>* wheel;
    explicit destroys(std::unique_ptr<manual_wheel>& w) : wheel{&w} {}
    destroys(destroys&& other) noexcept : wheel{std::exchange(other.wheel, nullptr)} {}
    ~destroys() {
      if (wheel != nullptr)
        wheel->reset();
    }
    void operator()() const {}
  };
  SECTION("when it fired") {
    wheel->schedule_after(10ms, destroys(wheel));
    wheel->schedule_after(10ms, [] { FAIL("was destroyed"); });
    stall(io, 10ms);
  }
  SECTION("when it was cancelled") {
    const auto id = wheel->schedule_after(10ms, destroys(wheel));
    CHECK(wheel->cancel(id));
  }
  SECTION("when it was replaced") {
    const auto id = wheel->schedule_after(10ms, destroys(wheel));
    CHECK(wheel->postpone(id, 1s, [] {}));
  }
  SECTION("when it cancelled itself") {
    wheel->schedule_every(10ms, 10ms, [&wheel, d = destroys(wheel)](kestrel::timer_id id) {
      CHECK(wheel->cancel(id));
    });
    stall(io, 10ms);
  }
  SECTION("in a shutdown") {
    wheel->schedule_after(10ms, destroys(wheel));
    wheel->shutdown();
  }
  CHECK_FALSE(wheel);
  stall(io, 1s);
  CHECK(out_of_work(io));
}

TEST_CASE("Callbacks may own the object that owns the wheel", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  struct session {
    explicit session(asio::io_context& context) : wheel{context} {}
    manual_wheel wheel;
    int ran = 0;
  };
  std::weak_ptr<session> watch;
  SECTION("until the last of them has run") {
    {
      const auto s = std::make_shared<session>(io);
      watch = s;
      for (int i = 1; i != 10; ++i)
        s->wheel.schedule_after(i * 10ms, [s] { ++s->ran; });
    }
    pass(io, 80ms);
    CHECK_FALSE(watch.expired());
    pass(io, 10ms);
    CHECK(watch.expired());
  }
  SECTION("until the last of them was cancelled") {
    {
      const auto s = std::make_shared<session>(io);
      watch = s;
      const auto id = s->wheel.schedule_every(10ms, 10ms, [s] { ++s->ran; });
      s->wheel.schedule_after(35ms, [&wheel = s->wheel, id] { wheel.cancel(id); });
    }
    pass(io, 30ms);
    CHECK_FALSE(watch.expired());
    pass(io, 10ms);
    CHECK(watch.expired());
  }
  CHECK(out_of_work(io));
}

TEST_CASE("A callback on its way to another context outlives the wheel harmlessly", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  bool ran = false;
  {
    manual_wheel wheel{io};
    wheel.schedule_after(10ms, asio::bind_executor(other, [&] { ran = true; }));
    stall(io, 10ms);
  }
  SECTION("when that context runs") { other.run(); }
  SECTION("when it does not") {}
  CHECK_FALSE(ran);
}

namespace {

/// A callback that is due and queued on a context of its own.
struct with_own_context : one_wheel {
  std::optional<asio::io_context> own{std::in_place};
  journal ran;
  std::vector<asio::error_code> told;

  auto note_error() {
    return [this](asio::error_code ec, kestrel::completion) { told.push_back(ec); };
  }
};

/// Looks, when it is destroyed, whether a wheel's lock is held, and calls `f`.
template <class F>
class at_end {
public:
  explicit at_end(F f) : f_{std::move(f)} {}
  at_end(at_end&& other) noexcept
      : f_{std::move(other.f_)}, moved_{std::exchange(other.moved_, true)} {}

  ~at_end() {
    if (moved_)
      return;
    CHECK(checked_mutex::held() == 0);
    f_();
  }

  void operator()() const {}

private:
  F f_;
  bool moved_ = false;
};

} // namespace

namespace kestrel_tests {

/// Its context is there, but does nothing that it is given.
class dropping_executor : public executor_base<dropping_executor> {
public:
  using executor_base::executor_base;

  template <class F>
  void execute(F f) const {
    static_cast<void>(f);
  }
};

} // namespace kestrel_tests

TEST_CASE_METHOD(with_own_context, "A due callback ends with the context that it was to run on",
                 "[lifetimes]") {
  int destroyed = 0;
  const auto action = [this, &destroyed] {
    return asio::bind_executor(*own, at_end([&destroyed] { ++destroyed; }));
  };
  manual_wheel::handle_type timer;
  SECTION("once") { timer = wheel.schedule(kestrel::timer_task::one_shot(10ms, action())); }
  SECTION("periodic") {
    timer = wheel.schedule(kestrel::timer_task::periodic(10ms, 10ms, action()));
  }
  timer.async_wait(note_error());
  const auto later = wheel.schedule_after(1h, ran.note(1));
  stall(io, 10ms);
  CHECK(timer.expiry());
  CHECK(destroyed == 0);
  own.reset();
  CHECK(destroyed == 1);
  CHECK_FALSE(timer.expiry());
  CHECK_FALSE(timer.cancel());
  CHECK_FALSE(timer.postpone(10ms));
  CHECK(wheel.size() == 1);
  settle(io);
  CHECK(told == std::vector<asio::error_code>{asio::error::operation_aborted});
  timer.async_wait(note_error());
  settle(io);
  CHECK(told.size() == 2);
  CHECK(told.back() == asio::error::operation_aborted);
  CHECK(wheel.cancel(later));
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(with_own_context, "A due callback ends when its executor drops it at once",
                 "[lifetimes]") {
  int destroyed = 0;
  const auto timer = wheel.schedule(kestrel::timer_task::one_shot(
      10ms, asio::bind_executor(dropping_executor(io), at_end([&destroyed] { ++destroyed; }))));
  wheel.schedule_after(10ms, ran.note(1));
  timer.async_wait(note_error());
  stall(io, 10ms);
  CHECK(destroyed == 1);
  CHECK(told == std::vector<asio::error_code>{asio::error::operation_aborted});
  CHECK(ran == journal{{1, 10ms}});
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(with_own_context, "A service forgets its timers whose own context is gone",
                 "[lifetimes]") {
  kestrel::timer_service service{wheel};
  const auto id = service.schedule_every(10ms, 10ms, asio::bind_executor(*own, [] {}));
  stall(io, 10ms);
  own.reset();
  CHECK(service.empty());
  CHECK_FALSE(service.cancel(id));
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(with_own_context,
                 "A callback that waits for its own context can be cancelled, or replaced",
                 "[lifetimes]") {
  const auto id = wheel.schedule_after(10ms, asio::bind_executor(*own, ran.note(1)));
  wheel.async_wait(id, note_error());
  stall(io, 10ms);
  if (GENERATE(true, false)) {
    CHECK(wheel.cancel(id));
    CHECK(wheel.empty());
    own.reset(); // with the callback in its queue
    stall(io, 1h);
    CHECK(ran.empty());
  } else {
    CHECK(wheel.postpone(id, 10ms, ran.note(2)));
    own.reset();
    pass(io, 20ms);
    CHECK(ran == journal{{2, 20ms}});
    CHECK(wheel.empty());
  }
  CHECK(told == std::vector{asio::error_code()});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(with_own_context, "A callback that ends with its context may end the wheel",
                 "[lifetimes]") {
  std::optional<manual_wheel> ended(std::in_place, io);
  const auto end = [&] { ended.reset(); };
  ended->schedule_after(10ms, asio::bind_executor(*own, at_end(end)));
  ended->schedule_after(1h, [] { FAIL("was destroyed"); });
  stall(io, 10ms);
  own.reset();
  CHECK_FALSE(ended);
  CHECK(out_of_work(io));
}

TEST_CASE("A timer is cancelled or ends with its own context, whichever is first", "[lifetimes]") {
  const at_start clock;
  for (int round = 0; round != 500; ++round) {
    asio::io_context io;
    std::optional<asio::thread_pool> own(std::in_place, 1);
    manual_wheel wheel{io};
    const auto timer =
        wheel.schedule(kestrel::timer_task::periodic(0ms, 10ms, asio::bind_executor(*own, [] {})));
    int aborted = 0;
    int cancelled = 0;
    timer.async_wait([&](asio::error_code ec, kestrel::completion c) {
      aborted += ec == asio::error::operation_aborted;
      cancelled += !ec && c == kestrel::completion::cancelled;
    });
    own->stop();
    own->join();
    stall(io, 10ms);
    CHECK(timer.expiry());
    bool was_pending = false;
    std::thread other([&] { was_pending = timer.cancel(); });
    own.reset();
    other.join();
    CHECK(out_of_work(io));
    CHECK(aborted == !was_pending);
    CHECK(cancelled == was_pending);
    CHECK(wheel.empty());
  }
}

TEST_CASE("Two wheels on one context do not disturb one another", "[lifetimes]") {
  const at_start clock;
  asio::io_context io;
  journal ran;
  manual_wheel staying{io};
  staying.schedule_after(30ms, ran.note(1));
  {
    manual_wheel going{io};
    going.schedule_after(10ms, ran.note(2));
    going.schedule_after(20ms, ran.note(3));
    staying.schedule_after(20ms, ran.note(4));
    pass(io, 10ms);
  }
  pass(io, 20ms);
  CHECK(ran == journal{{2, 10ms}, {4, 20ms}, {1, 30ms}});
}

TEST_CASE("Thousands of wheels, in any order of destruction", "[lifetimes]") {
  const at_start clock;
  auto io = std::make_unique<asio::io_context>();
  std::vector<std::unique_ptr<wheel_with<tiny_traits>>> wheels;
  int ran = 0;
  for (int i = 0; i != 2000; ++i) {
    wheels.push_back(std::make_unique<wheel_with<tiny_traits>>(*io));
    wheels.back()->schedule_after((i % 40) * 1ms, [&ran] { ++ran; });
  }
  for (std::size_t i = 0; i < wheels.size(); i += 2)
    wheels[i].reset();
  stall(*io, 40ms);
  CHECK(ran == 1000);
  for (auto& wheel : wheels) {
    if (wheel)
      wheel->schedule_after(1h, [&ran] { ++ran; });
  }
  for (std::size_t i = wheels.size() - 1; i > 1000; --i)
    wheels[i].reset();
  io.reset();
  for (auto& wheel : wheels) {
    if (wheel) {
      CHECK(wheel->empty());
    }
  }
  CHECK(ran == 1000);
}

TEST_CASE("A context ends when waits for its timers that end on other threads have been told",
          "[lifetimes][threads]") {
  const at_start clock;
  struct progress {
    std::thread::id test = std::this_thread::get_id();
    std::atomic<bool> being_told = false;
    std::atomic<bool> ended = false;
    std::atomic<bool> too_late = false;
  };
  // Takes a while when it is moved on its way to its executor.
  struct handler {
    explicit handler(progress& p) : of{p} {}
    handler(handler&& other) noexcept : of{other.of} {
      if (std::this_thread::get_id() == of.test || of.being_told.exchange(true))
        return;
      for (int i = 0; i != 1000 && !of.ended; ++i)
        std::this_thread::yield();
      of.too_late = of.ended.load();
    }
    void operator()(asio::error_code, kestrel::completion) const {}
    progress& of;
  };
  progress p;
  auto io = std::make_unique<asio::io_context>();
  auto wheel = std::make_unique<manual_wheel>(*io);
  auto handle = wheel->schedule(kestrel::timer_task::one_shot(1h));
  handle.async_wait(handler(p));
  std::thread other([&] { handle.cancel(); });
  while (!p.being_told)
    std::this_thread::yield();
  wheel.reset();
  io.reset();
  p.ended = true;
  other.join();
  CHECK_FALSE(p.too_late);
}

TEST_CASE("A callback that is cancelled together with others may end the context", "[lifetimes]") {
  auto io = std::make_shared<asio::io_context>();
  manual_wheel wheel{*io};
  const kestrel::timer_id owner = wheel.schedule_after(1h, [io] {});
  const kestrel::timer_id waited_for = wheel.schedule_after(1h, [] {});
  const auto alive = std::make_shared<int>();
  wheel.async_wait(waited_for, [alive](asio::error_code, kestrel::completion) {});
  io.reset();
  CHECK(wheel.cancel({owner, waited_for}) == 2); // or it waits for ever, for itself
  CHECK(alive.use_count() == 1);
}

TEST_CASE(
    "A callback on an executor of its own may end the context of those who wait for its timer",
    "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  asio::io_context other;
  std::optional<manual_wheel> wheel(std::in_place, *io);
  const auto alive = std::make_shared<int>();
  long left = 0;
  kestrel::timer_id id;
  const bool is_periodic = GENERATE(false, true);
  const bool is_cancelled = GENERATE(false, true);
  const bool wheel_first = GENERATE(false, true);
  auto end = asio::bind_executor(other, [&] {
    if (is_cancelled)
      wheel->cancel(id);
    if (wheel_first)
      wheel.reset();
    io.reset();
    left = alive.use_count() - 1;
  });
  id = is_periodic ? wheel->schedule_every(10ms, 10ms, end) : wheel->schedule_after(10ms, end);
  wheel->async_wait(id, [alive](asio::error_code, kestrel::completion) {});
  wheel->async_wait(id, [alive](asio::error_code, kestrel::completion) {});
  stall(*io, 20ms);
  other.run();
  CHECK_FALSE(io);
  CHECK(left == 0); // its handlers go with a context
}

TEST_CASE("Who waits on another context is told how a timer ended when the wheel's has gone",
          "[lifetimes]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  asio::io_context other;
  manual_wheel wheel{*io};
  auto handle = wheel.schedule(
      kestrel::timer_task::one_shot(10ms, asio::bind_executor(other, [&] { io.reset(); })));
  std::vector<asio::error_code> told;
  const auto note = [&] {
    return asio::bind_executor(
        other, [&told](asio::error_code ec, kestrel::completion) { told.push_back(ec); });
  };
  handle.async_wait(note());
  stall(*io, 10ms);
  other.run();
  CHECK(told == std::vector<asio::error_code>{asio::error::operation_aborted});
  for (int i = 0; i != 2; ++i)
    handle.async_wait(note());
  other.restart();
  other.run();
  CHECK(told == std::vector<asio::error_code>{
                    asio::error::operation_aborted, {}, asio::error::operation_aborted});
}

TEST_CASE("A callback that its wheel destroys may end the context of those who wait",
          "[lifetimes]") {
  const auto alive = std::make_shared<int>();
  long left = 0;
  std::shared_ptr<asio::io_context> io(new asio::io_context, [&](asio::io_context* last) {
    delete last;
    left = alive.use_count() - 1;
  });
  std::optional<manual_wheel> wheel(std::in_place, *io);
  wheel->schedule_after(1h, [io] {});
  wheel->async_wait_after(1h, [alive](asio::error_code) {});
  io.reset();
  if (GENERATE(false, true))
    wheel->shutdown();
  wheel.reset();
  CHECK(left == 0);
  CHECK(alive.use_count() == 1);
}

namespace {

/// How a handler that ends on another thread sees to it that the context has every chance to end
/// before.
struct late_handler {
  struct progress {
    std::thread::id test = std::this_thread::get_id();
    std::atomic<bool> being_told = false;
    std::atomic<bool> ended = false;
    std::atomic<bool> too_late = false;

    void let_it_end() {
      being_told = true;
      for (int i = 0; i != 1000 && !ended; ++i)
        std::this_thread::yield();
      too_late = ended.load();
    }
  };

  explicit late_handler(progress& p) : of{p} {}

  /// As it is on its way to its executor.
  late_handler(late_handler&& other) noexcept : of{other.of} {
    if (std::this_thread::get_id() != of.test && !of.being_told)
      of.let_it_end();
  }

  template <class... Results>
  void operator()(Results...) const {}

  progress& of;
};

/// Lets a test come in after this thread has unlocked it the next time.
struct paused_mutex : checked_mutex {
  inline static thread_local std::function<void()> on_unlock;

  void unlock() {
    checked_mutex::unlock();
    if (const auto f = std::exchange(on_unlock, nullptr))
      f();
  }
};

struct paused_traits : manual_traits {
  using mutex = paused_mutex;
};

/// Destroys the context while `end` tells those who wait on another thread.
template <class End>
void check_that_context_waits(std::unique_ptr<asio::io_context> io, late_handler::progress& p,
                              End end) {
  std::thread other(end);
  while (!p.being_told)
    std::this_thread::yield();
  io.reset();
  p.ended = true;
  other.join();
  CHECK_FALSE(p.too_late);
}

} // namespace

TEST_CASE("A context ends when waits that a slot ends on another thread have been told",
          "[lifetimes][threads]") {
  const at_start clock;
  late_handler::progress p;
  auto io = std::make_unique<asio::io_context>();
  manual_wheel wheel(*io);
  asio::cancellation_signal signal;
  wheel.async_wait_after(1h, asio::bind_cancellation_slot(signal.slot(), late_handler(p)));
  check_that_context_waits(std::move(io), p,
                           [&] { signal.emit(asio::cancellation_type::terminal); });
}

TEST_CASE("A context ends when waits of a wheel that another thread shuts down have been told",
          "[lifetimes][threads]") {
  const at_start clock;
  late_handler::progress p;
  auto io = std::make_unique<asio::io_context>();
  wheel_with<paused_traits> wheel(*io);
  SECTION("for a time") {
    wheel.async_wait_after(1h, late_handler(p));
    check_that_context_waits(std::move(io), p, [&] { wheel.shutdown(); });
  }
  SECTION("for a timer, before any was told") {
    wheel.async_wait(wheel.schedule_after(1h, [] {}), [](asio::error_code, kestrel::completion) {});
    check_that_context_waits(std::move(io), p, [&] {
      paused_mutex::on_unlock = [&] { p.let_it_end(); };
      wheel.shutdown();
    });
  }
}
