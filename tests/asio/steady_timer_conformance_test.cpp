// SPDX-License-Identifier: MIT
//
// What asio::steady_timer promises, kestrel::steady_timer does too: one suite for both.

#include "completion_tokens.hpp"
#include "counting_allocator.hpp"
#include "timer_kinds.hpp"

#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/system_executor.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>

#include <catch.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

using namespace kestrel_tests;

// ---- Types

namespace {

template <class A, class B>
constexpr bool same_traits =
    std::is_same_v<typename A::clock_type, typename B::clock_type>&&
        std::is_same_v<typename A::duration, typename B::duration>&&
            std::is_same_v<typename A::time_point, typename B::time_point>&&
                std::is_same_v<typename A::traits_type, typename B::traits_type>&&
                    std::is_same_v<typename A::executor_type, typename B::executor_type>&&
                        std::is_copy_constructible_v<A> ==
    std::is_copy_constructible_v<B>&& std::is_copy_assignable_v<A> ==
    std::is_copy_assignable_v<B>&& std::is_move_constructible_v<A> ==
    std::is_move_constructible_v<B>&& std::is_move_assignable_v<A> ==
    std::is_move_assignable_v<B>&& std::is_nothrow_destructible_v<A> ==
    std::is_nothrow_destructible_v<B>&& std::is_default_constructible_v<A> ==
    std::is_default_constructible_v<B>;

template <class A, class B, class... Args>
constexpr bool same_constructor =
    std::is_constructible_v<A, Args...> == std::is_constructible_v<B, Args...>;

template <class A, class B, class From>
constexpr bool same_conversion =
    same_constructor<A, B, From>&& std::is_convertible_v<From, A> == std::is_convertible_v<From, B>;

template <class A, class B>
constexpr bool same_constructors = same_conversion<A, B, typename A::executor_type>&&
    same_conversion<A, B, asio::io_context&>&& same_conversion<A, B, asio::thread_pool&>&&
        same_conversion<A, B, asio::execution_context&>&& same_conversion<A, B, int>&&
            same_constructor<A, B, typename A::executor_type, typename A::time_point>&&
                same_constructor<A, B, typename A::executor_type, typename A::duration>&&
                    same_constructor<A, B, asio::io_context&, typename A::time_point>&&
                        same_constructor<A, B, asio::io_context&, std::chrono::hours>;

template <class T>
using results = std::tuple<
    decltype(std::declval<T&>().cancel()), decltype(std::declval<T&>().cancel_one()),
    decltype(std::declval<const T&>().expiry()),
    std::decay_t<decltype(std::declval<T&>().get_executor())>, // newer Asio gives a reference
    decltype(std::declval<T&>().expires_at(std::declval<const typename T::time_point&>())),
    decltype(std::declval<T&>().expires_after(std::declval<const typename T::duration&>())),
    decltype(std::declval<T&>().wait()),
    decltype(std::declval<T&>().wait(std::declval<asio::error_code&>())),
    decltype(std::declval<T&>().async_wait(asio::use_future)),
    decltype(std::declval<T&>().async_wait(asio::detached))>;

template <class A, class B>
constexpr bool same_results = [] {
  using a = results<A>*; // void is no element of a tuple that exists
  using b = results<B>*;
  return std::is_same_v<a, b>;
}();

/// From one executor to another, as executors convert.
template <class Timer>
constexpr bool converts_as_executors_do =
    std::is_constructible_v<Timer, timer_on<Timer, asio::io_context::executor_type>>&&
        std::is_assignable_v<Timer&, timer_on<Timer, asio::io_context::executor_type>> &&
    !std::is_constructible_v<timer_on<Timer, asio::io_context::executor_type>, Timer> &&
    !std::is_assignable_v<timer_on<Timer, asio::io_context::executor_type>&, Timer>;

using io_executor = asio::io_context::executor_type;

static_assert(same_traits<asio::steady_timer, kestrel::steady_timer>);
static_assert(same_traits<timer_on<asio::steady_timer, io_executor>,
                          timer_on<kestrel::steady_timer, io_executor>>);
static_assert(same_constructors<asio::steady_timer, kestrel::steady_timer>);
static_assert(same_constructors<timer_on<asio::steady_timer, io_executor>,
                                timer_on<kestrel::steady_timer, io_executor>>);
static_assert(same_results<asio::steady_timer, kestrel::steady_timer>);
static_assert(converts_as_executors_do<asio::steady_timer>);
static_assert(converts_as_executors_do<kestrel::steady_timer>);
static_assert(std::is_nothrow_move_constructible_v<kestrel::steady_timer>);
static_assert(std::is_nothrow_move_assignable_v<kestrel::steady_timer>);

// ---- What the tests share

/// What became of waits, in order: positive labels completed, negative ones were aborted.
struct outcomes : std::vector<int> {
  using std::vector<int>::vector;

  auto note(int label) {
    return [this, label](asio::error_code ec) {
      if (ec && ec != asio::error::operation_aborted)
        push_back(0);
      else
        push_back(ec ? -label : label);
    };
  }
};

struct fixture {
  at_start clock;
  asio::io_context io;
  outcomes seen;
};

template <class T>
struct typed_fixture : fixture {};

} // namespace

#define CONFORMANCE(name)                                                                          \
  TEMPLATE_TEST_CASE_METHOD(typed_fixture, name, "[steady_timer]", asio_timer, kestrel_timer)

CONFORMANCE("A timer that was not set has its expiry at the epoch of the clock") {
  CHECK(TestType(this->io).expiry() == manual_clock::time_point());
  CHECK(TestType(this->io.get_executor()).expiry() == manual_clock::time_point());
}

CONFORMANCE("Constructors set the expiry, as a time or from now") {
  const auto time = manual_clock::start + 1h;
  CHECK(TestType(this->io, time).expiry() == time);
  CHECK(TestType(this->io.get_executor(), time).expiry() == time);
  CHECK(TestType(this->io, 1h).expiry() == time);
  CHECK(TestType(this->io.get_executor(), 1h).expiry() == time);
}

CONFORMANCE("A timer tells its executor") {
  CHECK(TestType(this->io).get_executor() == asio::any_io_executor(this->io.get_executor()));
  const auto strand = asio::make_strand(this->io);
  CHECK(TestType(strand).get_executor() == asio::any_io_executor(strand));
}

CONFORMANCE("A wait completes at the expiry and not before") {
  TestType timer(this->io, 30ms);
  timer.async_wait(this->seen.note(1));
  stall(this->io, 30ms - 1ns);
  CHECK(this->seen.empty());
  stall(this->io, 1ns);
  CHECK(this->seen == outcomes{1});
}

CONFORMANCE("A wait for a time that is over completes soon, but never inside async_wait") {
  TestType timer(this->io, GENERATE(as<manual_clock::time_point>(), manual_clock::start,
                                    manual_clock::start - 1h, manual_clock::time_point(),
                                    manual_clock::time_point::min()));
  asio::post(this->io, [&] {
    timer.async_wait(this->seen.note(1));
    CHECK(this->seen.empty());
  });
  settle(this->io);
  CHECK(this->seen == outcomes{1});
}

CONFORMANCE("An expired timer stays so: later waits complete too") {
  TestType timer(this->io, 5ms);
  timer.async_wait(this->seen.note(1));
  stall(this->io, 5ms);
  timer.async_wait(this->seen.note(2));
  CHECK(this->seen == outcomes{1});
  settle(this->io);
  CHECK(this->seen == outcomes{1, 2});
}

CONFORMANCE("All waits of a timer complete, in their order") {
  TestType timer(this->io, 5ms);
  for (int i = 1; i <= 5; ++i)
    timer.async_wait(this->seen.note(i));
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{1, 2, 3, 4, 5});
}

CONFORMANCE("Timers complete in the order of their expiries") {
  std::vector<TestType> timers;
  for (const int ms : {50, 10, 2000, 30, 1})
    timers.emplace_back(this->io, std::chrono::milliseconds(ms)).async_wait(this->seen.note(ms));
  stall(this->io, 1h);
  CHECK(this->seen == outcomes{1, 10, 30, 50, 2000});
}

CONFORMANCE("Timers of several waits and on strands complete in the order of all") {
  TestType first(this->io, 1ms);
  first.async_wait(this->seen.note(1));
  first.async_wait(this->seen.note(2));
  TestType second(this->io, 3ms);
  second.async_wait(this->seen.note(3));
  TestType third(asio::make_strand(this->io), 5ms);
  third.async_wait(this->seen.note(4));
  TestType fourth(this->io, 7ms);
  fourth.async_wait(this->seen.note(5));
  stall(this->io, 10ms);
  CHECK(this->seen == outcomes{1, 2, 3, 4, 5});
}

CONFORMANCE("A handler that stops the context is the last that is called") {
  TestType first(this->io, 1ms);
  first.async_wait([&](asio::error_code ec) {
    this->seen.note(1)(ec);
    this->io.stop();
  });
  TestType second(this->io, 3ms);
  second.async_wait(this->seen.note(2));
  TestType third(this->io, 5ms);
  third.async_wait(this->seen.note(3));
  manual_clock::advance(10ms);
  this->io.run();
  CHECK(this->seen == outcomes{1});
  this->io.restart();
  this->io.run();
  CHECK(this->seen == outcomes{1, 2, 3});
}

CONFORMANCE("Cancel aborts all waits, and tells how many") {
  TestType timer(this->io, 5ms);
  CHECK(timer.cancel() == 0);
  for (int i = 1; i <= 3; ++i)
    timer.async_wait(this->seen.note(i));
  CHECK(timer.cancel() == 3);
  CHECK(this->seen.empty()); // never inside cancel
  CHECK(timer.cancel() == 0);
  settle(this->io);
  CHECK(this->seen == outcomes{-1, -2, -3});
  stall(this->io, 1h);
  CHECK(this->seen == outcomes{-1, -2, -3});
  CHECK(timer.expiry() == manual_clock::start + 5ms);
}

CONFORMANCE("Cancel_one aborts the wait that began first") {
  TestType timer(this->io, 5ms);
  CHECK(timer.cancel_one() == 0);
  for (int i = 1; i <= 3; ++i)
    timer.async_wait(this->seen.note(i));
  CHECK(timer.cancel_one() == 1);
  settle(this->io);
  CHECK(this->seen == outcomes{-1});
  CHECK(timer.cancel_one() == 1);
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{-1, -2, 3});
  CHECK(timer.cancel_one() == 0);
}

CONFORMANCE("The last wait that cancel_one aborts leaves nothing to wait for") {
  TestType timer(this->io, 1h);
  timer.async_wait(this->seen.note(1));
  CHECK(timer.cancel_one() == 1);
  settle(this->io);
  CHECK(out_of_work(this->io));
}

CONFORMANCE("Setting the expiry aborts all waits, and tells how many") {
  TestType timer(this->io, 10ms);
  timer.async_wait(this->seen.note(1));
  timer.async_wait(this->seen.note(2));
  SECTION("from now") { CHECK(timer.expires_after(20ms) == 2); }
  SECTION("as a time") { CHECK(timer.expires_at(manual_clock::start + 20ms) == 2); }
  CHECK(timer.expiry() == manual_clock::start + 20ms);
  timer.async_wait(this->seen.note(3));
  stall(this->io, 20ms - 1ns);
  CHECK(this->seen == outcomes{-1, -2});
  stall(this->io, 1ns);
  CHECK(this->seen == outcomes{-1, -2, 3});
  CHECK(timer.expires_after(1s) == 0);
}

CONFORMANCE("An expiry may be moved earlier") {
  TestType timer(this->io, 1h);
  timer.async_wait(this->seen.note(1));
  CHECK(timer.expires_after(5ms) == 1);
  timer.async_wait(this->seen.note(2));
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{-1, 2});
}

CONFORMANCE("An idle timeout that is reset again and again completes once") {
  TestType timer(this->io, 50ms);
  TestType other(this->io, 1h); // is never alone
  other.async_wait(this->seen.note(9));
  timer.async_wait(this->seen.note(1));
  for (int i = 0; i != 100; ++i) {
    pass(this->io, 7ms, 7ms);
    CHECK(timer.expires_after(50ms) == 1);
    timer.async_wait([&](asio::error_code ec) {
      if (!ec)
        this->seen.note(2)(ec);
    });
  }
  CHECK(this->seen == outcomes{-1});
  stall(this->io, 50ms - 1ns);
  CHECK(this->seen == outcomes{-1});
  stall(this->io, 1ns);
  CHECK(this->seen == outcomes{-1, 2});
}

CONFORMANCE("The ends of time are no trouble") {
  TestType timer(this->io);
  timer.expires_after(manual_clock::duration::max());
  CHECK(timer.expiry() == manual_clock::time_point::max());
  timer.async_wait(this->seen.note(1));
  stall(this->io, 24h * 365);
  CHECK(this->seen.empty());
  CHECK(timer.expires_at(manual_clock::time_point::max()) == 1);
  timer.async_wait(this->seen.note(2));
  settle(this->io);
  CHECK(timer.cancel() == 1);
  settle(this->io);
  CHECK(this->seen == outcomes{-1, -2});
}

CONFORMANCE("A clock before its epoch is no trouble") {
  manual_clock::set(manual_clock::time_point(-1s));
  TestType timer(this->io, manual_clock::duration::min());
  CHECK(timer.expiry() == manual_clock::time_point::min());
  timer.async_wait(this->seen.note(1));
  settle(this->io);
  CHECK(timer.expires_after(5ms) == 0);
  timer.async_wait(this->seen.note(2));
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{1, 2});
}

CONFORMANCE("A wait that is due at once does not overtake those that were aborted before") {
  TestType timer(this->io, 1h);
  TestType other(this->io, 5ms);
  other.async_wait(this->seen.note(9));
  manual_clock::advance(5ms);
  timer.async_wait(this->seen.note(1));
  timer.async_wait(this->seen.note(2));
  CHECK(timer.cancel_one() == 1);
  CHECK(timer.expires_at(manual_clock::start) == 1);
  timer.async_wait(this->seen.note(3));
  settle(this->io);
  std::erase(this->seen, 9);
  CHECK(this->seen == outcomes{-1, -2, 3});
}

CONFORMANCE("Setting a timer that is waited for to the end of time leaves nothing to wait for") {
  TestType timer(this->io, 1h);
  timer.async_wait(this->seen.note(1));
  CHECK(timer.expires_at(manual_clock::time_point::max()) == 1);
  settle(this->io);
  CHECK(this->seen == outcomes{-1});
  CHECK(out_of_work(this->io));
}

CONFORMANCE("Run() goes on while someone waits, and returns when nobody does") {
  TestType timer(this->io, 1h);
  CHECK(out_of_work(this->io));
  timer.async_wait(this->seen.note(1));
  CHECK(!out_of_work(this->io));
  stall(this->io, 1h);
  CHECK(this->seen == outcomes{1});
  CHECK(out_of_work(this->io));
}

CONFORMANCE("A destroyed timer aborts its waits") {
  {
    TestType timer(this->io, 5ms);
    timer.async_wait(this->seen.note(1));
    timer.async_wait(this->seen.note(2));
  }
  CHECK(this->seen.empty());
  settle(this->io);
  CHECK(this->seen == outcomes{-1, -2});
  CHECK(out_of_work(this->io));
}

CONFORMANCE("A moved timer takes its waits along") {
  auto source = std::make_unique<TestType>(this->io, 5ms);
  source->async_wait(this->seen.note(1));
  TestType timer(std::move(*source));
  CHECK(source->cancel() == 0);
  CHECK(source->expiry() == typename TestType::time_point());
  SECTION("and its source is due at once, as a new one") {
    source->async_wait(this->seen.note(2));
    settle(this->io);
    CHECK(this->seen == outcomes{2});
    TestType other(this->io, 1h);
    timer = std::move(other);
    CHECK(other.expiry() == typename TestType::time_point());
    timer_on<TestType, io_executor> typed(this->io, 1h);
    TestType converted(std::move(typed));
    CHECK(typed.expiry() == typename TestType::time_point());
    settle(this->io);
    CHECK(this->seen == outcomes{2, -1});
  }
  SECTION("and its source may be used again") {
    source->expires_after(2ms);
    source->async_wait(this->seen.note(2));
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{2, 1});
  }
  SECTION("and its source may go") {
    source.reset();
    CHECK(timer.expiry() == manual_clock::start + 5ms);
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("and they can be cancelled") {
    source.reset();
    CHECK(timer.cancel() == 1);
    settle(this->io);
    CHECK(this->seen == outcomes{-1});
  }
}

CONFORMANCE("A timer that is assigned to loses its waits and takes others along") {
  TestType source(this->io, 5ms);
  source.async_wait(this->seen.note(1));
  TestType timer(this->io, 5ms);
  timer.async_wait(this->seen.note(2));
  timer = std::move(source);
  settle(this->io);
  CHECK(this->seen == outcomes{-2});
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{-2, 1});
}

CONFORMANCE("A timer moves from one context to another by assignment") {
  asio::io_context other;
  TestType timer(this->io, 1h);
  timer.async_wait(this->seen.note(1));
  timer = TestType(other, 5ms);
  CHECK(timer.get_executor() == asio::any_io_executor(other.get_executor()));
  timer.async_wait(this->seen.note(2));
  settle(this->io);
  CHECK(this->seen == outcomes{-1});
  stall(other, 5ms);
  CHECK(this->seen == outcomes{-1, 2});
}

CONFORMANCE("A timer on one kind of executor moves to one on another") {
  timer_on<TestType, io_executor> source(this->io, 5ms);
  source.async_wait(this->seen.note(1));
  SECTION("by construction") {
    TestType timer(std::move(source));
    CHECK(timer.get_executor() == asio::any_io_executor(this->io.get_executor()));
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("by assignment") {
    TestType timer(this->io, 5ms);
    timer.async_wait(this->seen.note(2));
    timer = std::move(source);
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{-2, 1});
  }
}

CONFORMANCE("A wait is cancelled through its slot, whatever the type of cancellation") {
  asio::cancellation_signal signal;
  TestType timer(this->io, 5ms);
  timer.async_wait(this->seen.note(1));
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), this->seen.note(2)));
  timer.async_wait(this->seen.note(3));
  signal.emit(GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                       asio::cancellation_type::total, asio::cancellation_type::all));
  CHECK(this->seen.empty());
  settle(this->io);
  CHECK(this->seen == outcomes{-2});
  CHECK(timer.cancel() == 2);
}

CONFORMANCE("A slot that is emitted too late does nothing") {
  asio::cancellation_signal signal;
  TestType timer(this->io, 5ms);
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), this->seen.note(1)));
  stall(this->io, 5ms);
  timer.async_wait(this->seen.note(2));
  signal.emit(asio::cancellation_type::all);
  settle(this->io);
  CHECK(this->seen == outcomes{1, 2});
}

CONFORMANCE("A slot that cancels the only wait leaves nothing to wait for") {
  asio::cancellation_signal signal;
  TestType timer(this->io, 1h);
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), this->seen.note(1)));
  signal.emit(asio::cancellation_type::all);
  settle(this->io);
  CHECK(this->seen == outcomes{-1});
  CHECK(out_of_work(this->io));
}

CONFORMANCE("Handlers run on their own executors, else on the timer's") {
  const auto strand = asio::make_strand(this->io);
  const auto other = asio::make_strand(this->io);
  TestType timer(strand, 5ms);
  std::vector<bool> where;
  timer.async_wait([&](asio::error_code) { where.push_back(strand.running_in_this_thread()); });
  timer.async_wait(asio::bind_executor(
      other, [&](asio::error_code) { where.push_back(other.running_in_this_thread()); }));
  SECTION("when it is due") { stall(this->io, 5ms); }
  SECTION("when it was cancelled") { timer.cancel(); }
  settle(this->io);
  CHECK(where == std::vector<bool>{true, true});
}

CONFORMANCE("Handlers of other contexts keep those running") {
  asio::thread_pool pool(1);
  TestType timer(this->io, 5ms);
  std::thread::id on;
  timer.async_wait(
      asio::bind_executor(pool, [&](asio::error_code) { on = std::this_thread::get_id(); }));
  stall(this->io, 5ms);
  pool.join(); // not before the handler has run
  CHECK(on != std::thread::id());
  CHECK(on != std::this_thread::get_id());
}

CONFORMANCE("A timer on a thread pool") {
  asio::thread_pool pool(2);
  TestType timer(pool, manual_clock::start);
  auto done = timer.async_wait(asio::use_future);
  done.get();
  pool.join();
}

CONFORMANCE("A timer on the system's executor") {
  timer_on<TestType, asio::system_executor> timer(asio::system_executor(), manual_clock::start);
  timer.async_wait(asio::use_future).get();
}

CONFORMANCE("Handlers may be move-only, and are called once") {
  TestType timer(this->io, 5ms);
  timer.async_wait([&, owned = std::make_unique<int>(7)](asio::error_code) mutable {
    this->seen.push_back(*owned);
  });
  stall(this->io, 5ms);
  CHECK(this->seen == outcomes{7});
}

CONFORMANCE("A handler may reset, cancel or destroy its timer") {
  auto timer = std::make_unique<TestType>(this->io, 5ms);
  SECTION("reset") {
    timer->async_wait([&](asio::error_code) {
      timer->expires_after(5ms);
      timer->async_wait(this->seen.note(1));
    });
    stall(this->io, 5ms);
    CHECK(this->seen.empty());
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("destroy") {
    timer->async_wait([&](asio::error_code ec) {
      timer.reset();
      this->seen.note(1)(ec);
    });
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("move") {
    std::unique_ptr<TestType> other;
    timer->async_wait([&](asio::error_code) {
      other = std::make_unique<TestType>(std::move(*timer));
      timer.reset();
      other->async_wait(this->seen.note(1));
    });
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("wait again for an expiry that is over") {
    timer->async_wait([&](asio::error_code) {
      timer->async_wait(this->seen.note(1));
      CHECK(this->seen.empty());
    });
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
}

CONFORMANCE("An exception of a handler leaves run(), and the other waits complete in the next") {
  TestType timer(this->io, 5ms);
  TestType other(this->io, 5ms);
  timer.async_wait([](asio::error_code) { throw std::runtime_error("handler"); });
  timer.async_wait(this->seen.note(1));
  other.async_wait(this->seen.note(2));
  manual_clock::advance(5ms);
  CHECK_THROWS_AS(settle(this->io), std::runtime_error);
  settle(this->io);
  std::sort(this->seen.begin(), this->seen.end());
  CHECK(this->seen == outcomes{1, 2});
}

CONFORMANCE("A handler that throws as it is moved leaves nothing behind") {
  struct throws_as_it_moves {
    throws_as_it_moves(bool& a, std::shared_ptr<int> t) : armed{a}, token(std::move(t)) {}
    throws_as_it_moves(throws_as_it_moves&& other) : armed{other.armed}, token(other.token) {
      if (armed)
        throw std::runtime_error("move");
    }
    void operator()(asio::error_code) const { FAIL("called"); }
    bool& armed;
    std::shared_ptr<int> token;
  };
  const auto token = std::make_shared<int>();
  bool armed = false;
  TestType timer(this->io, 5ms);
  timer.async_wait(throws_as_it_moves(armed, token));
  armed = true;
  manual_clock::advance(5ms);
  CHECK_THROWS_AS(settle(this->io), std::runtime_error);
  CHECK(token.use_count() == 1);
}

CONFORMANCE("Handlers of waits that the end of the context finds are destroyed, not called") {
  const auto token = std::make_shared<int>();
  {
    asio::io_context own;
    TestType timer(own, 5ms);
    TestType started(own, manual_clock::start);
    timer.async_wait([token](asio::error_code) { FAIL("called"); });
    started.async_wait([token](asio::error_code) { FAIL("called"); });
    started.cancel();
    CHECK(token.use_count() == 3);
  }
  CHECK(token.use_count() == 1);
}

CONFORMANCE("A handler may own its timer, also when the context ends") {
  const auto token = std::make_shared<int>();
  {
    asio::io_context own;
    auto timer = std::make_shared<TestType>(own, 5ms);
    TestType& t = *timer;
    t.async_wait([timer, token](asio::error_code) { FAIL("called"); });
  }
  CHECK(token.use_count() == 1);
}

CONFORMANCE("A handler's memory is its allocator's, and freed before it is called") {
  int live = 0;
  int called = 0;
  TestType timer(this->io, 5ms);
  timer.async_wait(asio::bind_allocator(counting_allocator<int>(live), [&](asio::error_code) {
    CHECK(live == 0);
    ++called;
  }));
  CHECK(live > 0);
  SECTION("when it is due") { stall(this->io, 5ms); }
  SECTION("when it was cancelled") { timer.cancel(); }
  settle(this->io);
  CHECK(called == 1);
  CHECK(live == 0);
}

CONFORMANCE("Completion tokens") {
  TestType timer(this->io, 5ms);
  SECTION("deferred") {
    auto wait = timer.async_wait(deferred);
    timer.expires_after(10ms); // before it begins
    std::move(wait)(this->seen.note(1));
    stall(this->io, 5ms);
    CHECK(this->seen.empty());
    stall(this->io, 5ms);
    CHECK(this->seen == outcomes{1});
  }
  SECTION("an error in a tuple") {
    const auto note = [&](std::tuple<asio::error_code> result) {
      this->seen.note(1)(std::get<0>(result));
    };
    timer.async_wait(tupled(note));
    timer.cancel();
    settle(this->io);
    CHECK(this->seen == outcomes{-1});
  }
  SECTION("an error that is redirected") {
    asio::error_code ec;
    timer.async_wait(asio::redirect_error([&] { this->seen.note(1)(ec); }, ec));
    timer.cancel();
    settle(this->io);
    CHECK(this->seen == outcomes{-1});
  }
  SECTION("a future") {
    auto future = timer.async_wait(asio::use_future);
    stall(this->io, 5ms);
    CHECK_NOTHROW(future.get());
  }
  SECTION("a future that is aborted") {
    auto future = timer.async_wait(asio::use_future);
    timer.cancel();
    settle(this->io);
    CHECK_THROWS_AS(future.get(), asio::system_error);
  }
  SECTION("detached") {
    timer.async_wait(asio::detached);
    CHECK(!out_of_work(this->io));
    stall(this->io, 5ms);
    CHECK(out_of_work(this->io));
  }
}

// ---- The types that programs use, on the clock they use

TEMPLATE_TEST_CASE("Wait() blocks until the expiry", "[steady_timer]", asio::steady_timer,
                   kestrel::steady_timer) {
  asio::io_context io;
  TestType timer(io, std::chrono::milliseconds(3));
  timer.wait();
  CHECK(std::chrono::steady_clock::now() >= timer.expiry());

  timer.expires_after(std::chrono::milliseconds(3));
  asio::error_code ec = asio::error::operation_aborted;
  timer.wait(ec);
  CHECK(!ec);
  CHECK(std::chrono::steady_clock::now() >= timer.expiry());
}

TEMPLATE_TEST_CASE("Async_wait on the wall clock is never early", "[steady_timer]",
                   asio::steady_timer, kestrel::steady_timer) {
  asio::io_context io;
  std::vector<TestType> timers;
  int early = 0;
  int done = 0;
  for (int i = 0; i != 40; ++i)
    timers.emplace_back(io, std::chrono::microseconds(317 * i));
  for (TestType& timer : timers)
    timer.async_wait([&](asio::error_code ec) {
      early += ec || std::chrono::steady_clock::now() < timer.expiry() ? 1 : 0;
      ++done;
    });
  io.run();
  CHECK(early == 0);
  CHECK(done == 40);
}
