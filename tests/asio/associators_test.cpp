// SPDX-License-Identifier: MIT
//
// What callbacks and waits are associated with, and that it is honoured everywhere: allocators,
// executors of every kind, slots of coroutines, default completion tokens.

#include "manual_clock.hpp"
#include "notices.hpp"

#include <kestrel/timer_service.hpp>

#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/strand.hpp>
#include <asio/system_executor.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;
using asio::cancellation_type;
using kestrel::completion;
using kestrel::timer_id;
using kestrel::timer_task;

namespace {

/// Counts what is allocated with it, in bytes.
template <class T>
struct counting_allocator {
  using value_type = T;

  explicit counting_allocator(std::size_t& count, std::size_t& most) noexcept
      : bytes{&count}, peak{&most} {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) noexcept
      : bytes{other.bytes}, peak{other.peak} {}

  T* allocate(std::size_t n) {
    *bytes += n * sizeof(T);
    *peak = std::max(*peak, *bytes);
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    *bytes -= n * sizeof(T);
    std::allocator<T>().deallocate(p, n);
  }

  friend bool operator==(const counting_allocator& a, const counting_allocator& b) noexcept {
    return a.bytes == b.bytes;
  }

  std::size_t* bytes;
  std::size_t* peak;
};

struct one_allocator : one_wheel {
  template <class F>
  auto bound(F f) {
    return asio::bind_allocator(counting_allocator<void>(bytes, peak), std::move(f));
  }

  std::size_t bytes = 0;
  std::size_t peak = 0;
};

} // namespace

// ---- Allocators

TEST_CASE_METHOD(one_allocator, "A callback is kept in its allocator's memory until it is called",
                 "[associators][allocators]") {
  const std::array<std::byte, 200> large{};
  std::size_t inside = 99;
  bool elsewhere = false;
  asio::io_context other;
  const auto small_one = [&] { inside = bytes; };
  switch (GENERATE(0, 1, 2, 3, 4)) {
  case 0:
    wheel.schedule_after(10ms, bound(small_one));
    break;
  case 1:
    wheel.schedule_after(10ms, bound([small_one, large] {
                           static_cast<void>(large);
                           small_one();
                         }));
    break;
  case 2:
    wheel.schedule(timer_task::one_shot(10ms, bound(small_one)));
    break;
  case 3:
    wheel.postpone(wheel.schedule_after(1h, [] {}), 10ms, bound(small_one));
    break;
  case 4:
    elsewhere = true;
    wheel.schedule_after(10ms, asio::bind_executor(other, bound(small_one)));
    break;
  }
  CHECK(bytes != 0);
  CHECK(inside == 99);
  stall(io, 10ms);
  if (elsewhere)
    other.run();
  CHECK(inside == 0);
  CHECK(bytes == 0);
}

TEST_CASE_METHOD(one_allocator, "A receiver is kept in its allocator's memory until it is called",
                 "[associators][allocators][service]") {
  kestrel::timer_service service{wheel};
  int called = 0;
  const auto receive = [&] {
    service.async_receive(bound([&](asio::error_code, kestrel::timer_notification) {
      CHECK(bytes == 0);
      ++called;
    }));
  };
  SECTION("when it has waited") {
    receive();
    CHECK(bytes != 0);
    service.schedule_after(10ms);
    stall(io, 10ms);
  }
  SECTION("when there was something to receive") {
    service.schedule_after(10ms);
    stall(io, 10ms);
    receive();
    settle(io);
  }
  SECTION("when there will be nothing") {
    receive();
    CHECK(bytes != 0);
    service.shutdown();
    settle(io);
  }
  CHECK(called == 1);
  CHECK(bytes == 0);
}

TEST_CASE_METHOD(one_allocator, "A callback's memory is given back when it is not called",
                 "[associators][allocators]") {
  const timer_id stopped = wheel.schedule_after(10ms, bound([] {}));
  const timer_id replaced = wheel.schedule_every(10ms, 10ms, bound([] {}));
  CHECK(bytes != 0);
  CHECK(wheel.cancel(stopped));
  CHECK(wheel.postpone(replaced, 10ms, [] {}));
  CHECK(bytes == 0);
  wheel.schedule_after(10ms, bound([] {}));
  wheel.shutdown();
  CHECK(bytes == 0);
  CHECK_THROWS(wheel.schedule_after(10ms, bound([] {})));
  CHECK(bytes == 0);
}

namespace {

/// Has what its allocator counts in.
struct owner_of_its_memory {
  using allocator_type = counting_allocator<void>;
  struct counts {
    std::size_t bytes = 0;
    std::size_t peak = 0;
  };

  void operator()() const {}
  [[nodiscard]] allocator_type get_allocator() const noexcept {
    return allocator_type(own->bytes, own->peak);
  }

  std::unique_ptr<counts> own = std::make_unique<counts>();
  std::array<char, 64> more{};
};

} // namespace

TEST_CASE_METHOD(one_wheel, "A callback may own what its memory comes from",
                 "[associators][allocators]") { // the address sanitizer sees it if not
  const kestrel::timer_id id = wheel.schedule_after(10ms, owner_of_its_memory());
  CHECK(wheel.postpone(id, 10ms, owner_of_its_memory()));
  CHECK(wheel.cancel(id));
  wheel.schedule_after(10ms, owner_of_its_memory());
  stall(io, 20ms);
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_allocator, "A periodic callback's memory is given back with its timer",
                 "[associators][allocators]") {
  std::size_t inside = 0;
  const timer_id id = wheel.schedule_every(10ms, 10ms, bound([&](timer_id self) {
                                             if (inside != 0)
                                               wheel.cancel(self);
                                             inside = bytes;
                                           }));
  const std::size_t kept = bytes;
  pass(io, 20ms);
  CHECK(inside == kept);
  CHECK_FALSE(wheel.cancel(id));
  CHECK(bytes == 0);
}

TEST_CASE_METHOD(one_wheel, "A callback that may throw when it is moved is called where it is",
                 "[associators][allocators][exceptions]") {
  struct fragile {
    fragile(int& calls, bool& movable, int& alive)
        : calls_{&calls}, movable_{&movable}, alive_{&alive} {
      ++*alive_;
    }
    fragile(const fragile& other)
        : calls_{other.calls_}, movable_{other.movable_}, alive_{other.alive_} {
      if (!*movable_)
        throw std::runtime_error("moved");
      ++*alive_;
    }
    fragile& operator=(const fragile&) = delete;
    ~fragile() { --*alive_; }
    void operator()() const { ++*calls_; }

  private:
    int* calls_;
    bool* movable_;
    int* alive_;
  };
  int calls = 0;
  bool movable = true;
  int alive = 0;
  wheel.schedule_after(10ms, fragile(calls, movable, alive));
  wheel.schedule_after(10ms, asio::bind_executor(io, fragile(calls, movable, alive)));
  movable = false;
  CHECK(alive == 2);
  stall(io, 10ms);
  CHECK(calls == 2);
  CHECK(alive == 0);
}

// ---- Executors

namespace {

/// Waits, on a wheel that other threads drive, for a timer of each kind.
template <class Wheel>
void check_timers_of(Wheel& wheel) {
  std::promise<timer_id> ran;
  const timer_id id = wheel.schedule_after(10ms, [&](timer_id self) { ran.set_value(self); });
  std::future<timer_id> result = ran.get_future();
  std::future<void> end = wheel.async_wait_after(10ms, asio::use_future);
  auto timer = wheel.schedule(timer_task::periodic(10ms, 1h));
  std::future<completion> told = timer.async_wait(asio::use_future);
  CHECK(result.wait_for(0s) == std::future_status::timeout);
  manual_clock::advance(10ms);
  CHECK(result.get() == id);
  end.get();
  CHECK(told.get() == completion::fired);
  CHECK(timer.cancel());
  CHECK(timer.async_wait(asio::use_future).get() == completion::cancelled);
}

template <class Executor>
using wheel_on = kestrel::basic_timer_wheel<Executor, manual_traits>;

} // namespace

TEST_CASE("A wheel may live on any kind of executor", "[associators][executors]") {
  const at_start clock;
  asio::thread_pool pool(2);
  SECTION("a thread pool's") {
    wheel_on<asio::thread_pool::executor_type> wheel{pool};
    check_timers_of(wheel);
  }
  SECTION("a strand's") {
    wheel_on<asio::strand<asio::thread_pool::executor_type>> wheel{
        asio::make_strand(pool.get_executor())};
    check_timers_of(wheel);
  }
  SECTION("the system's") {
    wheel_on<asio::system_executor> wheel{asio::system_executor()};
    check_timers_of(wheel);
  }
  SECTION("any") {
    wheel_on<asio::any_io_executor> wheel{asio::any_io_executor(asio::system_executor())};
    check_timers_of(wheel);
  }
  SECTION("a strand of any") {
    wheel_on<asio::strand<asio::any_io_executor>> wheel{
        asio::make_strand(asio::any_io_executor(pool.get_executor()))};
    check_timers_of(wheel);
  }
  pool.join();
}

TEST_CASE_METHOD(one_wheel, "Callbacks and handlers may be bound to the system's executor",
                 "[associators][executors]") {
  std::promise<std::thread::id> ran;
  std::promise<std::thread::id> ended;
  std::promise<std::thread::id> none;
  const auto on_system = [](std::promise<std::thread::id>& p) {
    return asio::bind_executor(asio::system_executor(),
                               [&p](auto&&...) { p.set_value(std::this_thread::get_id()); });
  };
  wheel.schedule_after(10ms, asio::bind_executor(asio::system_executor(), [&ran] {
                         ran.set_value(std::this_thread::get_id());
                       }));
  wheel.async_wait_after(10ms, on_system(ended));
  wheel.async_wait({}, on_system(none));
  stall(io, 10ms);
  CHECK(ran.get_future().get() != std::this_thread::get_id());
  CHECK(ended.get_future().get() != std::this_thread::get_id());
  CHECK(none.get_future().get() != std::this_thread::get_id());
  while (!wheel.empty())
    std::this_thread::yield();
}

// ---- Default completion tokens

namespace {

/// An executor whose users get futures unless they ask for something else.
struct with_futures : asio::any_io_executor {
  using default_completion_token_type = asio::use_future_t<>;

  template <class Executor>
  requires(!std::is_same_v<Executor, with_futures> &&
           std::is_convertible_v<Executor, asio::any_io_executor>) with_futures(const Executor& e)
  noexcept : asio::any_io_executor(e) {}
};

using wheel_with_futures = manual_wheel::rebind_executor<with_futures>::other;

} // namespace

TEST_CASE("What waits on a wheel return is up to its executor's default token",
          "[associators][tokens]") {
  const at_start clock;
  asio::io_context io;
  wheel_with_futures wheel{io};
  kestrel::basic_timer_service service{wheel};
  auto timer = wheel.schedule(timer_task::one_shot(10ms));
  std::vector<timer_task> tasks;
  tasks.push_back(timer_task::one_shot(10ms));
  const auto batch = wheel.schedule(tasks);
  kestrel::basic_scoped_timer<manual_clock, asio::use_future_t<>> scoped(
      wheel.schedule(timer_task::one_shot(10ms)));
  service.schedule_after(10ms);
  std::future<completion> by_handle = timer.async_wait();
  std::future<completion> by_id = wheel.async_wait(timer.id());
  std::future<completion> of_batch = batch[0].async_wait();
  std::future<completion> by_scoped = scoped.async_wait();
  std::future<void> pause = wheel.async_wait_after(10ms);
  std::future<kestrel::timer_notification> received = service.async_receive();
  notices told;
  timer.async_wait(told.note()); // asked for something else
  stall(io, 10ms);
  CHECK(by_handle.get() == completion::fired);
  CHECK(by_id.get() == completion::fired);
  CHECK(of_batch.get() == completion::fired);
  CHECK(by_scoped.get() == completion::fired);
  pause.get();
  CHECK(received.get().count == 1);
  CHECK(told == notices{fired()});
}

TEST_CASE("Handles with a default token and without convert to one another",
          "[associators][tokens]") {
  const at_start clock;
  asio::io_context io;
  wheel_with_futures wheel{io};
  notices told;
  auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
  kestrel::basic_timer_handle<manual_clock> plain = timer;
  plain.async_wait(told.note());
  stall(io, 10ms);
  CHECK(told == notices{fired()});
  const wheel_with_futures::handle_type again = plain; // has been told what `plain` has
  wheel_with_futures::handle_type reader = again;
  std::future<completion> next = reader.async_wait();
  settle(io);
  CHECK(next.wait_for(0s) == std::future_status::timeout);
  CHECK(plain.get_executor() == io.get_executor());
  CHECK(plain.cancel());
  settle(io);
  CHECK(next.get() == completion::cancelled);
}

static_assert(std::is_same_v<kestrel::timer_wheel::handle_type, kestrel::timer_handle>);
static_assert(std::is_same_v<kestrel::timer_wheel::batch_handle_type, kestrel::batch_handle>);
static_assert(
    std::is_same_v<kestrel::basic_timer_wheel<asio::io_context::executor_type>::handle_type,
                   kestrel::timer_handle>);

// ---- Coroutines

#if defined(ASIO_HAS_CO_AWAIT)

TEST_CASE("In coroutines, use_awaitable may be left out", "[associators][tokens][coroutines]") {
  const at_start clock;
  asio::io_context io;
  using token = asio::use_awaitable_t<>;
  token::as_default_on_t<manual_wheel> wheel{io};
  token::as_default_on_t<kestrel::timer_service> service{wheel};
  std::vector<int> steps;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<void> {
        auto timer = wheel.schedule(timer_task::periodic(10ms, 10ms));
        steps.push_back((co_await timer.async_wait()) == completion::fired ? 1 : -1);
        co_await wheel.async_wait_after(20ms);
        steps.push_back(static_cast<int>((co_await wheel.async_wait(timer.id())).count()));
        kestrel::basic_timer_handle<manual_clock> plain = timer;
        auto adapted = token::as_default_on(std::move(plain));
        steps.push_back(static_cast<int>((co_await adapted.async_wait()).count()));
        service.schedule_after(10ms);
        steps.push_back(static_cast<int>((co_await service.async_receive()).count));
        timer.cancel();
      },
      asio::detached);
  pass(io, 200ms);
  CHECK(steps == std::vector{1, 1, 3, 1});
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(one_allocator, "A coroutine's callable is kept in its allocator's memory",
                 "[associators][allocators][coroutines]") {
  std::size_t inside = 99;
  wheel.schedule_after(10ms, bound([&]() -> asio::awaitable<void> {
                         co_await asio::post(co_await asio::this_coro::executor,
                                             asio::use_awaitable);
                         inside = bytes;
                       }));
  CHECK(bytes != 0);
  stall(io, 10ms);
  CHECK(inside != 99);
  CHECK(bytes == 0);
}

namespace {

using gate = asio::basic_waitable_timer<manual_clock, manual_wait_traits>;

struct one_coroutine : one_wheel {
  /// A callable that waits for an hour, bound to the signal's slot.
  auto waiting() {
    return asio::bind_cancellation_slot(signal.slot(), [this]() -> asio::awaitable<void> {
      ++begun;
      gate open(io, manual_clock::now() + 1h);
      const auto state = co_await asio::this_coro::cancellation_state;
      asio::error_code ec;
      co_await open.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      ended += ec == asio::error::operation_aborted;
      told = state.cancelled();
    });
  }

  asio::cancellation_signal signal;
  int begun = 0;
  int ended = 0;
  cancellation_type told = cancellation_type::none;
};

} // namespace

TEST_CASE_METHOD(one_coroutine, "A slot cancels a coroutine's timer, and then the coroutine",
                 "[associators][cancellation][coroutines]") {
  const timer_id id = wheel.schedule_after(10ms, waiting());
  SECTION("before it begins") {
    signal.emit(cancellation_type::terminal);
    CHECK_FALSE(wheel.cancel(id));
    stall(io, 10ms);
    CHECK(begun == 0);
  }
  SECTION("after it has begun") {
    stall(io, 10ms);
    CHECK(begun == 1);
    signal.emit(cancellation_type::none);
    settle(io);
    CHECK(ended == 0);
    signal.emit(cancellation_type::terminal);
    settle(io);
    CHECK(ended == 1);
    CHECK(told == cancellation_type::terminal);
  }
  SECTION("after it has ended") {
    stall(io, 10ms);
    stall(io, 1h);
    CHECK(begun == 1);
    CHECK(ended == 0);
    signal.emit(cancellation_type::terminal);
  }
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_coroutine, "A slot cancels a periodic timer and all its coroutines",
                 "[associators][cancellation][coroutines]") {
  wheel.schedule_every(10ms, 10ms, waiting());
  pass(io, 30ms);
  CHECK(begun == 3);
  signal.emit(cancellation_type::terminal);
  CHECK(wheel.empty());
  pass(io, 30ms);
  CHECK(begun == 3);
  CHECK(ended == 3);
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_coroutine,
                 "The slot of a callable that was replaced still cancels its coroutine",
                 "[associators][cancellation][coroutines]") {
  const timer_id id = wheel.schedule_every(10ms, 10ms, waiting());
  stall(io, 10ms);
  CHECK(wheel.postpone(id, 10ms, [] {}));
  signal.emit(cancellation_type::terminal);
  settle(io);
  CHECK(ended == 1);
  CHECK(wheel.size() == 1);
  CHECK(wheel.cancel(id));
}

TEST_CASE("A coroutine that outlives its wheel is still cancelled through its slot",
          "[associators][cancellation][coroutines][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  asio::cancellation_signal signal;
  bool ended = false;
  {
    manual_wheel wheel{io};
    wheel.schedule_every(
        10ms, 10ms, asio::bind_cancellation_slot(signal.slot(), [&]() -> asio::awaitable<void> {
          gate open(io, manual_clock::now() + 1h);
          asio::error_code ec;
          co_await open.async_wait(asio::redirect_error(asio::use_awaitable, ec));
          ended = true;
        }));
    stall(io, 10ms);
  }
  CHECK_FALSE(ended);
  signal.emit(cancellation_type::terminal);
  settle(io);
  CHECK(ended);
}

TEST_CASE("A coroutine with a slot may be destroyed with its context",
          "[associators][cancellation][coroutines][lifetimes]") {
  const at_start clock;
  auto io = std::make_unique<asio::io_context>();
  const bool signal_first = GENERATE(false, true);
  auto signal = std::make_unique<asio::cancellation_signal>();
  {
    manual_wheel wheel{*io};
    wheel.schedule_after(
        10ms, asio::bind_cancellation_slot(signal->slot(), [&io]() -> asio::awaitable<void> {
          gate open(*io, manual_clock::now() + 1h);
          co_await open.async_wait(asio::use_awaitable);
        }));
    stall(*io, 10ms);
  }
  if (signal_first)
    signal.reset();
  io.reset();
  if (!signal_first)
    signal->emit(cancellation_type::terminal);
}

TEST_CASE_METHOD(one_coroutine, "A coroutine on a strand of its own is cancelled through its slot",
                 "[associators][cancellation][coroutines][executors]") {
  const auto strand = asio::make_strand(io);
  bool inside = false;
  wheel.schedule_after(
      10ms, asio::bind_executor(
                strand, asio::bind_cancellation_slot(signal.slot(), [&]() -> asio::awaitable<void> {
                  gate open(strand, manual_clock::now() + 1h);
                  asio::error_code ec;
                  co_await open.async_wait(asio::redirect_error(asio::use_awaitable, ec));
                  inside = strand.running_in_this_thread();
                })));
  stall(io, 10ms);
  asio::post(strand, [this] { signal.emit(cancellation_type::total); });
  settle(io);
  CHECK_FALSE(inside); // coroutines take terminal cancellation only, unless they ask for more
  asio::post(strand, [this] { signal.emit(cancellation_type::terminal); });
  settle(io);
  CHECK(inside);
}

#endif
