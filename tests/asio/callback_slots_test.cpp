// SPDX-License-Identifier: MIT
//
// Callbacks with a cancellation slot: what is emitted there cancels the timer, as `cancel` would,
// for as long as the timer has that callback; and the signal, the wheel and the callback may go in
// any order.

#include "error_of.hpp"
#include "manual_clock.hpp"
#include "notices.hpp"
#include "sanitizers.hpp"

#include <kestrel/timer_service.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using asio::cancellation_type;
using kestrel::errc;
using kestrel::timer_id;
using kestrel::timer_task;

namespace {

struct one_signal : one_wheel {
  /// `f` with the signal's slot.
  template <class F>
  auto bound(F f) {
    return asio::bind_cancellation_slot(signal.slot(), std::move(f));
  }

  auto counting() {
    return bound([this] { ++ran; });
  }

  void emit(cancellation_type type = cancellation_type::terminal) { signal.emit(type); }

  asio::cancellation_signal signal;
  int ran = 0;
};

/// A callable that tells how many of it there are, and which is moved as any other.
struct counted {
  explicit counted(int& alive) : alive_{&alive} { ++*alive_; }
  counted(const counted& other) : alive_{other.alive_} { ++*alive_; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*alive_; }

  void operator()() const {}

private:
  int* alive_;
};

/// A slot that has no memory for a handler.
struct failing_slot {
  static constexpr bool is_connected() noexcept { return true; }
  template <class F>
  void assign(F&&) {
    if (fails)
      throw std::bad_alloc();
  }
  inline static bool fails = false;
};

/// Every way to give a timer a callback, each of them 10 ms from now.
using way = timer_id (*)(one_signal&);

const std::vector<std::pair<const char*, way>> ways{
    {"schedule_after", [](one_signal& t) { return t.wheel.schedule_after(10ms, t.counting()); }},
    {"schedule_at",
     [](one_signal& t) { return t.wheel.schedule_at(manual_clock::now() + 10ms, t.counting()); }},
    {"schedule_every",
     [](one_signal& t) { return t.wheel.schedule_every(10ms, 10ms, t.counting()); }},
    {"schedule(task)",
     [](one_signal& t) { return t.wheel.schedule(timer_task::one_shot(10ms, t.counting())).id(); }},
    {"schedule(slot, task)",
     [](one_signal& t) {
       return t.wheel.schedule(t.wheel.allocate(), timer_task::periodic(10ms, 10ms, t.counting()))
           .id();
     }},
    {"schedule(tasks)",
     [](one_signal& t) {
       std::vector<timer_task> tasks;
       tasks.push_back(timer_task::one_shot(10ms, t.counting()));
       return t.wheel.schedule(tasks).ids()[0];
     }},
    {"postpone",
     [](one_signal& t) {
       const timer_id id = t.wheel.schedule_after(1h, [] {});
       CHECK(t.wheel.postpone(id, 10ms, t.counting()));
       return id;
     }},
    {"postpone_at",
     [](one_signal& t) {
       const timer_id id = t.wheel.schedule_after(1h, [] {});
       CHECK(t.wheel.postpone_at(id, manual_clock::now() + 10ms, t.counting()));
       return id;
     }},
    {"handle.postpone",
     [](one_signal& t) {
       auto timer = t.wheel.schedule(timer_task::one_shot(1h));
       CHECK(timer.postpone(10ms, t.counting()));
       return timer.id();
     }},
    {"postpone(moves)",
     [](one_signal& t) {
       const timer_id id = t.wheel.schedule_after(1h, [] {});
       auto f = t.counting();
       CHECK(t.wheel.postpone(std::array{std::tuple(id, 10ms, f)}) == 1);
       return id;
     }},
    {"postpone_each",
     [](one_signal& t) {
       std::vector<timer_task> tasks;
       tasks.push_back(timer_task::one_shot(1h));
       const auto batch = t.wheel.schedule(tasks);
       auto f = t.counting();
       CHECK(batch.postpone_each(std::array{std::pair(10ms, f)}) == 1);
       return batch.ids()[0];
     }},
};

} // namespace

TEST_CASE_METHOD(one_signal, "Whatever is emitted in a callback's slot cancels its timer",
                 "[callback_slots]") {
  const auto& [name, start] = ways[GENERATE(range(std::size_t{0}, ways.size()))];
  const auto type = GENERATE(cancellation_type::terminal, cancellation_type::partial,
                             cancellation_type::total, cancellation_type::all);
  CAPTURE(name);
  const timer_id id = start(*this);
  const auto before = wheel.stats().cancelled;
  emit(type);
  CHECK(wheel.stats().cancelled == before + 1);
  CHECK(wheel.empty());
  CHECK_FALSE(wheel.cancel(id));
  CHECK(out_of_work(io));
  stall(io, 10ms);
  CHECK(ran == 0);
  emit(type);
  CHECK(wheel.stats().cancelled == before + 1);
}

TEST_CASE_METHOD(one_signal, "A slot in which nothing, or `none`, is emitted cancels nothing",
                 "[callback_slots]") {
  const auto& [name, start] = ways[GENERATE(range(std::size_t{0}, ways.size()))];
  CAPTURE(name);
  emit(); // before there is a timer
  const timer_id id = start(*this);
  emit(cancellation_type::none);
  CHECK(wheel.size() == 1);
  stall(io, 10ms);
  CHECK(ran == 1);
  wheel.cancel(id);
}

TEST_CASE_METHOD(one_signal, "A callback whose slot belongs to no signal is as any other",
                 "[callback_slots]") {
  const auto f = asio::bind_cancellation_slot(asio::cancellation_slot(), [this] { ++ran; });
  wheel.schedule_after(10ms, f);
  wheel.schedule_at(manual_clock::now() + 10ms, f);
  wheel.schedule(timer_task::one_shot(10ms, f));
  const timer_id id = wheel.schedule_every(10ms, 10ms, f);
  CHECK(wheel.postpone(id, 10ms, f));
  stall(io, 10ms);
  CHECK(ran == 4);
  CHECK(wheel.cancel(id));
}

TEST_CASE_METHOD(one_signal, "A slot is found behind a bound executor, and in front of it",
                 "[callback_slots]") {
  const auto strand = asio::make_strand(io);
  const auto inner = bound([this] { ++ran; });
  const bool in_front = GENERATE(false, true);
  const auto f = asio::bind_executor(strand, inner);
  if (in_front)
    wheel.schedule_after(10ms, bound(asio::bind_executor(strand, [this] { ++ran; })));
  else
    wheel.schedule_after(10ms, f);
  emit();
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_signal, "A slot cancels a timer that is due and whose callback is queued",
                 "[callback_slots]") {
  asio::io_context other;
  const bool periodic = GENERATE(false, true);
  const auto f = asio::bind_executor(other, counting());
  if (periodic)
    wheel.schedule_every(10ms, 10ms, f);
  else
    wheel.schedule_after(10ms, f);
  stall(io, 10ms);
  emit();
  CHECK(wheel.empty());
  other.run();
  CHECK(ran == 0);
}

TEST_CASE_METHOD(one_signal, "Who waits for the timer is told of the cancellation",
                 "[callback_slots]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms, counting()));
  notices told;
  timer.async_wait(told.note());
  emit();
  settle(io);
  CHECK(told == notices{cancelled});
}

TEST_CASE_METHOD(one_signal, "A timer of a service is cancelled by its callback's slot",
                 "[callback_slots][service]") {
  kestrel::timer_service service{wheel};
  bool told = false;
  service.schedule_after(10ms, counting());
  service.async_receive([&](asio::error_code ec, auto) { told = !ec; });
  emit();
  CHECK(service.empty());
  CHECK(wheel.empty());
  const timer_id id = service.schedule_every(1h, 10ms);
  CHECK(service.postpone(id, 10ms, counting()));
  stall(io, 10ms);
  CHECK(told);
  CHECK(service.size() == 1);
  emit();
  CHECK(service.empty());
  CHECK(ran == 1);
}

TEST_CASE_METHOD(one_signal, "After the callback has run, its slot cancels no other timer",
                 "[callback_slots]") {
  wheel.schedule_after(10ms, counting());
  stall(io, 10ms);
  CHECK(ran == 1);
  wheel.schedule_after(10ms, [this] { ++ran; }); // in the same place of the arena
  emit();
  CHECK(wheel.size() == 1);
  stall(io, 10ms);
  CHECK(ran == 2);
}

TEST_CASE_METHOD(one_signal, "The slot of a periodic callback is good for all its firings",
                 "[callback_slots]") {
  wheel.schedule_every(10ms, 10ms, counting());
  pass(io, 30ms);
  CHECK(ran == 3);
  emit();
  CHECK(wheel.empty());
  pass(io, 30ms);
  CHECK(ran == 3);
}

TEST_CASE_METHOD(one_signal, "A periodic callback may cancel its timer through its own slot",
                 "[callback_slots]") {
  int alive = 0;
  wheel.schedule_every(10ms, 10ms, bound([this, c = counted(alive)] {
                         if (++ran == 2)
                           emit();
                       }));
  pass(io, 50ms);
  CHECK(ran == 2);
  CHECK(wheel.empty());
  CHECK(alive == 0);
  CHECK(wheel.stats().cancelled == 1);
}

// ---- Replaced callbacks

TEST_CASE_METHOD(one_signal, "The slot of a callback that was replaced cancels nothing",
                 "[callback_slots][postpone]") {
  const bool periodic = GENERATE(false, true);
  int replaced = 0;
  const timer_id id = periodic ? wheel.schedule_every(10ms, 10ms, counting())
                               : wheel.schedule_after(10ms, counting());
  const auto f = [&] {
    ++replaced;
    emit(); // while the other runs
  };
  switch (GENERATE(0, 1, 2)) {
  case 0:
    CHECK(wheel.postpone(id, 20ms, f));
    break;
  case 1:
    CHECK(wheel.postpone_at(id, manual_clock::now() + 20ms, f));
    break;
  case 2:
    CHECK(wheel.postpone(std::array{std::tuple(id, 20ms, f)}) == 1);
    break;
  }
  emit();
  CHECK(wheel.size() == 1);
  stall(io, 20ms);
  CHECK(replaced == 1);
  emit();
  CHECK(wheel.size() == (periodic ? 1 : 0));
  CHECK(wheel.stats().cancelled == 0);
  wheel.cancel(id);
  CHECK(ran == 0);
}

TEST_CASE_METHOD(one_signal, "The slot of the callback that replaces another cancels the timer",
                 "[callback_slots][postpone]") {
  asio::cancellation_signal next;
  const timer_id id = wheel.schedule_every(10ms, 10ms, counting());
  CHECK(wheel.postpone(id, 10ms, asio::bind_cancellation_slot(next.slot(), [&] { ran += 100; })));
  emit();
  stall(io, 10ms);
  CHECK(ran == 100);
  next.emit(cancellation_type::total);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_signal, "One slot may serve one callback of a timer after the other",
                 "[callback_slots][postpone]") {
  const timer_id id = wheel.schedule_every(10ms, 10ms, counting());
  for (int i = 0; i != 10; ++i)
    CHECK(wheel.postpone(id, 10ms, counting()));
  stall(io, 10ms);
  CHECK(ran == 1);
  emit();
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_signal, "A timer that is only moved keeps its callback's slot",
                 "[callback_slots][postpone]") {
  const timer_id id = wheel.schedule_after(10ms, counting());
  CHECK(wheel.postpone(id, 1h));
  CHECK(wheel.postpone(id, 5ms));
  emit();
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_signal, "A callback that is replaced while it runs cancels nothing any more",
                 "[callback_slots][postpone]") {
  asio::cancellation_signal next;
  const bool next_has_slot = GENERATE(false, true);
  int after = 0;
  const auto f = [&] {
    ++after;
    emit(); // that of the one before
  };
  const auto id = wheel.schedule_every(
      10ms, 10ms, bound([&](timer_id self) {
        ++ran;
        if (next_has_slot)
          wheel.postpone(self, 10ms, asio::bind_cancellation_slot(next.slot(), f));
        else
          wheel.postpone(self, 10ms, f);
        emit();
      }));
  pass(io, 30ms);
  CHECK(ran == 1);
  CHECK(after == 2);
  CHECK(wheel.size() == 1);
  next.emit(cancellation_type::terminal);
  CHECK(wheel.cancel(id) != next_has_slot);
}

TEST_CASE_METHOD(one_signal, "A callback that was replaced cancels nothing before it is destroyed",
                 "[callback_slots][postpone]") {
  struct runs_at_end {
    explicit runs_at_end(asio::io_context& context) : io{&context} {}
    runs_at_end(runs_at_end&& other) noexcept : io{std::exchange(other.io, nullptr)} {}
    ~runs_at_end() {
      if (io != nullptr)
        stall(*io, 10ms);
    }
    void operator()() const {}
    asio::io_context* io;
  };
  int replaced = 0;
  const timer_id first = wheel.schedule_after(1h, runs_at_end(io));
  const timer_id second = wheel.schedule_every(1h, 1h, counting());
  const auto f = [&] {
    ++replaced;
    emit(); // its old callback is destroyed after that of the first
  };
  CHECK(wheel.postpone(std::array{std::tuple(first, 10ms, f), std::tuple(second, 10ms, f)}) == 2);
  CHECK(replaced == 2);
  CHECK(wheel.cancel(second));
}

TEST_CASE_METHOD(one_signal, "A replacement that comes too late is connected to nothing",
                 "[callback_slots][postpone]") {
  SECTION("the timer has fired") {
    const timer_id id = wheel.schedule_after(10ms, [] {});
    stall(io, 10ms);
    CHECK_FALSE(wheel.postpone(id, 10ms, counting()));
    wheel.schedule_after(10ms, [] {});
    emit();
    CHECK(wheel.size() == 1);
  }
  SECTION("there is no timer yet") {
    auto slot = wheel.allocate();
    const timer_id id = slot.id();
    CHECK_FALSE(wheel.postpone(id, 10ms, counting()));
    wheel.schedule(std::move(slot), timer_task::periodic(10ms, 10ms, [this] { emit(); }));
    emit();
    stall(io, 10ms);
    CHECK(wheel.size() == 1);
    CHECK(wheel.cancel(id));
  }
}

// ---- Failures

TEST_CASE_METHOD(one_signal, "A wheel that was shut down connects nothing",
                 "[callback_slots][exceptions]") {
  wheel.shutdown();
  int alive = 0;
  const auto f = bound(counted(alive));
  const int named = alive;
  auto task = timer_task::one_shot(10ms, f);
  CHECK(error_of([&] { wheel.schedule_after(10ms, f); }) == errc::shut_down);
  CHECK(error_of([&] { wheel.schedule_at(manual_clock::now(), f); }) == errc::shut_down);
  CHECK(error_of([&] { wheel.schedule_every(10ms, 10ms, f); }) == errc::shut_down);
  CHECK(error_of([&] { wheel.schedule(task); }) == errc::shut_down);
  CHECK(alive == named + 1);
  emit();
}

TEST_CASE_METHOD(one_signal, "A slot that takes no handler leaves the wheel as it was",
                 "[callback_slots][exceptions]") {
  int alive = 0;
  const auto f = asio::bind_cancellation_slot(failing_slot(), counted(alive));
  const int named = alive;
  const timer_id id = wheel.schedule_after(10ms, counting());
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::periodic(10ms, 10ms, counting()));
  tasks.push_back(timer_task::one_shot(10ms, f));
  std::vector<kestrel::timer_slot> slots = wheel.allocate(2);
  const auto before = wheel.stats();
  failing_slot::fails = true;
  CHECK_THROWS_AS(wheel.schedule_after(10ms, f), std::bad_alloc);
  CHECK_THROWS_AS(wheel.schedule_at(manual_clock::now(), f), std::bad_alloc);
  CHECK_THROWS_AS(wheel.schedule_every(10ms, 10ms, f), std::bad_alloc);
  CHECK_THROWS_AS(wheel.postpone(id, 20ms, f), std::bad_alloc);
  CHECK_THROWS_AS(wheel.postpone(std::array{std::tuple(id, 20ms, f)}), std::bad_alloc);
  CHECK_THROWS_AS(wheel.schedule(tasks), std::bad_alloc);
  CHECK_THROWS_AS(wheel.schedule(slots, tasks), std::bad_alloc);
  failing_slot::fails = false;
  CHECK(wheel.expiry(id) == manual_clock::now() + 10ms);
  CHECK(alive == named + 1);
  CHECK(wheel.stats().live == before.live);
  CHECK(wheel.stats().scheduled == before.scheduled);
  CHECK(wheel.stats().postponed == before.postponed);

  // What was connected before the failure leads nowhere, though its slot is used after all.
  const timer_id first = slots[0].id();
  std::vector<timer_task> others;
  others.push_back(timer_task::periodic(10ms, 10ms, [this] { emit(); }));
  others.push_back(timer_task::one_shot(10ms));
  wheel.schedule(slots, others);
  CHECK(wheel.cancel(id));
  stall(io, 10ms);
  CHECK(wheel.cancel(first));
}

TEST_CASE_METHOD(one_signal, "A task that could not be scheduled may be scheduled later",
                 "[callback_slots][exceptions]") {
  auto task = timer_task::one_shot(10ms, counting());
  CHECK(error_of([&] { wheel.schedule(kestrel::timer_slot(), task); }) == errc::invalid_slot);
  emit();
  manual_wheel ended{io};
  ended.shutdown();
  CHECK(error_of([&] { ended.schedule(task); }) == errc::shut_down);
  emit();
  wheel.schedule(task);
  CHECK(wheel.size() == 1);
  emit();
  CHECK(wheel.empty());
}

// ---- Lifetimes

TEST_CASE("The slot of a callback may be emitted when the wheel is gone",
          "[callback_slots][lifetimes]") {
  const at_start clock;
  asio::cancellation_signal signal;
  auto io = std::make_unique<asio::io_context>();
  std::optional<manual_wheel> wheel(std::in_place, *io);
  int alive = 0;
  wheel->schedule_after(10ms, asio::bind_cancellation_slot(signal.slot(), counted(alive)));
  CHECK(alive == 1);
  SECTION("the wheel first") {
    wheel.reset();
    CHECK(alive == 0);
    signal.emit(cancellation_type::terminal);
    io.reset();
  }
  SECTION("the context first") {
    io.reset();
    CHECK(alive == 0);
    signal.emit(cancellation_type::terminal);
    wheel.reset();
  }
  signal.emit(cancellation_type::terminal);
}

TEST_CASE("The signal may go before the timer", "[callback_slots][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  auto signal = std::make_unique<asio::cancellation_signal>();
  int alive = 0;
  {
    manual_wheel wheel{io};
    const auto f = asio::bind_cancellation_slot(signal->slot(), counted(alive));
    const timer_id fires = wheel.schedule_every(10ms, 10ms, f);
    const timer_id replaced = wheel.schedule_after(10ms, f);
    const timer_id stopped = wheel.schedule_after(10ms, f);
    wheel.schedule_after(10ms, f);
    wheel.schedule_after(1h, f);
    signal.reset();
    CHECK(wheel.postpone(replaced, 10ms, [] {}));
    CHECK(wheel.cancel(stopped));
    pass(io, 30ms);
    CHECK(wheel.cancel(fires));
  }
  CHECK(alive == 0);
}

TEST_CASE_METHOD(one_wheel, "A callback may own the signal that cancels it",
                 "[callback_slots][lifetimes]") {
  const bool periodic = GENERATE(false, true);
  auto signal = std::make_shared<asio::cancellation_signal>();
  const std::weak_ptr<asio::cancellation_signal> watcher = signal;
  const auto emit = [s = signal.get()] { s->emit(cancellation_type::terminal); };
  const auto slot = signal->slot();
  auto f = asio::bind_cancellation_slot(slot, [s = std::move(signal)] {});
  if (periodic)
    wheel.schedule_every(10ms, 10ms, std::move(f));
  else
    wheel.schedule_after(10ms, std::move(f));
  CHECK_FALSE(watcher.expired());
  emit(); // and is destroyed inside
  CHECK(watcher.expired());
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_signal, "A callback that a slot destroys may use the wheel",
                 "[callback_slots][reentrancy]") {
  struct schedules {
    explicit schedules(manual_wheel& w, int& n) : wheel{&w}, count{&n} {}
    schedules(schedules&& other) noexcept
        : wheel{std::exchange(other.wheel, nullptr)}, count{other.count} {}
    ~schedules() {
      if (wheel != nullptr) {
        wheel->schedule_after(10ms, [n = count] { ++*n; });
        *count += checked_mutex::held() == 0 ? 0 : 1000;
      }
    }
    void operator()() const {}
    manual_wheel* wheel;
    int* count;
  };
  wheel.schedule_after(5ms, bound(schedules(wheel, ran)));
  emit();
  CHECK(wheel.size() == 1);
  stall(io, 10ms);
  CHECK(ran == 1);
  CHECK(checked_mutex::take_violations() == 0);
}

// ---- Threads

TEST_CASE("A slot that is emitted while the timer fires tells the truth",
          "[callback_slots][threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  auto work = asio::make_work_guard(io);
  std::thread runner([&] { io.run(); });
  constexpr int rounds = thread_sanitizer ? 1'000 : 10'000;
  std::atomic<int> ran = 0;
  for (int i = 0; i != rounds; ++i) {
    asio::cancellation_signal signal;
    const timer_id id =
        wheel.schedule_after(0ms, asio::bind_cancellation_slot(signal.slot(), [&] { ++ran; }));
    for (int spin = 0; spin != i % 64; ++spin)
      std::this_thread::yield();
    signal.emit(cancellation_type::terminal);
    if (i % 2 == 0)
      wheel.cancel(id);
  }
  work.reset();
  runner.join();
  const auto stats = wheel.stats();
  CHECK(stats.live == 0);
  CHECK(stats.fired == static_cast<std::uint64_t>(ran));
  CHECK(stats.fired + stats.cancelled == static_cast<std::uint64_t>(rounds));
}

TEST_CASE("Callbacks that replace one another while they fire, with a slot each",
          "[callback_slots][threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  auto work = asio::make_work_guard(io);
  std::thread runner([&] { io.run(); });
  constexpr int rounds = thread_sanitizer ? 500 : 5'000;
  std::atomic<int> ran = 0;
  int wrong = 0;
  for (int i = 0; i != rounds; ++i) {
    asio::cancellation_signal old;
    asio::cancellation_signal current;
    const auto f = [&] { ++ran; };
    const timer_id id =
        wheel.schedule_every(0ms, 10ms, asio::bind_cancellation_slot(old.slot(), f));
    for (int spin = 0; spin != i % 16; ++spin)
      std::this_thread::yield();
    wrong += !wheel.postpone(id, 0ms, asio::bind_cancellation_slot(current.slot(), f));
    old.emit(cancellation_type::terminal);
    wrong += !wheel.expiry(id); // it is still there
    current.emit(cancellation_type::terminal);
    wrong += wheel.cancel(id);
  }
  work.reset();
  runner.join();
  CHECK(wrong == 0);
  CHECK(wheel.empty());
}
