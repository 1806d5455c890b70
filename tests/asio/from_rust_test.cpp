// SPDX-License-Identifier: MIT
//
// docs/from-rust.md: each row of its table as code that runs, under the row's number, then the
// counterparts of the tests of Kestrel Timer for Rust, then its defects as regression tests. The
// page shows code from here, which tests/from_rust.cmake sees to.

#include <kestrel/kestrel.hpp>

#include "error_of.hpp"
#include "manual_clock.hpp"
#include "sanitizers.hpp"

#include <asio/io_context.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using kestrel_tests::error_of;

namespace {

using steady = std::chrono::steady_clock;

/// A wheel as a program has it, on the real clock.
struct real_wheel {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  int ran = 0;
  std::function<void()> f = [this] { ++ran; };

  std::vector<kestrel::timer_task> three_tasks() {
    std::vector<kestrel::timer_task> tasks;
    for (int i = 0; i != 3; ++i)
      tasks.push_back(kestrel::timer_task::one_shot(10ms, f));
    return tasks;
  }
};

} // namespace

// ---- The table

TEST_CASE_METHOD(real_wheel, "1-3 Tasks", "[from_rust]") {
  auto once = kestrel::timer_task::one_shot(10ms, f);
  auto often = kestrel::timer_task::periodic(10ms, 20ms, f);
  auto silent = kestrel::timer_task::one_shot(10ms);
  CHECK(once.type() == kestrel::timer_kind::one_shot);
  CHECK(often.type() == kestrel::timer_kind::periodic);
  CHECK(often.interval() == 20ms);
  CHECK_FALSE(once.interval());
  CHECK(once.delay() == 10ms);
  wheel.schedule(std::move(once));
  wheel.schedule(std::move(silent));
  io.run();
  CHECK(ran == 1);
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE_METHOD(real_wheel, "4 Asynchronous callbacks", "[from_rust]") {
  kestrel::timer_id id;
  id = wheel.schedule_every(10ms, 10ms, [&]() -> asio::awaitable<void> {
    co_await wheel.async_wait_after(1ms, asio::use_awaitable);
    if (++ran == 3)
      wheel.cancel(id);
  });
  io.run();
  CHECK(ran >= 3);
}
#endif

namespace {

struct on_timeout {
  std::vector<kestrel::timer_id>& told;
  void operator()(kestrel::timer_id id) const { told.push_back(id); }
};

} // namespace

TEST_CASE_METHOD(real_wheel, "5 A type of its own as callback", "[from_rust]") {
  std::vector<kestrel::timer_id> told;
  const auto id = wheel.schedule_after(10ms, on_timeout{told});
  io.run();
  CHECK(told == std::vector{id});
}

TEST_CASE("6-7 Wheels", "[from_rust]") {
  asio::io_context io;
  int ran = 0;
  {
    kestrel::timer_wheel wheel{io};
    wheel.schedule_after(10ms, [&] { ++ran; });
    io.run();
  }
  {
    kestrel::timer_wheel wheel{io, kestrel::wheel_config::network_timeouts()};
    wheel.schedule_after(10ms, [&] { ++ran; });
    io.restart();
    io.run();
  }
  CHECK(ran == 2);
}

TEST_CASE_METHOD(real_wheel, "8-10 In two steps", "[from_rust]") {
  kestrel::timer_slot slot = wheel.allocate();
  const kestrel::timer_id id = slot.id();
  auto task = kestrel::timer_task::one_shot(10ms, [&, id] { ran += id ? 1 : 0; });
  kestrel::timer_handle timer = wheel.schedule(std::move(slot), std::move(task));
  CHECK(timer.id() == id);
  std::vector<kestrel::timer_slot> several = wheel.allocate(3);
  CHECK(several.size() == 3);
  CHECK(wheel.size() == 1);
  io.run();
  CHECK(ran == 1);
}

TEST_CASE_METHOD(real_wheel, "11-12 Batches", "[from_rust]") {
  std::vector<kestrel::timer_slot> slots = wheel.allocate(3);
  std::vector<kestrel::timer_task> tasks = three_tasks();
  tasks.pop_back();
  CHECK(error_of([&] { wheel.schedule(slots, tasks); }) == kestrel::errc::batch_length_mismatch);
  CHECK(wheel.empty());
  tasks.push_back(kestrel::timer_task::one_shot(10ms, f));
  kestrel::batch_handle batch = wheel.schedule(slots, tasks);
  CHECK(batch.size() == 3);
  tasks = three_tasks();
  wheel.schedule(tasks);
  io.run();
  CHECK(ran == 6);
}

TEST_CASE_METHOD(real_wheel, "13-14 Cancelling", "[from_rust]") {
  const auto id = wheel.schedule_after(10ms, f);
  CHECK(wheel.cancel(id));
  CHECK_FALSE(wheel.cancel(id));
  std::vector<kestrel::timer_task> tasks = three_tasks();
  std::vector<kestrel::timer_id> ids = wheel.schedule(tasks).ids();
  ids.push_back(id);
  CHECK(wheel.cancel(ids) == 3);
  CHECK(wheel.cancel({id, ids[0]}) == 0);
  io.run();
  CHECK(ran == 0);
}

TEST_CASE_METHOD(real_wheel, "15-17 Postponing", "[from_rust]") {
  using namespace std::chrono;
  const auto id = wheel.schedule_after(10ms, [] { FAIL("was replaced"); });
  CHECK(wheel.postpone(id, 30s));
  CHECK(wheel.postpone(id, 20ms, f));
  const auto a = wheel.schedule_after(30s, f);
  const auto b = wheel.schedule_after(30s, [] { FAIL("was replaced"); });
  const std::vector<std::pair<kestrel::timer_id, milliseconds>> moves{{a, 10ms}, {b, 20ms}};
  CHECK(wheel.postpone(moves) == 2);
  const std::vector<std::tuple<kestrel::timer_id, milliseconds, std::function<void()>>> replaced{
      {b, 10ms, [this] { ran += 10; }}};
  CHECK(wheel.postpone(replaced) == 1);
  const std::vector<std::tuple<kestrel::timer_id, milliseconds, std::optional<decltype(f)>>> some{
      {a, 10ms, std::nullopt}, {b, 10ms, [this] { ran += 100; }}};
  CHECK(wheel.postpone(some) == 2);
  CHECK(wheel.postpone({{a, 10ms}, {b, 20ms}}) == 2);
  io.run();
  CHECK(ran == 102);
}

TEST_CASE_METHOD(real_wheel, "18 Handles", "[from_rust]") {
  kestrel::timer_handle timer = wheel.schedule(kestrel::timer_task::one_shot(30s, f));
  CHECK(timer.postpone(40s));
  CHECK(timer.postpone(40s, f));
  CHECK(timer.expiry() > steady::now() + 30s);
  CHECK(timer.id() != kestrel::timer_id());
  CHECK(timer.cancel());
  CHECK_FALSE(timer.postpone(40s));
  kestrel::scoped_timer member = wheel.schedule(kestrel::timer_task::one_shot(30s, f));
  member = {};
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(real_wheel, "19-20 Handles of batches", "[from_rust]") {
  std::vector<kestrel::timer_task> tasks = three_tasks();
  kestrel::batch_handle batch = wheel.schedule(tasks);
  CHECK(batch.postpone_all(30s) == 3);
  const std::vector delays{10ms, 20ms, 30ms};
  CHECK(batch.postpone_each(delays) == 3);
  CHECK(batch.postpone_each({10ms, 20ms, 30ms}) == 3);
  const std::vector<std::function<void()>> callbacks{f, f, [this] { ran += 10; }};
  CHECK(batch.postpone_each(delays, callbacks) == 3);
  const std::vector<std::optional<std::function<void()>>> some{std::nullopt, f, std::nullopt};
  CHECK(batch.postpone_each(delays, some) == 3);
  CHECK(batch.size() == 3);
  CHECK_FALSE(batch.empty());
  CHECK(batch.ids().size() == 3);
  std::set<kestrel::timer_id> seen;
  for (kestrel::timer_handle timer : batch)
    seen.insert(timer.id());
  CHECK(seen.size() == 3);
  std::vector<kestrel::timer_handle> timers(batch.begin(), batch.end());
  CHECK(timers[0].cancel());
  io.run();
  CHECK(ran == 11);
  CHECK(batch.cancel_all() == 0);
}

TEST_CASE_METHOD(real_wheel, "21-23 What became of a timer", "[from_rust]") {
  std::vector<kestrel::completion::outcome> told;
  const auto handler = [&](asio::error_code, kestrel::completion c) { told.push_back(c); };
  kestrel::timer_handle timer = wheel.schedule(kestrel::timer_task::one_shot(10ms));
  timer.async_wait([&](asio::error_code ec, kestrel::completion c) { handler(ec, c); });
  kestrel::timer_handle other = wheel.schedule(kestrel::timer_task::one_shot(30s));
  kestrel::timer_handle copy = other;
  CHECK(other.expiry().has_value());
  CHECK_FALSE(other.try_wait());
  other.cancel();
  CHECK_FALSE(other.expiry().has_value());
  std::optional<kestrel::completion> news = other.try_wait();
  CHECK((news && *news == kestrel::completion::cancelled));
  copy.async_wait([&](asio::error_code ec, kestrel::completion c) { handler(ec, c); });
  io.run();
  CHECK(told == std::vector{kestrel::completion::cancelled, kestrel::completion::fired});
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE_METHOD(real_wheel, "21 The same, awaited", "[from_rust]") {
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        kestrel::timer_handle timer = wheel.schedule(kestrel::timer_task::periodic(10ms, 10ms, f));
        std::uint64_t firings = 0;
        while (firings < 3) {
          const kestrel::completion c = co_await timer.async_wait(asio::use_awaitable);
          CHECK(c == kestrel::completion::fired);
          firings += c.count();
        }
        timer.cancel();
        const kestrel::completion last = co_await timer.async_wait(asio::use_awaitable);
        CHECK(last == kestrel::completion::cancelled);
      },
      asio::detached);
  io.run();
  CHECK(ran >= 3);
}
#endif

TEST_CASE_METHOD(real_wheel, "24-30 and 33 Services", "[from_rust]") {
  using namespace std::chrono;
  kestrel::timer_service service{wheel, {.capacity = 1000}};
  kestrel::service_config config;
  CHECK(config.capacity == 1000);

  kestrel::timer_slot slot = service.allocate();
  const auto in_slot = slot.id();
  service.schedule(std::move(slot), kestrel::timer_task::one_shot(10ms, f));
  std::vector<kestrel::timer_slot> slots = service.allocate(3);
  std::vector<kestrel::timer_task> tasks = three_tasks();
  std::vector<kestrel::timer_id> ids = service.schedule(slots, tasks);
  const auto id = service.schedule_after(10ms, f);
  const auto often = service.schedule_every(30s, 10ms, f);
  CHECK(service.cancel(id));
  CHECK(service.cancel(ids) == 3);
  CHECK(service.postpone(in_slot, 20ms));
  CHECK(service.postpone(in_slot, 20ms, f));
  const std::vector<std::pair<kestrel::timer_id, milliseconds>> moves{{often, 40ms}};
  CHECK(service.postpone(moves) == 1);
  const std::vector<std::tuple<kestrel::timer_id, milliseconds, std::optional<decltype(f)>>> kept{
      {often, 40ms, std::nullopt}};
  CHECK(service.postpone(kept) == 1);

  std::vector<kestrel::timer_notification> received;
  const auto note = [&](kestrel::timer_notification notification) {
    CHECK(notification.is_one_shot() == (notification.id == in_slot));
    CHECK(notification.is_periodic() == (notification.id == often));
    CHECK(notification.count == 1);
    received.push_back(notification);
  };
  std::function<void()> receive = [&] {
    service.async_receive([&](asio::error_code error, kestrel::timer_notification n) {
      if (error)
        return;
      note(n);
      if (received.size() == 3)
        service.shutdown();
      receive();
    });
  };
  receive();
  CHECK_FALSE(service.try_receive());
  io.run();
  CHECK(received.size() >= 3);
  CHECK(received[0].id == in_slot);
  CHECK(ran >= 3);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(real_wheel, "31 The end", "[from_rust]") {
  const auto id = wheel.schedule_after(10ms, f);
  wheel.shutdown();
  CHECK_FALSE(wheel.cancel(id));
  CHECK(error_of([&] { wheel.schedule_after(10ms, f); }) == kestrel::errc::shut_down);
  io.run();
  CHECK(ran == 0);
}

TEST_CASE("32, 35, 36 Configuration, and its errors", "[from_rust]") {
  constexpr auto config = kestrel::wheel_config().with_l0_tick(5ms).with_l0_slots(1024);
  static_assert(config.problem() == kestrel::errc{});
  CHECK_FALSE(config.validate());
  CHECK(config.with_l0_tick(0ms).validate() == kestrel::errc::invalid_l0_tick);
  CHECK(config.with_l0_slots(1000).validate() == kestrel::errc::invalid_l0_slots);
  CHECK(config.with_l1_tick(7ms).validate() == kestrel::errc::invalid_l1_tick);
  CHECK(config.with_l1_slots(0).validate() == kestrel::errc::invalid_l1_slots);

  asio::io_context io;
  try {
    kestrel::timer_wheel wheel{io, kestrel::wheel_config().with_l0_slots(1000)};
    FAIL("was accepted");
  } catch (const std::system_error& e) {
    CHECK(e.code() == kestrel::errc::invalid_l0_slots);
    CHECK(std::string(e.what()).find("l0_slots = 1000") != std::string::npos);
  }
  CHECK_FALSE(kestrel::wheel_config::network_timeouts().validate());
  CHECK_FALSE(kestrel::wheel_config::heartbeats().validate());
}

// ---- What the model's own tests show

namespace {

/// What this thread has worked, in whatever time: on a busy machine, that is not longer.
std::chrono::nanoseconds worked() {
#if defined(CLOCK_THREAD_CPUTIME_ID)
  std::timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
#else // by all threads
  return std::chrono::nanoseconds(std::chrono::seconds(1)) * std::clock() / CLOCKS_PER_SEC;
#endif
}

} // namespace

TEST_CASE_METHOD(real_wheel, "Ten thousand timers are made in 100 ms, and all fire",
                 "[from_rust]") {
  constexpr int count = 10'000;
  const auto before = worked();
  for (int i = 0; i != count; ++i)
    wheel.schedule_after(10ms + std::chrono::milliseconds(i % 100), f);
  const auto took = worked() - before;
  if (!thread_sanitizer && !address_sanitizer)
    CHECK(took < 100ms);
  CHECK(wheel.size() == count);
  io.run();
  CHECK(ran == count);
}

TEST_CASE("From many threads, all timers are made and all fire", "[from_rust][threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::atomic<int> ran{0};
  std::atomic<int> cancelled{0};
  std::vector<std::thread> threads;
  for (int t = 0; t != 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i != 2500; ++i) {
        const auto id = wheel.schedule_after(std::chrono::milliseconds(i % 50), [&] { ++ran; });
        if (i % 5 == 0)
          cancelled += wheel.cancel(id) ? 1 : 0;
        else if (i % 5 == 1)
          wheel.postpone(id, 60ms);
      }
    });
  }
  for (std::thread& t : threads)
    t.join();
  std::thread second([&] { io.run(); });
  io.run();
  second.join();
  CHECK(ran + cancelled == 10'000);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(real_wheel, "A batch of a thousand is made, moved and cancelled", "[from_rust]") {
  std::vector<kestrel::timer_task> tasks;
  for (int i = 0; i != 1000; ++i)
    tasks.push_back(kestrel::timer_task::one_shot(30s, f));
  kestrel::batch_handle batch = wheel.schedule(tasks);
  CHECK(wheel.size() == 1000);
  const std::vector<kestrel::timer_id> half(batch.ids().begin(), batch.ids().begin() + 500);
  CHECK(wheel.cancel(half) == 500);
  CHECK(batch.postpone_all(10ms) == 500);
  io.run();
  CHECK(ran == 500);
}

TEST_CASE_METHOD(real_wheel, "A periodic timer fires until it is cancelled", "[from_rust]") {
  const auto began = steady::now();
  kestrel::timer_id id;
  std::uint64_t periods = 0;
  id = wheel.schedule_every(20ms, 20ms, [&](kestrel::timer_id self, std::uint64_t missed) {
    CHECK(self == id);
    periods += 1 + missed;
    CHECK(steady::now() >= began + 20ms * (periods - missed));
    if (++ran == 5)
      CHECK(wheel.cancel(self));
  });
  io.run();
  CHECK(ran == 5);
}

// ---- Its defects, and those of others, where no other test is about just that

using namespace kestrel_tests;

TEST_CASE_METHOD(one_wheel, "Nineteen milliseconds are never less, whenever they begin",
                 "[from_rust][defects]") {
  for (manual_clock::duration phase = 0ns; phase <= 10ms; phase += 61us) {
    stall(io, 10ms - (manual_clock::now() - manual_clock::start) % 10ms + phase);
    manual_clock::time_point ran;
    const auto due = manual_clock::now() + 19ms;
    wheel.schedule_after(19ms, [&] { ran = manual_clock::now(); });
    pass(io, 30ms, 1ms);
    CHECK(ran >= due);
    CHECK(ran <= due + tick + 1ms);
  }
}

TEST_CASE_METHOD(one_wheel, "Periods of fifteen milliseconds are no ten", "[from_rust][defects]") {
  int ran = 0;
  wheel.schedule_every(15ms, 15ms, [&] { ++ran; });
  pass(io, 15s);
  CHECK(ran == 1000);
}

TEST_CASE_METHOD(one_wheel, "After a stall, what was pending and what is made is on time",
                 "[from_rust][defects]") {
  const auto stalled = GENERATE(as<manual_clock::duration>(), 400ms, 6s, 70s, 24h);
  wheel.schedule_after(10ms, [] {});
  manual_clock::time_point ran_pending;
  const auto pending_due = manual_clock::now() + stalled + 50ms;
  wheel.schedule_after(stalled + 50ms, [&] { ran_pending = manual_clock::now(); });
  stall(io, stalled);
  manual_clock::time_point ran;
  const auto due = manual_clock::now() + 50ms;
  wheel.schedule_after(50ms, [&] { ran = manual_clock::now(); });
  pass(io, 100ms);
  CHECK(ran >= due);
  CHECK(ran <= due + tick);
  CHECK(ran_pending >= pending_due);
  CHECK(ran_pending <= pending_due + tick);
}

TEST_CASE_METHOD(one_wheel, "A callback whose destruction cancels another timer may be cancelled",
                 "[from_rust][defects]") {
  struct canceller {
    manual_wheel& wheel;
    kestrel::timer_id other;
    bool& did;
    ~canceller() { did = wheel.cancel(other); }
  };
  bool did = false;
  const auto other = wheel.schedule_after(1s, [] { FAIL("was cancelled"); });
  const auto id =
      wheel.schedule_after(1s, [c = std::shared_ptr<canceller>(new canceller{wheel, other, did})] {
        FAIL("was cancelled, replaced or shut down");
      });
  SECTION("cancelled") { CHECK(wheel.cancel(id)); }
  SECTION("in a batch") { CHECK(wheel.cancel(std::vector{id}) == 1); }
  SECTION("replaced") {
    CHECK(wheel.postpone(id, 1s, [] {}));
  }
  SECTION("replaced in a batch") {
    const auto nothing = [] {};
    CHECK(wheel.postpone(std::vector{std::tuple(id, 1s, nothing)}) == 1);
  }
  CHECK(did);
  CHECK(checked_mutex::take_violations() == 0);
  stall(io, 2s);
}

TEST_CASE_METHOD(one_wheel,
                 "However many firings wait to be read, a cancellation is told after them",
                 "[from_rust][defects]") {
  auto timer = wheel.schedule(kestrel::timer_task::periodic(10ms, 10ms));
  pass(io, 1s);
  timer.cancel();
  std::vector<std::pair<kestrel::completion::outcome, std::uint64_t>> told;
  for (int i = 0; i != 2; ++i) {
    timer.async_wait(
        [&](asio::error_code, kestrel::completion c) { told.emplace_back(c, c.count()); });
    settle(io);
  }
  CHECK(told == std::vector<std::pair<kestrel::completion::outcome, std::uint64_t>>{
                    {kestrel::completion::fired, 100}, {kestrel::completion::cancelled, 0}});
}

TEST_CASE_METHOD(one_wheel, "Slots that are allocated and never used are used again",
                 "[from_rust][defects]") {
  (void)wheel.allocate(100);
  const auto capacity = wheel.stats().capacity;
  for (int i = 0; i != 10'000; ++i)
    (void)wheel.allocate(100);
  CHECK(wheel.stats().capacity == capacity);
  CHECK(wheel.empty());
}

TEST_CASE("Ticks shorter than a millisecond are kept, or refused", "[from_rust][defects]") {
  const at_start clock;
  asio::io_context io;
  manual_wheel wheel{io, kestrel::wheel_config().with_l0_tick(500us).with_l1_tick(50ms)};
  journal ran;
  wheel.schedule_after(1500us, ran.note(1));
  wheel.schedule_after(60ms, ran.note(2));
  pass(io, 100ms, 500us);
  CHECK(ran == journal{{1, 1500us}, {2, 60ms}});
  CHECK(kestrel::wheel_config().with_l0_tick(300us).validate() == kestrel::errc::invalid_l1_tick);
}

TEST_CASE_METHOD(one_wheel, "An idle wheel does not wake", "[from_rust][defects]") {
  wheel.schedule_after(1h, [] {});
  const auto before = wheel.stats().wakeups;
  pass(io, 59min, 1s);
  CHECK(wheel.stats().wakeups - before <= 2);
}
