// SPDX-License-Identifier: MIT
//
// Waits with every kind of completion token, and what a handler is associated with: its executor,
// whose work is counted, its allocator and its cancellation slot. Then the same from many threads.

#include "completion_tokens.hpp"
#include "manual_clock.hpp"
#include "notices.hpp"
#include "runners.hpp"
#include "sanitizers.hpp"

#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/use_future.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

using namespace kestrel_tests;
using kestrel::completion;
using kestrel::timer_task;

namespace {

struct memory_use {
  long live = 0;
  long allocations = 0;
};

template <class T>
class measuring_allocator {
public:
  using value_type = T;

  explicit measuring_allocator(memory_use& use) noexcept : use_{&use} {}

  template <class U>
  measuring_allocator(const measuring_allocator<U>& other) noexcept : use_{other.use_} {}

  T* allocate(std::size_t n) {
    ++use_->live;
    ++use_->allocations;
    return std::allocator<T>().allocate(n);
  }

  void deallocate(T* p, std::size_t n) noexcept {
    --use_->live;
    std::allocator<T>().deallocate(p, n);
  }

  friend bool operator==(const measuring_allocator& a, const measuring_allocator& b) noexcept {
    return a.use_ == b.use_;
  }

private:
  template <class U>
  friend class measuring_allocator;

  memory_use* use_;
};

/// A handler of async_wait that only looks at the error.
template <class Handler>
auto ignoring_completion(Handler h) {
  return [h = std::move(h)](asio::error_code ec, completion) mutable { h(ec); };
}

} // namespace

// ---- Tokens

TEST_CASE_METHOD(one_wheel, "A handler may be move-only", "[tokens]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  int sum = 0;
  timer.async_wait(
      [&sum, one = std::make_unique<int>(1)](asio::error_code, completion) { sum += *one; });
  wheel.async_wait(timer.id(),
                   [&sum, ten = std::make_unique<int>(10)](asio::error_code, completion) mutable {
                     sum += *std::move(ten);
                   });
  wheel.async_wait_after(
      10ms, [&sum, hundred = std::make_unique<int>(100)](asio::error_code) { sum += *hundred; });
  stall(io, 10ms);
  CHECK(sum == 111);
}

TEST_CASE_METHOD(one_wheel, "A handler that has a name is copied", "[tokens]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  const auto state = std::make_shared<int>(0);
  auto f = [state](asio::error_code, completion) { ++*state; };
  const auto g = [state](asio::error_code) { ++*state; };
  std::function<void(asio::error_code)> h = g;
  timer.async_wait(f);
  timer.async_wait(f);
  wheel.async_wait(timer.id(), f);
  wheel.async_wait_after(10ms, g);
  wheel.async_wait_after(10ms, h);
  wheel.async_wait_after(10ms, h);
  CHECK(h);
  stall(io, 10ms);
  CHECK(*state == 6);
  f({}, {});
  CHECK(*state == 7);
}

TEST_CASE_METHOD(one_wheel, "A handler may be called once only", "[tokens]") {
  struct once {
    int* calls;
    void operator()(asio::error_code, completion) && { ++*calls; }
    void operator()(asio::error_code) && { ++*calls; }
  };
  int calls = 0;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(once{&calls});
  wheel.async_wait_after(10ms, once{&calls});
  stall(io, 10ms);
  CHECK(calls == 2);
}

TEST_CASE_METHOD(one_wheel, "Waits that nobody wants to be told of", "[tokens]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  timer.async_wait(asio::detached);
  wheel.async_wait(timer.id(), asio::detached);
  wheel.async_wait_after(10ms, asio::detached);
  pass(io, 20ms);
  timer.cancel();
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Waits as futures", "[tokens]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  auto stopped = wheel.schedule(timer_task::one_shot(10ms));
  std::future<completion> outcome = timer.async_wait(asio::use_future);
  std::future<completion> other = stopped.async_wait(asio::use_future);
  std::future<completion> none = wheel.async_wait({}, asio::use_future);
  std::future<void> end = wheel.async_wait_after(10ms, asio::use_future);
  stopped.cancel();
  settle(io);
  CHECK(outcome.wait_for(0s) == std::future_status::timeout);
  stall(io, 10ms);
  CHECK(outcome.get() == completion::fired);
  CHECK(other.get() == completion::cancelled); // an outcome, not an error
  CHECK_THROWS_AS(none.get(), asio::system_error);
  end.get();
  std::future<void> cut_short = wheel.async_wait_after(10ms, asio::use_future);
  wheel.shutdown();
  settle(io);
  CHECK_THROWS_AS(cut_short.get(), asio::system_error);
}

TEST_CASE_METHOD(one_wheel, "A deferred wait begins when it is launched", "[tokens]") {
  notices told;
  asio::error_code ended = asio::error::would_block;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  auto wait = timer.async_wait(deferred);
  auto pause = wheel.async_wait_after(10ms, deferred);
  pass(io, 50ms);
  CHECK(wheel.size() == 1);
  std::move(wait)(told.note());
  std::move(pause)([&](asio::error_code ec) { ended = ec; });
  CHECK(wheel.size() == 2);
  settle(io);
  CHECK(told == notices{fired(5)});
  CHECK(ended == asio::error::would_block);
  pass(io, 10ms);
  CHECK_FALSE(ended);
}

TEST_CASE("A deferred wait may outlive the wheel", "[tokens][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  notices told;
  auto timer = wheel->schedule(timer_task::one_shot(10ms));
  auto wait = timer.async_wait(deferred);
  auto by_id = wheel->async_wait(timer.id(), deferred);
  auto pause = wheel->async_wait_after(10ms, deferred);
  timer = {};
  wheel.reset();
  std::move(wait)(asio::bind_executor(io, told.note()));
  std::move(by_id)(asio::bind_executor(io, told.note()));
  std::move(pause)(asio::bind_executor(io, [&](asio::error_code ec) { told.push_back({ec, {}}); }));
  settle(io);
  const asio::error_code begun_too_late = make_error_code(kestrel::errc::shut_down);
  CHECK(told == notices{aborted, aborted, {begun_too_late, {}}});
}

TEST_CASE_METHOD(one_wheel, "A wait's error may be redirected", "[tokens]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  asio::error_code ec = asio::error::would_block;
  asio::error_code ended = asio::error::would_block;
  std::optional<completion> what;
  timer.async_wait(asio::redirect_error([&](completion c) { what = c; }, ec));
  std::future<void> end =
      wheel.async_wait_after(10ms, asio::redirect_error(asio::use_future, ended));
  wheel.shutdown();
  settle(io);
  CHECK(what);
  CHECK(ec == asio::error::operation_aborted);
  end.get();
  CHECK(ended == asio::error::operation_aborted);
}

TEST_CASE_METHOD(one_wheel, "A wait's results may come as a tuple", "[tokens]") {
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  notices told;
  timer.async_wait(tupled([&](std::tuple<asio::error_code, completion> t) {
    told.push_back({std::get<0>(t), std::get<1>(t)});
  }));
  wheel.async_wait_after(10ms, tupled([&](std::tuple<asio::error_code> t) {
                           told.push_back({std::get<0>(t), completion::fired});
                         }));
  stall(io, 10ms);
  CHECK(told == notices{fired(), fired()});
}

#if defined(ASIO_HAS_CO_AWAIT)

namespace {

/// Spawns `f` and lets what it throws leave run().
template <class F>
void spawn(asio::io_context& io, F f) {
  asio::co_spawn(io, std::move(f), [](std::exception_ptr failure) {
    if (failure)
      std::rethrow_exception(failure);
  });
}

} // namespace

TEST_CASE_METHOD(one_wheel, "A coroutine waits for timers", "[tokens][coroutines]") {
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  notices told;
  spawn(io, [&]() -> asio::awaitable<void> {
    for (;;) {
      const completion c = co_await timer.async_wait(asio::use_awaitable);
      told.push_back({{}, c});
      if (c == completion::cancelled)
        break;
      if (told.size() == 2)
        co_await wheel.async_wait_after(30ms, asio::use_awaitable);
      if (told.size() == 3)
        timer.cancel();
    }
    asio::error_code ec;
    co_await wheel.async_wait(timer.id(), asio::redirect_error(asio::use_awaitable, ec));
    told.push_back({ec, {}});
    const auto [error, what] = co_await timer.async_wait(tupled(asio::use_awaitable));
    told.push_back({error, what});
  });
  pass(io, 100ms);
  CHECK(told == notices{fired(), fired(), fired(3), cancelled, gone, gone});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A timer whose callback is a coroutine has fired when that first waits",
                 "[tokens][coroutines]") {
  std::vector<std::string> order;
  const auto timer = wheel.schedule(timer_task::one_shot(10ms, [&]() -> asio::awaitable<void> {
    order.emplace_back("begins");
    co_await wheel.async_wait_after(10ms, asio::use_awaitable);
    order.emplace_back("ends");
  }));
  timer.async_wait([&](asio::error_code, completion) { order.emplace_back("notice"); });
  pass(io, 50ms);
  CHECK(order == std::vector<std::string>{"begins", "notice", "ends"});
}

TEST_CASE_METHOD(one_wheel, "A coroutine is told of errors by exceptions", "[tokens][coroutines]") {
  std::vector<asio::error_code> errors;
  auto timer = wheel.schedule(timer_task::one_shot(1h));
  spawn(io, [&]() -> asio::awaitable<void> {
    try {
      co_await wheel.async_wait({}, asio::use_awaitable);
    } catch (const asio::system_error& e) {
      errors.push_back(e.code());
    }
    try {
      co_await timer.async_wait(asio::use_awaitable);
    } catch (const asio::system_error& e) {
      errors.push_back(e.code());
    }
    try {
      co_await wheel.async_wait_after(1s, asio::use_awaitable);
    } catch (const asio::system_error& e) {
      errors.push_back(e.code());
    }
  });
  settle(io);
  wheel.shutdown();
  settle(io);
  CHECK(errors == std::vector<asio::error_code>{
                      kestrel::make_error_code(kestrel::errc::no_such_timer),
                      asio::error::operation_aborted,
                      kestrel::make_error_code(kestrel::errc::shut_down)}); // it had not begun
}

TEST_CASE_METHOD(one_wheel, "A wait with a timeout", "[tokens][coroutines]") {
  using namespace asio::experimental::awaitable_operators;
  auto timer = wheel.schedule(timer_task::periodic(30ms, 30ms));
  std::vector<std::size_t> winners;
  notices told;
  spawn(io, [&]() -> asio::awaitable<void> {
    for (int i = 0; i != 3; ++i) {
      const std::variant<completion, std::monostate> first =
          co_await (timer.async_wait(asio::use_awaitable) ||
                    wheel.async_wait_after(20ms, asio::use_awaitable));
      winners.push_back(first.index());
      if (first.index() == 0)
        told.push_back({{}, std::get<0>(first)});
    }
  });
  settle(io);
  pass(io, 20ms); // times out at 20 ms; then the timer, at 30 ms; then again
  CHECK(winners == std::vector<std::size_t>{1});
  pass(io, 40ms);
  CHECK(winners == std::vector<std::size_t>{1, 0, 1});
  CHECK(told == notices{fired()});
  CHECK(wheel.size() == 1); // the waits that lost left nothing
  timer.cancel();
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A timeout takes no notice away", "[tokens][coroutines]") {
  using namespace asio::experimental::awaitable_operators;
  auto timer = wheel.schedule(timer_task::one_shot(30ms));
  std::size_t winner = 9;
  notices told;
  spawn(io, [&]() -> asio::awaitable<void> {
    const auto first = co_await (wheel.async_wait_after(10ms, asio::use_awaitable) ||
                                 timer.async_wait(asio::use_awaitable));
    winner = first.index();
    co_await wheel.async_wait_after(50ms, asio::use_awaitable);
    const completion c = co_await timer.async_wait(asio::use_awaitable);
    told.push_back({{}, c});
  });
  settle(io);
  pass(io, 50ms);
  CHECK(winner == 0);
  CHECK(told.empty());
  pass(io, 20ms);
  CHECK(told == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "Waits for several timers at once", "[tokens][coroutines]") {
  using namespace asio::experimental::awaitable_operators;
  auto a = wheel.schedule(timer_task::one_shot(10ms));
  auto b = wheel.schedule(timer_task::one_shot(1h));
  notices told;
  spawn(io, [&]() -> asio::awaitable<void> {
    const auto both =
        co_await (a.async_wait(asio::use_awaitable) && b.async_wait(asio::use_awaitable));
    told = notices{{{}, std::get<0>(both)}, {{}, std::get<1>(both)}};
  });
  stall(io, 10ms);
  CHECK(told.empty());
  b.cancel();
  settle(io);
  CHECK(told == notices{fired(), cancelled});
}

TEST_CASE("A coroutine that waits is destroyed with its context", "[tokens][coroutines]") {
  const at_start clock;
  std::optional<asio::io_context> io(std::in_place);
  const auto alive = std::make_shared<int>();
  const bool own_wheel = GENERATE(false, true);
  std::optional<manual_wheel> outer(std::in_place, *io);
  spawn(*io, [&io, &outer, alive, own_wheel]() -> asio::awaitable<void> {
    std::optional<manual_wheel> inner;
    if (own_wheel)
      inner.emplace(*io);
    manual_wheel& w = own_wheel ? *inner : *outer;
    auto timer = w.schedule(timer_task::one_shot(1h));
    co_await timer.async_wait(asio::use_awaitable);
    FAIL("its context is gone");
  });
  settle(*io);
  CHECK(alive.use_count() > 1);
  io.reset();
  CHECK(alive.use_count() == 1);
}

#endif

// ---- Executors

TEST_CASE("A wait counts as work for the executor of its handler", "[tokens][executors]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  manual_wheel wheel{io};
  int ended = 0;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  SECTION("for a handle") {
    timer.async_wait(
        asio::bind_executor(other, ignoring_completion([&](asio::error_code) { ++ended; })));
  }
  SECTION("by an id, on a strand") {
    wheel.async_wait(timer.id(),
                     asio::bind_executor(asio::make_strand(other),
                                         ignoring_completion([&](asio::error_code) { ++ended; })));
  }
  SECTION("without a timer") {
    wheel.async_wait_after(10ms, asio::bind_executor(other, [&](asio::error_code) { ++ended; }));
  }
  other.poll();
  CHECK_FALSE(other.stopped()); // run() would wait
  stall(io, 10ms);
  CHECK(ended == 0);
  other.poll();
  CHECK(ended == 1);
  CHECK(other.stopped());
  CHECK(out_of_work(io));
}

TEST_CASE("run() on another context waits for a timer on this one", "[tokens][executors]") {
  asio::io_context io;
  asio::io_context other;
  kestrel::timer_wheel wheel{io};
  auto timer = wheel.schedule(timer_task::one_shot(20ms));
  std::optional<completion> told;
  timer.async_wait(asio::bind_executor(other, [&](asio::error_code, completion c) { told = c; }));
  std::thread runs([&io] { io.run(); });
  CHECK(other.run() == 1);
  runs.join();
  REQUIRE(told);
  CHECK(*told == completion::fired);
}

TEST_CASE_METHOD(one_wheel, "A handler runs on its strand", "[tokens][executors]") {
  const auto strand = asio::make_strand(io);
  int inside = 0;
  const auto f = [&](auto...) { inside += strand.running_in_this_thread(); };
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  auto stopped = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(asio::bind_executor(strand, f));
  stopped.async_wait(asio::bind_executor(strand, f));
  wheel.async_wait({}, asio::bind_executor(strand, f));
  wheel.async_wait_after(10ms, asio::bind_executor(strand, f));
  stopped.cancel();
  stall(io, 10ms);
  CHECK(inside == 4);
}

TEST_CASE("A handler without an executor runs on that of the wheel", "[tokens][executors]") {
  const at_start clock;
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  manual_wheel wheel{strand};
  int inside = 0;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(
      [&](asio::error_code, completion) { inside += strand.running_in_this_thread(); });
  wheel.async_wait({}, [&](auto...) { inside += strand.running_in_this_thread(); });
  wheel.async_wait_after(10ms,
                         [&](asio::error_code) { inside += strand.running_in_this_thread(); });
  stall(io, 10ms);
  CHECK(inside == 3);
}

// ---- Allocators

TEST_CASE_METHOD(one_wheel, "A wait uses its handler's allocator, and frees before it calls",
                 "[tokens][allocators]") {
  memory_use use;
  int calls = 0;
  auto f = asio::bind_allocator(measuring_allocator<void>(use), [&](auto...) {
    CHECK(use.live == 0);
    ++calls;
  });
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  SECTION("fired") {
    timer.async_wait(f);
    CHECK(use.live > 0);
    stall(io, 10ms);
  }
  SECTION("by its id") {
    wheel.async_wait(timer.id(), f);
    CHECK(use.live > 0);
    stall(io, 10ms);
  }
  SECTION("cancelled") {
    timer.async_wait(f);
    timer.cancel();
    settle(io);
  }
  SECTION("gone") {
    wheel.async_wait({}, f);
    settle(io);
  }
  SECTION("aborted") {
    timer.async_wait(asio::bind_cancellation_slot(signal.slot(), f));
    signal.emit(asio::cancellation_type::terminal);
    settle(io);
  }
  SECTION("at the wheel's end") {
    timer.async_wait(f);
    wheel.shutdown();
    settle(io);
  }
  SECTION("without a timer") {
    wheel.async_wait_after(10ms, f);
    CHECK(use.live > 0);
    stall(io, 10ms);
  }
  CHECK(calls == 1);
  CHECK(use.allocations > 0);
  CHECK(use.live == 0);
}

TEST_CASE("A handler's memory is given back when it is not called", "[tokens][allocators]") {
  const at_start clock;
  memory_use use;
  {
    asio::io_context io;
    manual_wheel wheel{io};
    auto timer = wheel.schedule(timer_task::one_shot(10ms));
    auto f = asio::bind_allocator(measuring_allocator<void>(use),
                                  [](auto...) { FAIL("its context is gone"); });
    timer.async_wait(f);
    wheel.async_wait(timer.id(), f);
    wheel.async_wait_after(10ms, f);
    CHECK(use.live > 0);
  }
  CHECK(use.live == 0);
}

TEST_CASE_METHOD(one_wheel, "Waiting again and again takes no more memory",
                 "[tokens][allocators]") {
  memory_use use;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  long most = 0;
  for (int i = 0; i != 100; ++i) {
    timer.async_wait(asio::bind_allocator(measuring_allocator<void>(use), [](auto...) {}));
    most = std::max(most, use.live);
    pass(io, 10ms);
    CHECK(use.live == 0);
  }
  CHECK(most <= 2);
}

// ---- Cancellation slots

TEST_CASE_METHOD(one_wheel, "A wait is cancelled through its slot, and its timer goes on",
                 "[tokens][cancellation]") {
  const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                             asio::cancellation_type::total, asio::cancellation_type::all);
  const bool by_id = GENERATE(false, true);
  notices told;
  notices others;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  auto f = asio::bind_cancellation_slot(signal.slot(), told.note());
  timer.async_wait(others.note());
  if (by_id)
    wheel.async_wait(timer.id(), f);
  else
    timer.async_wait(f);
  timer.async_wait(others.note());
  settle(io);
  signal.emit(asio::cancellation_type::none);
  settle(io);
  CHECK(told.empty());
  signal.emit(type);
  CHECK(told.empty()); // never inline
  signal.emit(type);
  settle(io);
  CHECK(told == notices{aborted});
  signal.emit(type);
  CHECK(wheel.size() == 1);
  stall(io, 10ms);
  CHECK(told == notices{aborted});
  CHECK(others == notices{fired(), fired()});
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A wait that was cut short has been told nothing",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
  signal.emit(asio::cancellation_type::total);
  if (GENERATE(false, true)) {
    stall(io, 10ms);
    timer.async_wait(told.note());
    settle(io);
    CHECK(told == notices{aborted, fired()});
  } else {
    timer.cancel();
    timer.async_wait(told.note());
    settle(io);
    CHECK(told == notices{aborted, cancelled});
  }
}

TEST_CASE_METHOD(one_wheel, "A slot that was emitted before the wait cancels nothing",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  const auto slot = signal.slot();
  signal.emit(asio::cancellation_type::all); // nobody is connected yet: as with Asio's timers
  timer.async_wait(asio::bind_cancellation_slot(slot, told.note()));
  stall(io, 10ms);
  CHECK(told == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "A slot that is emitted when the notice is on its way comes too late",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
  timer.cancel();
  signal.emit(asio::cancellation_type::all);
  settle(io);
  CHECK(told == notices{cancelled});
  signal.emit(asio::cancellation_type::all);
  wheel.async_wait({}, asio::bind_cancellation_slot(signal.slot(), told.note()));
  signal.emit(asio::cancellation_type::all);
  settle(io);
  CHECK(told == notices{cancelled, gone});
}

TEST_CASE_METHOD(one_wheel, "A slot cancels its own wait among many, and no later one",
                 "[tokens][cancellation]") {
  constexpr std::size_t count = 10;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  std::vector<asio::cancellation_signal> signals(count);
  std::vector<notices> told(count);
  for (std::size_t i = 0; i != count; ++i)
    timer.async_wait(asio::bind_cancellation_slot(signals[i].slot(), told[i].note()));
  for (const std::size_t i : {4u, 0u, 9u, 5u, 8u}) // in the middle, first, last, and so on
    signals[i].emit(asio::cancellation_type::terminal);
  pass(io, 10ms);
  for (std::size_t i = 0; i != count; ++i) {
    const bool was_cut = i == 0 || i == 4 || i == 5 || i == 8 || i == 9;
    CHECK(told[i] == notices{was_cut ? aborted : fired()});
  }
  notices later;
  timer.async_wait(later.note());
  for (asio::cancellation_signal& s : signals)
    s.emit(asio::cancellation_type::terminal);
  pass(io, 10ms);
  CHECK(later == notices{fired()});
}

TEST_CASE_METHOD(one_wheel, "Thousands of waits for one timer are cancelled in any order",
                 "[tokens][cancellation]") {
  constexpr std::size_t count = 2000;
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  std::vector<asio::cancellation_signal> signals(count);
  std::vector<notices> told(count);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i != count; ++i) {
    timer.async_wait(asio::bind_cancellation_slot(signals[i].slot(), told[i].note()));
    if (i % 10 != 0)
      order.push_back(i);
  }
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  for (const std::size_t i : order)
    signals[i].emit(asio::cancellation_type::terminal);
  stall(io, 10ms);
  for (std::size_t i = 0; i != count; ++i)
    CHECK(told[i] == notices{i % 10 != 0 ? aborted : fired()});
}

namespace {

/// An operation that counts how often a list looks which one it is.
class looked_at final : public kestrel::detail::wait_op<> {
public:
  explicit looked_at(long& looks) noexcept : looks_{looks} { set_ticket(next_ticket()); }

  [[nodiscard]] std::uint64_t ticket() const noexcept {
    ++looks_;
    return wait_op::ticket();
  }

  void complete(asio::error_code) noexcept override {}
  void discard() noexcept override { delete this; }

private:
  long& looks_;
};

using looked_at_ptr = kestrel::detail::wait_op_ptr<looked_at>;

} // namespace

TEST_CASE("To find one of many waits, few of them are looked at", "[tokens][cancellation]") {
  constexpr std::size_t count = 10'000;
  long looks = 0;
  kestrel::detail::wait_op_list<looked_at> list;
  std::vector<std::uint64_t> tickets;
  for (std::size_t i = 0; i != count; ++i) {
    looked_at_ptr op(new looked_at(looks));
    tickets.push_back(op->ticket());
    list.push(std::move(op));
  }
  std::vector<std::uint64_t> order = tickets;
  SECTION("in their order") {}
  SECTION("from the last to the first") { std::reverse(order.begin(), order.end()); }
  SECTION("in any order") { std::shuffle(order.begin(), order.end(), std::mt19937(1)); }
  for (const std::uint64_t t : order) {
    const looked_at_ptr taken = list.take(t);
    REQUIRE(taken != nullptr);
    CHECK(taken->ticket() == t);
    CHECK(list.take(t) == nullptr);
  }
  CHECK(list.empty());
  CHECK(looks < 200 * static_cast<long>(count)); // not 10,000 each
}

TEST_CASE("A list of waits keeps them in the order in which they began", "[tokens]") {
  using list = kestrel::detail::wait_op_list<looked_at>;
  long looks = 0;
  list waits;
  list others;
  std::set<std::uint64_t> model;
  std::vector<looked_at_ptr> later; // they began, and are pushed out of turn
  std::mt19937 random(2);
  for (int step = 0; step != 20'000; ++step) {
    switch (random() % 8) {
    case 0:
    case 1:
    case 2:
      later.emplace_back(new looked_at(looks));
      break;
    case 3:
    case 4:
      std::shuffle(later.begin(), later.end(), random);
      while (later.size() > 5) {
        model.insert(later.back()->ticket());
        (random() % 2 != 0 ? waits : others).push(std::move(later.back()));
        later.pop_back();
      }
      break;
    case 5:
      waits.append(std::move(others));
      break;
    case 6: {
      const std::uint64_t some = (model.empty() ? 0 : *model.begin()) + random() % 1000;
      const bool is_there = waits.take(some) != nullptr || others.take(some) != nullptr;
      CHECK(is_there == (model.erase(some) != 0));
      break;
    }
    default:
      waits.append(std::move(others));
      for (auto n = random() % 10; n != 0 && !waits.empty(); --n) {
        REQUIRE(waits.pop()->ticket() == *model.begin());
        model.erase(model.begin());
      }
    }
  }
  waits.append(std::move(others));
  std::size_t n = 0;
  waits.for_each([&n](looked_at&) { ++n; });
  REQUIRE(n == model.size());
  list moved(std::move(waits));
  CHECK(waits.empty());
  for (; !moved.empty(); model.erase(model.begin()))
    REQUIRE(moved.pop()->ticket() == *model.begin());
  CHECK(model.empty());
}

TEST_CASE_METHOD(one_wheel, "One slot may serve one wait after the other",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  const auto wait = [&] {
    timer.async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
  };
  wait();
  pass(io, 10ms);
  wait();
  signal.emit(asio::cancellation_type::terminal);
  settle(io);
  wait();
  pass(io, 10ms);
  CHECK(told == notices{fired(), aborted, fired()});
}

TEST_CASE_METHOD(one_wheel, "A slot works when the handle was moved, or is gone",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  std::optional timer(wheel.schedule(timer_task::one_shot(10ms)));
  timer->async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
  SECTION("moved") {
    const auto moved(std::move(*timer));
    timer.reset();
    signal.emit(asio::cancellation_type::partial);
  }
  SECTION("assigned") {
    *timer = wheel.schedule(timer_task::one_shot(20ms));
    signal.emit(asio::cancellation_type::partial);
    CHECK(wheel.size() == 2);
  }
  SECTION("gone") {
    timer.reset();
    signal.emit(asio::cancellation_type::partial);
  }
  settle(io);
  CHECK(told == notices{aborted});
}

TEST_CASE("A slot may be emitted when everything else is gone", "[tokens][cancellation]") {
  const at_start clock;
  asio::cancellation_signal signal;
  notices told;
  std::optional<asio::io_context> io(std::in_place);
  {
    manual_wheel wheel{*io};
    auto timer = wheel.schedule(timer_task::one_shot(10ms));
    timer.async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
    if (GENERATE(false, true))
      io.reset();
  }
  signal.emit(asio::cancellation_type::terminal);
  if (io) {
    settle(*io);
    CHECK(told == notices{aborted});
    io.reset();
  }
  signal.emit(asio::cancellation_type::terminal);
  CHECK(told.size() <= 1);
}

TEST_CASE_METHOD(one_wheel, "A callback may cancel a wait for its own timer",
                 "[tokens][cancellation]") {
  notices told;
  asio::cancellation_signal signal;
  auto timer = wheel.schedule(
      timer_task::one_shot(10ms, [&] { signal.emit(asio::cancellation_type::terminal); }));
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), told.note()));
  stall(io, 10ms);
  CHECK(told == notices{aborted});
  timer.async_wait(told.note());
  settle(io);
  CHECK(told == notices{aborted, fired()});
}

// ---- Threads

namespace {

/// What became of a timer, counted by whichever thread is told.
struct tally {
  std::atomic<int> fired{0};
  std::atomic<int> cancelled{0};
  std::atomic<int> aborted{0};
  std::atomic<int> gone{0};

  void operator()(asio::error_code ec, completion c) {
    if (ec == asio::error::operation_aborted)
      ++aborted;
    else if (ec)
      ++gone;
    else if (c == completion::fired)
      ++fired;
    else
      ++cancelled;
  }
};

} // namespace

TEST_CASE("From many threads, each timer is told of once", "[tokens][threads]") {
  constexpr std::size_t count = 20'000 / slowdown;
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::vector<tally> first(2 * count);
  std::vector<tally> after(2 * count);
  std::vector<tally> by_id(2 * count);
  std::vector<std::atomic<int>> ran(2 * count);
  std::atomic<int> cancel_calls{0};
  std::mutex mutex;
  std::deque<kestrel::timer_handle> to_cancel;
  std::atomic<int> producing{2};
  runners running(io, 2);
  const auto produce = [&](std::size_t begin) {
    std::mt19937_64 random(begin);
    for (std::size_t i = begin; i != begin + count; ++i) {
      auto timer = wheel.schedule(timer_task::one_shot(std::chrono::microseconds(random() % 3000),
                                                       [&ran, i] { ++ran[i]; }));
      const auto copy = std::make_shared<kestrel::timer_handle>(timer);
      copy->async_wait([&, copy, i](asio::error_code ec, completion c) {
        first[i](ec, c);
        if (c == completion::fired && !ec)
          by_id[i].aborted += ran[i] != 1; // told before the callback had run
        copy->async_wait([&, i](asio::error_code e, completion d) { after[i](e, d); });
      });
      wheel.async_wait(timer.id(), [&, i](asio::error_code ec, completion c) { by_id[i](ec, c); });
      if (random() % 2 == 0) {
        const std::lock_guard lock(mutex);
        to_cancel.push_back(std::move(timer));
      }
    }
    --producing;
  };
  const auto cancel = [&] {
    for (;;) {
      const bool last = producing == 0;
      kestrel::timer_handle timer;
      {
        const std::lock_guard lock(mutex);
        if (!to_cancel.empty()) {
          timer = std::move(to_cancel.front());
          to_cancel.pop_front();
        } else if (last) {
          return;
        }
      }
      if (timer)
        cancel_calls += timer.cancel();
      else
        std::this_thread::yield();
    }
  };
  std::thread producer([&] { produce(0); });
  std::thread canceller(cancel);
  produce(count);
  producer.join();
  canceller.join();
  running.finish();

  int wrong = 0;
  int fired_in_all = 0;
  int cancelled_in_all = 0;
  for (std::size_t i = 0; i != 2 * count; ++i) {
    const tally& t = first[i];
    wrong += t.fired + t.cancelled != 1 || t.aborted + t.gone != 0;
    wrong += t.fired != ran[i];
    wrong += after[i].gone != 1 || after[i].fired + after[i].cancelled + after[i].aborted != 0;
    wrong += by_id[i].aborted != 0;
    // A wait by the id may have come too late; otherwise it was told the same.
    wrong += by_id[i].fired + by_id[i].cancelled + by_id[i].gone != 1;
    wrong += by_id[i].gone == 0 && by_id[i].fired != t.fired;
    fired_in_all += t.fired;
    cancelled_in_all += t.cancelled;
  }
  CHECK(wrong == 0);
  CHECK(cancelled_in_all == cancel_calls);
  CHECK(fired_in_all + cancelled_in_all == static_cast<int>(2 * count));
  CHECK(wheel.empty());
}

TEST_CASE("A slot that is emitted while the timer fires ends the wait once",
          "[tokens][threads][cancellation]") {
  constexpr std::size_t count = 10'000 / slowdown;
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::vector<tally> first(count);
  std::vector<tally> after(count);
  std::vector<tally> pauses(count);
  std::deque<asio::cancellation_signal> signals(2 * count);
  std::vector<kestrel::timer_handle> timers;
  std::mt19937_64 random(5);
  runners running(io, 2);
  for (std::size_t i = 0; i != count; ++i) {
    auto& signal = signals[2 * i];
    auto& pause = signals[2 * i + 1];
    timers.push_back(wheel.schedule(timer_task::one_shot(0s)));
    timers.back().async_wait(asio::bind_cancellation_slot(
        signal.slot(), [&, i](asio::error_code ec, completion c) { first[i](ec, c); }));
    wheel.async_wait_after(0s,
                           asio::bind_cancellation_slot(pause.slot(), [&, i](asio::error_code ec) {
                             pauses[i](ec, completion::fired);
                           }));
    for (auto n = random() % 300; n != 0; --n)
      std::atomic_signal_fence(std::memory_order_seq_cst);
    signal.emit(asio::cancellation_type::terminal);
    pause.emit(asio::cancellation_type::total);
    timers.back().async_wait([&, i](asio::error_code ec, completion c) { after[i](ec, c); });
  }
  running.finish();
  int wrong = 0;
  for (std::size_t i = 0; i != count; ++i) {
    wrong += first[i].fired + first[i].aborted != 1 || first[i].cancelled + first[i].gone != 0;
    wrong += pauses[i].fired + pauses[i].aborted != 1;
    // The second wait is told of the firing if the first was cut short.
    wrong += after[i].fired != first[i].aborted || after[i].gone != first[i].fired;
  }
  CHECK(wrong == 0);
  CHECK(wheel.empty());
}

TEST_CASE("A handle may be copied while it waits, and its timer fires", "[tokens][threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io, {.l0_tick = 100us, .l1_tick = 10ms}};
  auto timer = wheel.schedule(timer_task::periodic(0s, 100us));
  kestrel::timer_handle copy;
  std::atomic<int> told{0};
  runners running(io, 2);
  for (int i = 1; i != 300; ++i) {
    timer.async_wait([&](asio::error_code, completion) { ++told; });
    while (told != i)
      copy = timer;
  }
  timer.cancel();
  running.finish();
  CHECK(told == 299);
  CHECK(wheel.empty());
}

TEST_CASE("A reader of a periodic timer misses no firing, whichever thread it is on",
          "[tokens][threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io, {.l0_tick = 100us, .l1_tick = 10ms}};
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> sum{0};
  std::atomic<int> cancellations{0};
  std::atomic<int> told_early{0};
  auto timer = wheel.schedule(timer_task::periodic(0s, 100us, [&] { ++ran; }));
  std::function<void()> read = [&] {
    timer.async_wait([&](asio::error_code ec, completion c) {
      if (ec)
        return;
      sum += c.count();
      told_early += sum > ran;
      cancellations += c == completion::cancelled;
      read();
    });
  };
  runners running(io, 2);
  asio::post(io, read);
  std::this_thread::sleep_for(100ms);
  CHECK(wheel.cancel(timer.id()));
  running.finish();
  CHECK(ran > 0);
  CHECK(sum == ran);
  CHECK(told_early == 0);
  CHECK(cancellations == 1);
}

TEST_CASE("A wheel that is shut down under load ends each wait once", "[tokens][threads]") {
  for (int round = 0; round != 50 / slowdown; ++round) {
    asio::io_context io;
    kestrel::timer_wheel wheel{io};
    constexpr std::size_t count = 300;
    std::vector<tally> told(count);
    std::vector<tally> pauses(count);
    std::atomic<std::size_t> began{0};
    runners running(io, 2);
    std::thread producer([&] {
      for (std::size_t i = 0; i != count; ++i) {
        try {
          auto timer = wheel.schedule(timer_task::one_shot(std::chrono::microseconds(i % 50)));
          timer.async_wait([&, i](asio::error_code ec, completion c) { told[i](ec, c); });
          ++began;
        } catch (const std::system_error&) {
          told[i].gone += 1000; // shut down
        }
        wheel.async_wait_after(std::chrono::microseconds(i % 50),
                               [&, i](asio::error_code ec) { pauses[i](ec, completion::fired); });
      }
    });
    while (began < 50)
      std::this_thread::yield();
    wheel.shutdown();
    producer.join();
    running.finish();
    int wrong = 0;
    for (std::size_t i = 0; i != count; ++i) {
      wrong += told[i].fired + told[i].aborted != (told[i].gone == 0 ? 1 : 0);
      wrong += pauses[i].fired + pauses[i].aborted + pauses[i].gone != 1;
    }
    CHECK(wrong == 0);
  }
}
