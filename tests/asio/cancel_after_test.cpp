// SPDX-License-Identifier: MIT
//
// cancel_after, cancel_at: operations of every kind, with every kind of completion token, that
// complete before their timeout, at it, because of it, inside it, or never. Then from two threads.

#include "completion_tokens.hpp"
#include "counting_allocator.hpp"
#include "error_of.hpp"
#include "runners.hpp"
#include "sanitizers.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/steady_timer.hpp>
#include <kestrel/testing.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/detached.hpp>
#include <asio/dispatch.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_error.hpp>
#include <asio/thread_pool.hpp>
#include <asio/use_future.hpp>
#include <asio/write.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using asio::cancellation_type;
using kestrel::cancel_after;
using kestrel::cancel_at;
using kestrel_tests::counting_allocator;
using kestrel_tests::deferred;
using kestrel_tests::error_of;
using kestrel_tests::tupled;
using std::chrono::steady_clock;

namespace {

const asio::error_code aborted = asio::error::operation_aborted;
const asio::error_code success;

/// An operation that completes when it is told to, and writes down how it is cancelled. One at a
/// time. Its result is moved only.
class manual_operation {
public:
  using signature = void(asio::error_code, std::unique_ptr<int>);

  explicit manual_operation(asio::io_context& io) : io_{&io} {}

  std::vector<cancellation_type> cancellations;
  bool heeds_cancellation = true;
  bool completes_inside = false; // of whatever makes it complete
  std::function<void()> while_initiating = [] {};
  std::function<void()> while_cancelled = [] {};

  template <class Token>
  auto async_run(Token&& token) {
    return asio::async_initiate<Token, signature>(initiation{this}, token);
  }

  void complete(asio::error_code ec, int value = 0) {
    std::exchange(complete_, nullptr)(ec, value);
  }

  [[nodiscard]] bool is_running() const { return complete_ != nullptr; }

  /// As if its context went: the handler is destroyed.
  void forget() { complete_ = nullptr; }

private:
  struct initiation {
    using executor_type = asio::io_context::executor_type;
    executor_type get_executor() const noexcept { return operation->io_->get_executor(); }

    template <class Handler>
    void operator()(Handler&& handler) const {
      auto kept = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
      operation->connect(asio::get_associated_cancellation_slot(*kept));
      operation->complete_ = [op = operation, kept](asio::error_code ec, int value) {
        const auto call = [kept, ec, value] {
          auto h = std::move(*kept);
          std::move(h)(ec, std::make_unique<int>(value));
        };
        if (op->completes_inside)
          call();
        else
          asio::post(asio::get_associated_executor(*kept, op->io_->get_executor()), call);
      };
      operation->while_initiating();
    }

    manual_operation* operation;
  };

  void connect(asio::cancellation_slot slot) {
    if (slot.is_connected())
      slot.assign([this](cancellation_type type) {
        cancellations.push_back(type);
        if (heeds_cancellation && complete_ != nullptr)
          complete(aborted);
        while_cancelled();
      });
  }

  asio::io_context* io_;
  std::function<void(asio::error_code, int)> complete_;
};

/// What most tests begin with.
struct fixture {
  asio::io_context io;
  kestrel::testing::virtual_time time{io};
  const steady_clock::time_point start = time.now();
  asio::steady_timer never{io, steady_clock::time_point::max()};
  manual_operation operation{io};
  std::vector<asio::error_code> results;
  std::optional<steady_clock::duration> at;

  /// A handler that notes its results.
  auto note() {
    return [this](asio::error_code ec, auto&&...) {
      results.push_back(ec);
      at = time.now() - start;
    };
  }
};

using codes = std::vector<asio::error_code>;
using types = std::vector<cancellation_type>;

} // namespace

// ---- Who is first

TEST_CASE_METHOD(fixture, "An operation that takes too long is cancelled when its time is up",
                 "[cancel_after]") {
  never.async_wait(cancel_after(5s, note()));
  time.advance(5s - 1ns);
  CHECK(results.empty());
  time.advance(1ns);
  CHECK(results == codes{aborted});
  CHECK(at == 5s);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "An operation that is in time is left alone", "[cancel_after]") {
  kestrel::timer_wheel wheel{io};
  operation.async_run(cancel_after(wheel, 5s, [&](asio::error_code ec, std::unique_ptr<int> value) {
    CHECK_FALSE(ec);
    CHECK(*value == 42);
    CHECK(wheel.empty()); // its timer has gone
    note()(ec);
  }));
  CHECK(wheel.size() == 1);
  time.advance(4s);
  operation.complete(success, 42);
  time.advance(1h);
  CHECK(results == codes{success});
  CHECK(at == 4s);
  CHECK(operation.cancellations.empty());
}

TEST_CASE_METHOD(fixture, "An operation that completes when its time is up completes once",
                 "[cancel_after]") {
  SECTION("when both are due at once") {
    kestrel::timer_wheel wheel{io};
    wheel.async_wait_after(5s, cancel_after(wheel, 5s, note()));
    wheel.async_wait_after(5s, cancel_after(wheel, 5s, note()));
    time.advance(1h);
    CHECK(results.size() == 2);
    CHECK(wheel.empty());
  }
  SECTION("when it was about to complete") {
    operation.async_run(cancel_after(5s, note()));
    kestrel::timer_wheel wheel{io, {.l0_tick = 1ms, .l1_tick = 100ms}};
    wheel.schedule_after(5s, [&] {
      if (operation.is_running())
        operation.complete(success);
    });
    time.advance(1h);
    CHECK(results.size() == 1);
  }
  SECTION("when its result is on its way, which counts") {
    operation.async_run(cancel_after(5s, note()));
    time.advance(5s - 1ms);
    operation.complete(success);
    operation.heeds_cancellation = false;
    std::this_thread::yield();
    time.advance(1h);
    CHECK(results == codes{success});
    CHECK(operation.cancellations.empty());
  }
}

TEST_CASE_METHOD(fixture, "An operation with no time at all is cancelled, but not at once",
                 "[cancel_after]") {
  SECTION("zero") { never.async_wait(cancel_after(0s, note())); }
  SECTION("negative") { never.async_wait(cancel_after(-1h, note())); }
  SECTION("the earliest") { never.async_wait(cancel_after(steady_clock::duration::min(), note())); }
  SECTION("a time that is over") { never.async_wait(cancel_at(start - 1h, note())); }
  CHECK(results.empty());
  time.run_until_idle();
  CHECK(results == codes{aborted});
}

TEST_CASE_METHOD(fixture, "An operation with all the time of the world is not cancelled",
                 "[cancel_after]") {
  operation.async_run(cancel_after(std::chrono::hours::max(), note()));
  time.advance(100 * 365 * 24h);
  CHECK(operation.is_running());
  operation.complete(success);
  time.run_until_idle();
  CHECK(results == codes{success});
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A timeout must be a number", "[cancel_after]") {
  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  CHECK(error_of([&] { never.async_wait(cancel_after(nan, note())); }) ==
        kestrel::errc::invalid_delay);
  never.async_wait(cancel_after(std::chrono::duration<double>(1.5), note()));
  time.advance(2s);
  CHECK(at == 1500ms);
}

TEST_CASE_METHOD(fixture, "An operation is cancelled at a point of time", "[cancel_after]") {
  kestrel::timer_wheel wheel{io};
  int cancelled = 0;
  const auto count = [&](asio::error_code ec) { cancelled += ec == aborted; };
  never.async_wait(cancel_at(start + 5s, count));
  never.async_wait(cancel_at(start + 5s, cancellation_type::total, count));
  never.async_wait(cancel_at(wheel, start + 5s, count));
  never.async_wait(cancel_at(wheel, start + 5s, cancellation_type::total, count));
  never.async_wait(cancel_at(start + 5s)(count));
  never.async_wait(cancel_at(wheel, start + 5s)(count));
  never.async_wait(cancel_after(5s, count));
  never.async_wait(cancel_after(5s, cancellation_type::total, count));
  never.async_wait(cancel_after(wheel, 5s, count));
  never.async_wait(cancel_after(wheel, 5s, cancellation_type::total, count));
  never.async_wait(cancel_after(5s)(count));
  never.async_wait(cancel_after(wheel, 5s)(count));
  time.advance(5s - 1ns);
  CHECK(cancelled == 0);
  time.advance(1ns);
  CHECK(cancelled == 12);
}

TEST_CASE_METHOD(fixture, "The time begins when the operation is initiated", "[cancel_after]") {
  auto token = cancel_after(5s, note());
  time.advance(1h);
  never.async_wait(token);
  never.async_wait(token); // a token may be used again
  time.advance(4s);
  CHECK(results.empty());
  time.advance(1s);
  CHECK(results == codes{aborted, aborted});
}

// ---- Cancellation

TEST_CASE_METHOD(fixture, "The type of the cancellation can be chosen", "[cancel_after]") {
  operation.heeds_cancellation = false;
  kestrel::timer_wheel wheel{io};
  SECTION("terminal, if it is not") {
    operation.async_run(cancel_after(1s, note()));
    time.advance(1h);
    CHECK(operation.cancellations == types{cancellation_type::terminal});
  }
  SECTION("partial") {
    operation.async_run(cancel_after(1s, cancellation_type::partial, note()));
    time.advance(1h);
    CHECK(operation.cancellations == types{cancellation_type::partial});
  }
  SECTION("several, on a wheel") {
    const auto type = cancellation_type::partial | cancellation_type::total;
    operation.async_run(cancel_after(wheel, 1s, type, note()));
    time.advance(1h);
    CHECK(operation.cancellations == types{type});
  }
  operation.complete(success);
}

TEST_CASE_METHOD(fixture, "The handler's own slot goes on working", "[cancel_after]") {
  asio::cancellation_signal signal;
  operation.heeds_cancellation = false;
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  signal.emit(cancellation_type::total);
  signal.emit(cancellation_type::partial);
  CHECK(operation.cancellations == types{cancellation_type::total, cancellation_type::partial});
  time.advance(5s);
  CHECK(operation.cancellations.back() == cancellation_type::terminal);
  operation.heeds_cancellation = true;
  signal.emit(cancellation_type::partial); // after the timeout, which was of no use
  time.run_until_idle();
  CHECK(operation.cancellations.size() == 4);
  CHECK(results == codes{aborted});

  signal.emit(cancellation_type::terminal); // the operation is over
  CHECK(operation.cancellations.size() == 4);
}

TEST_CASE_METHOD(fixture, "One slot serves one operation after the other", "[cancel_after]") {
  asio::cancellation_signal signal;
  for (int i = 0; i != 3; ++i) {
    never.async_wait(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
    if (i != 1)
      signal.emit(cancellation_type::terminal);
    time.run_until_idle();
    time.advance(5s);
  }
  CHECK(results == codes{aborted, aborted, aborted});
  CHECK_FALSE(signal.slot().has_handler());
}

TEST_CASE_METHOD(fixture, "A slot may be emitted when the operation was destroyed",
                 "[cancel_after][lifetimes]") {
  asio::cancellation_signal signal;
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  operation.forget();
  signal.emit(cancellation_type::terminal);
  time.advance(1h);
  CHECK(operation.cancellations.empty());
  CHECK(results.empty());
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "An operation that completes inside its cancellation is told of later",
                 "[cancel_after]") {
  asio::cancellation_signal signal;
  operation.completes_inside = true;
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  SECTION("by the timeout") { time.advance(5s); }
  SECTION("by its slot") {
    signal.emit(cancellation_type::terminal);
    CHECK(results.empty());
    time.run_until_idle();
  }
  CHECK(results == codes{aborted});
  CHECK(operation.cancellations.size() == 1);
  time.advance(1h);
  CHECK(results.size() == 1);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "An operation that is destroyed inside its cancellation is forgotten",
                 "[cancel_after]") {
  asio::cancellation_signal signal;
  const auto alive = std::make_shared<int>();
  auto token = cancel_after(
      5s, asio::bind_executor(io, asio::bind_cancellation_slot(signal.slot(), [kept = alive] {
                                FAIL("it was destroyed");
                              })));
  asio::async_initiate<decltype(token), void()>(
      [](auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        auto kept = std::make_shared<std::optional<decltype(handler)>>(std::move(handler));
        slot.assign([kept](cancellation_type) { kept->reset(); });
      },
      token);
  CHECK(alive.use_count() == 2);
  if (GENERATE(false, true))
    signal.emit(cancellation_type::terminal);
  time.advance(5s);
  CHECK(alive.use_count() == 1);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "An operation may complete inside its initiation", "[cancel_after]") {
  kestrel::timer_wheel wheel{io};
  operation.completes_inside = true;
  operation.while_initiating = [&] { operation.complete(success); };
  operation.async_run(cancel_after(wheel, 5s, note()));
  CHECK(results == codes{success});
  CHECK(wheel.empty());
  asio::post(io, [&] { asio::dispatch(io, cancel_after(wheel, 5s, [&] { note()(success); })); });
  time.advance(1h);
  CHECK(results == codes{success, success});
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A timeout during the initiation comes after it", "[cancel_after]") {
  SECTION("and cancels the operation") {
    operation.while_initiating = [&] {
      time.advance(1h);
      CHECK(operation.cancellations.empty());
    };
    operation.async_run(cancel_after(5s, note()));
    CHECK(operation.cancellations.empty());
    time.run_until_idle();
    CHECK(operation.cancellations.size() == 1);
    CHECK(results == codes{aborted});
  }
  SECTION("or not, if it is over by then") {
    operation.while_initiating = [&] {
      time.advance(1h);
      operation.complete(success);
      time.run_until_idle();
    };
    operation.async_run(cancel_after(5s, note()));
    time.run_until_idle();
    CHECK(operation.cancellations.empty());
    CHECK(results == codes{success});
  }
}

TEST_CASE_METHOD(fixture, "A cancellation during the initiation comes after it, as it was emitted",
                 "[cancel_after]") {
  asio::cancellation_signal signal;
  const bool times_out = GENERATE(false, true);
  operation.while_initiating = [&] {
    if (times_out)
      time.advance(1h);
    signal.emit(cancellation_type::partial);
    CHECK(operation.cancellations.empty());
  };
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  time.run_until_idle();
  const auto both = cancellation_type::terminal | cancellation_type::partial;
  CHECK(operation.cancellations == types{times_out ? both : cancellation_type::partial});
  CHECK(results == codes{aborted});
}

TEST_CASE_METHOD(fixture, "A cancellation from inside a cancellation is one more",
                 "[cancel_after][reentrancy]") {
  asio::cancellation_signal signal;
  operation.heeds_cancellation = false;
  operation.while_cancelled = [&] {
    if (operation.cancellations.size() < 3)
      signal.emit(cancellation_type::total);
  };
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  if (GENERATE(false, true))
    signal.emit(cancellation_type::terminal);
  else
    time.advance(5s);
  CHECK(operation.cancellations ==
        types{cancellation_type::terminal, cancellation_type::total, cancellation_type::total});
  CHECK(results.empty());
  operation.complete(success);
  time.advance(1h);
  CHECK(results == codes{success});
  CHECK(operation.cancellations.size() == 3);
}

TEST_CASE_METHOD(fixture, "An operation that has completed inside its cancellation gets no other",
                 "[cancel_after][reentrancy]") {
  asio::cancellation_signal signal;
  const bool destroyed = GENERATE(false, true);
  operation.heeds_cancellation = !destroyed;
  operation.completes_inside = true;
  operation.while_cancelled = [&] {
    if (destroyed)
      operation.forget();
    signal.emit(cancellation_type::total);
  };
  operation.async_run(cancel_after(5s, asio::bind_cancellation_slot(signal.slot(), note())));
  signal.emit(cancellation_type::terminal);
  signal.emit(cancellation_type::partial); // its result is still on its way
  time.advance(1h);
  CHECK(operation.cancellations == types{cancellation_type::terminal});
  CHECK(results == (destroyed ? codes{} : codes{aborted}));
  CHECK(io.stopped());
}

// ---- By a timer that the user has

TEST_CASE_METHOD(fixture, "A timer of one's own cancels an operation", "[cancel_after][timers]") {
  kestrel::steady_timer timer{io, 1h};
  int ended = 0;
  timer.async_wait([&](asio::error_code ec) { ended += ec == aborted; });
  SECTION("after a time") { never.async_wait(cancel_after(timer, 5s, note())); }
  SECTION("at a time") { never.async_wait(cancel_at(timer, start + 5s, note())); }
  CHECK(timer.expiry() == start + 5s);
  time.advance(5s - 1ns);
  CHECK(ended == 1); // its waits ended as it was set
  CHECK(results.empty());
  time.advance(1ns);
  CHECK(results == codes{aborted});
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A timer serves one operation after the other",
                 "[cancel_after][timers]") {
  kestrel::steady_timer timer{io};
  for (int i = 0; i != 3; ++i) {
    operation.async_run(cancel_after(timer, 5s, note()));
    time.advance(4s);
    operation.complete(success);
    time.run_until_idle();
    CHECK(io.stopped()); // nobody waits for the timer
  }
  CHECK(results == codes{success, success, success});
  CHECK(operation.cancellations.empty());
  time.advance(1h);
  never.async_wait(cancel_after(timer, 5s, note()));
  never.async_wait(cancel_after(timer, 9s, note())); // takes it away from the one before
  time.run_until_idle();
  CHECK(results.size() == 4);
  time.advance(9s);
  CHECK(results == codes{success, success, success, aborted, aborted});
}

TEST_CASE_METHOD(fixture, "Whatever ends the wait for a timer cancels its operation",
                 "[cancel_after][timers]") {
  std::optional<kestrel::steady_timer> timer(std::in_place, io);
  never.async_wait(cancel_after(*timer, 5s, note()));
  bool at_once = true;
  SECTION("cancel") { CHECK(timer->cancel() == 1); }
  SECTION("another expiry") { CHECK(timer->expires_after(1h) == 1); }
  SECTION("its end") { timer.reset(); }
  SECTION("but not that it is moved") {
    kestrel::steady_timer moved(std::move(*timer));
    timer.reset();
    time.advance(5s - 1ns);
    CHECK(results.empty());
    time.advance(1ns);
    at_once = false;
  }
  time.run_until_idle();
  CHECK(results == codes{aborted});
  CHECK(at == (at_once ? 0s : 5s));
}

TEST_CASE_METHOD(fixture, "An operation that has completed does not mind the end of its timer",
                 "[cancel_after][timers][lifetimes]") {
  std::optional<kestrel::steady_timer> timer(std::in_place, io);
  operation.async_run(cancel_after(*timer, 5s, note()));
  operation.complete(success);
  SECTION("before its handler is called") { timer.reset(); }
  SECTION("in its handler") {
    asio::post(io, [&] { timer.reset(); });
  }
  time.advance(1h);
  CHECK(results == codes{success});
  CHECK(operation.cancellations.empty());
}

TEST_CASE_METHOD(fixture, "With a timer too, the type of the cancellation can be chosen",
                 "[cancel_after][timers]") {
  kestrel::steady_timer timer{io};
  operation.heeds_cancellation = false;
  SECTION("after a time") {
    operation.async_run(cancel_after(timer, 5s, cancellation_type::partial, note()));
  }
  SECTION("at a time") {
    operation.async_run(cancel_at(timer, start + 5s, cancellation_type::partial, note()));
  }
  SECTION("for a token to come") {
    operation.async_run(cancel_after(timer, 5s, cancellation_type::partial)(note()));
  }
  time.advance(5s);
  CHECK(operation.cancellations == types{cancellation_type::partial});
  operation.complete(success);
  time.run_until_idle();
  CHECK(results == codes{success});
}

TEST_CASE_METHOD(fixture, "A timer gives a deferred operation its timeout when it is launched",
                 "[cancel_after][timers][tokens]") {
  kestrel::steady_timer timer{io};
  auto wait = never.async_wait(cancel_after(timer, 5s, deferred));
  auto piped = never.async_wait(deferred) | cancel_after(timer, 5s, deferred);
  time.advance(1h);
  std::move(wait)(note());
  time.advance(5s);
  CHECK(results.size() == 1);
  std::move(piped)(note());
  time.advance(5s);
  CHECK(results == codes{aborted, aborted});
  auto by_default = never.async_wait(cancel_at(timer, time.now() + 5s));
  std::move(by_default)(note());
  time.advance(5s);
  CHECK(results.size() == 3);
}

TEST_CASE_METHOD(fixture, "Timers on every clock and executor cancel operations",
                 "[cancel_after][timers][executors]") {
  using std::chrono::system_clock;
  const auto strand = asio::make_strand(io);
  kestrel::basic_wheel_timer<system_clock, decltype(strand)> timer{strand};
  const auto on_strand = [&](asio::error_code ec, auto&&...) {
    CHECK(strand.running_in_this_thread());
    note()(ec);
  };
  operation.while_cancelled = [&] { CHECK(strand.running_in_this_thread()); };
  operation.async_run(cancel_after(timer, 0.5s, asio::bind_executor(strand, on_strand)));
  time.advance(500ms);
  CHECK(results == codes{aborted});
  operation.async_run(cancel_after(timer, std::chrono::hours::max(), note()));
  CHECK(timer.expiry() - system_clock::now() > std::chrono::years(200));
  time.advance(24h);
  CHECK(results.size() == 1);
  operation.complete(success);
  time.run_until_idle();

  const std::chrono::duration<double> nan(std::numeric_limits<double>::quiet_NaN());
  CHECK(error_of([&] { never.async_wait(cancel_after(timer, nan, note())); }) ==
        kestrel::errc::invalid_delay);
}

TEST_CASE("An operation without an executor is cancelled on that of its timer",
          "[cancel_after][timers][executors]") {
  asio::io_context io;
  kestrel::testing::virtual_time time{io};
  kestrel::steady_timer timer{io};
  std::optional<cancellation_type> cancelled;
  auto token = cancel_after(timer, 5s, [] { FAIL("it was destroyed"); });
  asio::async_initiate<decltype(token), void()>(
      [&](auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        auto kept = std::make_shared<std::optional<decltype(handler)>>(std::move(handler));
        slot.assign([&, kept](cancellation_type type) {
          CHECK(io.get_executor().running_in_this_thread());
          cancelled = type;
          kept->reset();
        });
      },
      token);
  time.advance(5s);
  CHECK(cancelled == cancellation_type::terminal);
  CHECK(io.stopped());
}

TEST_CASE("An operation may be destroyed with its context before its timer, or after it",
          "[cancel_after][timers][lifetimes]") {
  std::optional<asio::io_context> io(std::in_place);
  std::optional<kestrel::steady_timer> timer(std::in_place, *io);
  auto never = std::make_shared<asio::steady_timer>(*io, steady_clock::time_point::max());
  never->async_wait(
      cancel_after(*timer, 5s, [never](asio::error_code) { FAIL("it was destroyed"); }));
  const std::weak_ptr gone = std::exchange(never, nullptr);
  if (GENERATE(false, true))
    timer.reset(); // the end of its wait is on its way
  io.reset();
  CHECK(gone.expired());
}

// ---- Associators

TEST_CASE_METHOD(fixture, "An operation gets what its handler is associated with",
                 "[cancel_after][associators]") {
  int live = 0;
  const auto strand = asio::make_strand(io);
  auto token = cancel_after(
      5s, asio::bind_executor(strand, asio::bind_allocator(counting_allocator<void>(live),
                                                           [&](int n) { CHECK(n == 7); })));
  bool asked = false;
  asio::async_initiate<decltype(token), void(int)>(
      [&](auto handler) {
        CHECK(asio::get_associated_executor(handler) == strand);
        CHECK(asio::get_associated_executor(handler, io.get_executor()) == strand);
        CHECK(asio::get_associated_allocator(handler).live == &live);
        CHECK(asio::get_associated_cancellation_slot(handler).is_connected());
        asked = true;
        handler(7);
      },
      token);
  CHECK(asked);
}

TEST_CASE_METHOD(fixture, "A handler without an executor leaves the operation its own",
                 "[cancel_after][associators]") {
  auto token = cancel_after(5s, [](int) {});
  asio::async_initiate<decltype(token), void(int)>(
      [&](auto handler) {
        CHECK(asio::get_associated_executor(handler, io.get_executor()) == io.get_executor());
        CHECK(std::is_same_v<typename asio::associated_allocator<decltype(handler)>::type,
                             std::allocator<void>>);
        handler(7);
      },
      token);
}

TEST_CASE_METHOD(fixture, "Memory is freed before the handler is called",
                 "[cancel_after][associators]") {
  int live = 0;
  const auto check = [&](asio::error_code ec, auto&&...) {
    CHECK(live == 0);
    results.push_back(ec);
  };
  kestrel::timer_wheel wheel{io};
  const auto bound = asio::bind_allocator(counting_allocator<void>(live), check);
  never.async_wait(cancel_after(5s, bound));
  CHECK(live == 1); // the operation's
  time.advance(5s);
  wheel.async_wait_after(1s, cancel_after(5s, bound));
  time.advance(1s);
  CHECK(results == codes{aborted, success});
  CHECK(live == 0);
}

TEST_CASE_METHOD(fixture, "An operation is cancelled on the executor of its handler",
                 "[cancel_after][executors]") {
  const auto strand = asio::make_strand(io);
  kestrel::timer_wheel wheel{io};
  bool in_strand = false;
  bool called_in_strand = false;
  auto token = cancel_after(wheel, 5s, asio::bind_executor(strand, [&] {
                              called_in_strand = strand.running_in_this_thread();
                            }));
  asio::async_initiate<decltype(token), void()>(
      [&](auto handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        auto kept = std::make_shared<decltype(handler)>(std::move(handler));
        slot.assign([&, kept](cancellation_type) {
          in_strand = strand.running_in_this_thread();
          asio::post(strand, [kept] { std::move (*kept)(); });
        });
      },
      token);
  time.advance(5s);
  CHECK(in_strand);
  CHECK(called_in_strand);
}

namespace kestrel_tests {

/// An executor that does not tell its context, as some of other libraries. Runs on an io_context.
struct executor_without_context {
  asio::io_context* io;

  static constexpr asio::execution::blocking_t query(asio::execution::blocking_t) noexcept {
    return asio::execution::blocking.never;
  }
  executor_without_context require(asio::execution::blocking_t::never_t) const { return *this; }

  template <class F>
  void execute(F f) const {
    asio::post(*io, [kept = std::make_shared<F>(std::move(f))] { std::move (*kept)(); });
  }

  friend bool operator==(const executor_without_context&,
                         const executor_without_context&) noexcept = default;
};

} // namespace kestrel_tests

TEST_CASE_METHOD(fixture, "A handler runs where it belongs, though the timeout does not",
                 "[cancel_after][executors]") {
  asio::io_context other;
  kestrel::timer_wheel wheel{io};
  asio::error_code expected = aborted;
  auto token =
      cancel_after(wheel, 5s,
                   asio::bind_executor(kestrel_tests::executor_without_context{&other},
                                       [&](asio::error_code ec, auto&&...) {
                                         CHECK(other.get_executor().running_in_this_thread());
                                         note()(ec);
                                       }));
  SECTION("when its operation is cancelled") { never.async_wait(token); }
  SECTION("when its operation completes inside its cancellation") {
    operation.completes_inside = true;
    operation.async_run(token);
  }
  SECTION("when its operation gets no timeout, and so has not begun") {
    wheel.limit(0);
    expected = make_error_code(kestrel::errc::too_many_timers);
    never.async_wait(token);
  }
  time.advance(5s);
  CHECK(results.empty());
  other.poll();
  CHECK(results == codes{expected});
}

TEST_CASE("An operation of one context may have its timeout on the wheel of another",
          "[cancel_after][executors]") {
  asio::io_context io;
  asio::io_context other;
  kestrel::testing::virtual_time time{io, other};
  kestrel::timer_wheel wheel{other};
  asio::steady_timer never{io, 1h};
  std::optional<std::thread::id> called;
  never.async_wait(cancel_after(wheel, 5s, [&](asio::error_code ec) {
    CHECK(ec == aborted);
    CHECK(io.get_executor().running_in_this_thread());
    called = std::this_thread::get_id();
  }));
  time.advance(5s);
  CHECK(called);
  CHECK(io.stopped());
  CHECK(other.stopped());
}

// ---- Completion tokens

TEST_CASE_METHOD(fixture, "A handler and its results may be move-only", "[cancel_after][tokens]") {
  int sum = 0;
  operation.async_run(cancel_after(
      5s, [&sum, ten = std::make_unique<int>(10)](asio::error_code, std::unique_ptr<int> value) {
        sum += *ten + *value;
      }));
  operation.complete(success, 1);
  time.run_until_idle();
  CHECK(sum == 11);

  operation.completes_inside = true; // so that results are kept meanwhile
  operation.async_run(cancel_after(
      5s, [&sum, ten = std::make_unique<int>(10)](asio::error_code, std::unique_ptr<int> value) {
        sum += *ten + *value;
      }));
  time.advance(5s);
  CHECK(sum == 21);
}

TEST_CASE_METHOD(fixture, "A handler may be called once only", "[cancel_after][tokens]") {
  struct once {
    int* calls;
    void operator()(asio::error_code) && { ++*calls; }
  };
  int calls = 0;
  never.async_wait(cancel_after(5s, once{&calls}));
  time.advance(5s);
  CHECK(calls == 1);
}

TEST_CASE_METHOD(fixture, "Operations that nobody wants to be told of", "[cancel_after][tokens]") {
  never.async_wait(cancel_after(5s, asio::detached));
  time.advance(5s);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "An operation as a future", "[cancel_after][tokens]") {
  std::future<void> late = never.async_wait(cancel_after(5s, asio::use_future));
  std::future<std::unique_ptr<int>> in_time =
      operation.async_run(cancel_after(5s, asio::use_future));
  operation.complete(success, 42);
  time.advance(5s);
  CHECK_THROWS_AS(late.get(), asio::system_error);
  CHECK(*in_time.get() == 42);
}

TEST_CASE_METHOD(fixture, "The timeout of a deferred operation begins when it is launched",
                 "[cancel_after][tokens]") {
  auto wait = never.async_wait(cancel_after(5s, deferred));
  time.advance(1h);
  std::move(wait)(note());
  time.advance(4s);
  CHECK(results.empty());
  time.advance(1s);
  CHECK(results == codes{aborted});

  auto outside = never.async_wait(deferred);
  std::move(outside)(cancel_after(5s, note()));
  auto piped = never.async_wait(deferred) | cancel_after(5s, deferred);
  std::move(piped)(note());
  time.advance(5s);
  CHECK(results == codes{aborted, aborted, aborted});
}

TEST_CASE_METHOD(fixture, "Token adapters may be inside or outside", "[cancel_after][tokens]") {
  asio::error_code inner;
  asio::error_code outer;
  int called = 0;
  never.async_wait(cancel_after(5s, asio::redirect_error([&] { ++called; }, inner)));
  never.async_wait(
      asio::redirect_error(cancel_after(5s, asio::bind_executor(io, [&] { ++called; })), outer));
  never.async_wait(cancel_after(
      5s, tupled([&](std::tuple<asio::error_code> t) { called += std::get<0>(t) == aborted; })));
  never.async_wait(
      tupled(cancel_after(5s, asio::bind_executor(io, [&](std::tuple<asio::error_code> t) {
                            called += std::get<0>(t) == aborted;
                          }))));
  time.advance(5s);
  CHECK(called == 4);
  CHECK(inner == aborted);
  CHECK(outer == aborted);
}

TEST_CASE_METHOD(fixture, "Timeouts may be nested: the shorter one counts",
                 "[cancel_after][tokens]") {
  if (GENERATE(false, true))
    never.async_wait(cancel_after(5s, cancel_after(9s, asio::bind_executor(io, note()))));
  else
    never.async_wait(cancel_after(9s, cancel_after(5s, asio::bind_executor(io, note()))));
  time.advance(1h);
  CHECK(results == codes{aborted});
  CHECK(at == 5s);
}

#if defined(ASIO_HAS_CO_AWAIT)

namespace {

template <class F>
void spawn(asio::io_context& io, F f) {
  asio::co_spawn(io, std::move(f), [](std::exception_ptr failure) {
    if (failure)
      std::rethrow_exception(failure);
  });
}

} // namespace

TEST_CASE_METHOD(fixture, "A coroutine gives its operations timeouts",
                 "[cancel_after][coroutines]") {
  spawn(io, [&]() -> asio::awaitable<void> {
    try {
      co_await never.async_wait(cancel_after(5s, asio::use_awaitable));
    } catch (const asio::system_error& e) {
      note()(e.code());
    }
    const auto [ec] = co_await never.async_wait(cancel_after(5s, tupled(asio::use_awaitable)));
    note()(ec);
    asio::error_code redirected;
    co_await never.async_wait(
        cancel_after(5s, asio::redirect_error(asio::use_awaitable, redirected)));
    note()(redirected);
    asio::steady_timer soon{io, 0s};
    co_await soon.async_wait(cancel_after(5s, asio::use_awaitable)); // in time
    note()(success);
  });
  time.advance(15s);
  while (results.size() != 4) // the last one is Asio's timer, on the real time
    time.run_until_idle();
  CHECK(results == codes{aborted, aborted, aborted, success});
  CHECK(at == 15s);
  time.advance(1h);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A whole coroutine may have a timeout", "[cancel_after][coroutines]") {
  kestrel::timer_wheel wheel{io};
  std::vector<std::string> log;
  const auto steps = [&]() -> asio::awaitable<void> {
    for (;;) {
      co_await wheel.async_wait_after(2s, asio::use_awaitable);
      log.emplace_back("step");
    }
  };
  const auto finish = [&](std::exception_ptr failure) {
    try {
      if (failure)
        std::rethrow_exception(failure);
    } catch (const asio::system_error& e) {
      note()(e.code());
    }
  };
  SECTION("on the context") { asio::co_spawn(io, steps, cancel_after(5s, finish)); }
  SECTION("on a strand") { asio::co_spawn(asio::make_strand(io), steps, cancel_after(5s, finish)); }
  SECTION("on a wheel") { asio::co_spawn(io, steps, cancel_after(wheel, 5s, finish)); }
  SECTION("inside a coroutine") {
    spawn(io, [&]() -> asio::awaitable<void> {
      try {
        co_await asio::co_spawn(io, steps, cancel_after(5s, asio::use_awaitable));
      } catch (const asio::system_error& e) {
        note()(e.code());
      }
    });
  }
  time.advance(1h);
  CHECK(log == std::vector<std::string>{"step", "step"});
  CHECK(results == codes{aborted});
  CHECK(at == 5s);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A coroutine that ends in time has no timeout left",
                 "[cancel_after][coroutines]") {
  kestrel::timer_wheel wheel{io};
  int value = 0;
  asio::co_spawn(
      io,
      [&]() -> asio::awaitable<int> {
        co_await wheel.async_wait_after(2s, asio::use_awaitable);
        co_return 42;
      },
      cancel_after(wheel, 5s, [&](std::exception_ptr, int v) {
        value = v;
        CHECK(wheel.empty());
      }));
  time.advance(1h);
  CHECK(value == 42);
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "A timeout alone stands for the default token",
                 "[cancel_after][coroutines]") {
  using timer = asio::use_awaitable_t<>::as_default_on_t<asio::steady_timer>;
  timer t{io, 1h};
  kestrel::timer_wheel wheel{io};
  spawn(io, [&]() -> asio::awaitable<void> {
    for (int i = 0; i != 4; ++i) {
      try {
        if (i == 0)
          co_await t.async_wait(cancel_after(5s));
        else if (i == 1)
          co_await t.async_wait(cancel_after(wheel, 5s, cancellation_type::total));
        else if (i == 2)
          co_await t.async_wait(cancel_at(time.now() + 5s));
        else
          co_await t.async_wait(cancel_at(wheel, time.now() + 5s));
      } catch (const asio::system_error& e) {
        note()(e.code());
      }
    }
  });
  time.advance(1h);
  CHECK(results == codes{aborted, aborted, aborted, aborted});
  CHECK(at == 20s);
}

TEST_CASE_METHOD(fixture, "A coroutine uses one timer for all its timeouts",
                 "[cancel_after][timers][coroutines]") {
  using timer_type = asio::use_awaitable_t<>::as_default_on_t<asio::steady_timer>;
  timer_type slow{io, 1h};
  spawn(io, [&]() -> asio::awaitable<void> {
    kestrel::steady_timer timer{co_await asio::this_coro::executor};
    for (int i = 0; i != 3; ++i) {
      try {
        co_await slow.async_wait(cancel_after(timer, 5s));
      } catch (const asio::system_error& e) {
        note()(e.code());
      }
    }
  });
  time.run_until_idle();
  time.advance(15s);
  CHECK(results == codes{aborted, aborted, aborted});
  CHECK(at == 15s);
}

TEST_CASE("A coroutine with a timeout is destroyed with its context",
          "[cancel_after][coroutines][lifetimes]") {
  std::optional<asio::io_context> io(std::in_place);
  kestrel::testing::virtual_time time{*io};
  const auto alive = std::make_shared<int>();
  asio::co_spawn(
      *io,
      [alive]() -> asio::awaitable<void> {
        asio::steady_timer never{co_await asio::this_coro::executor, 1h};
        co_await never.async_wait(cancel_after(5s, asio::use_awaitable));
        FAIL("its context is gone");
      },
      cancel_after(10s, [alive](std::exception_ptr) {}));
  time.run_until_idle();
  CHECK(alive.use_count() > 1);
  io.reset();
  CHECK(alive.use_count() == 1);
}

#endif

// ---- Operations of Asio

TEST_CASE_METHOD(fixture, "Sockets time out, and can be used again", "[cancel_after][sockets]") {
  using asio::ip::tcp;
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
  tcp::socket client{io};
  acceptor.async_accept(cancel_after(5s, note())); // nobody comes
  time.advance(5s);
  CHECK(results == codes{aborted});
  client.connect(acceptor.local_endpoint());
  tcp::socket server{acceptor.accept()};

  std::array<char, 4> chunk{};
  std::size_t received = 99;
  const auto read = [&](asio::error_code ec, std::size_t n) {
    note()(ec);
    received = n;
  };
  server.async_read_some(asio::buffer(chunk), cancel_after(5s, read));
  time.advance(5s);
  CHECK(results == codes{aborted, aborted});

  asio::async_read(server, asio::buffer(chunk), cancel_after(5s, read)); // of several reads
  asio::write(client, asio::buffer("abc", 3));
  time.advance(5s);
  CHECK(results == codes{aborted, aborted, aborted});
  CHECK(received == 3);

  asio::async_read(server, asio::buffer(chunk), cancel_after(5s, read));
  asio::write(client, asio::buffer("abcd", 4));
  time.advance(1s);
  CHECK_FALSE(results.back());
  CHECK(received == 4);
}

TEST_CASE_METHOD(fixture, "Receiving from a channel may time out", "[cancel_after][channels]") {
  asio::experimental::channel<void(asio::error_code, int)> channel{io, 1};
  std::vector<std::pair<asio::error_code, int>> received;
  const auto receive = [&] {
    channel.async_receive(
        cancel_after(5s, [&](asio::error_code ec, int n) { received.emplace_back(ec, n); }));
  };
  receive();
  time.advance(5s);
  REQUIRE(received.size() == 1);
  CHECK(received[0].first);
  receive();
  channel.try_send(success, 42);
  time.advance(5s);
  REQUIRE(received.size() == 2);
  CHECK(received[1] == std::pair(success, 42));
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "Waits for timers may time out", "[cancel_after]") {
  kestrel::timer_wheel wheel{io};
  wheel.async_wait_after(1h, cancel_after(5s, note()));
  wheel.async_wait_after(5s, cancel_after(1h, note()));
  const auto id = wheel.schedule_after(1h, [] {});
  wheel.async_wait(id, cancel_after(5s, note()));
  kestrel::timer_service service{wheel};
  service.async_receive(cancel_after(5s, note()));
  kestrel::steady_timer timer{io, 1h};
  timer.async_wait(cancel_after(5s, note()));
  time.advance(10s);
  CHECK(results.size() == 5);
  wheel.cancel(id);
}

// ---- Errors and lifetimes

TEST_CASE_METHOD(fixture, "What a handler throws leaves run()", "[cancel_after][exceptions]") {
  never.async_wait(cancel_after(5s, [](asio::error_code) { throw std::runtime_error("handler"); }));
  never.async_wait(cancel_after(6s, note()));
  CHECK_THROWS_AS(time.advance(5s), std::runtime_error);
  time.advance(1s);
  CHECK(results == codes{aborted});
  CHECK(io.stopped());
}

TEST_CASE_METHOD(fixture, "What an initiation throws leaves it, and there is no timer",
                 "[cancel_after][exceptions]") {
  kestrel::timer_wheel wheel{io};
  operation.while_initiating = [&] {
    operation.forget();
    throw std::runtime_error("initiation");
  };
  CHECK_THROWS_AS(operation.async_run(cancel_after(wheel, 5s, note())), std::runtime_error);
  CHECK(wheel.empty());
  time.advance(1h);
  CHECK(results.empty());
  CHECK(operation.cancellations.empty());
}

TEST_CASE_METHOD(fixture, "A handler that throws as it is moved leaves no timer",
                 "[cancel_after][exceptions]") {
  struct throws_as_it_moves {
    explicit throws_as_it_moves(int& n) : moves_left{n} {}
    throws_as_it_moves(throws_as_it_moves&& other) : moves_left{other.moves_left} {
      if (moves_left-- == 0)
        throw std::runtime_error("move");
    }
    void operator()(asio::error_code) const {}
    int& moves_left;
  };
  kestrel::timer_wheel wheel{io};
  constexpr int unlimited = 1000;
  int moves_left = unlimited;
  for (int moves = 0;; ++moves) {
    moves_left = unlimited;
    auto token = cancel_after(wheel, 5s, throws_as_it_moves(moves_left));
    moves_left = moves;
    try {
      never.async_wait(std::move(token));
      moves_left = unlimited;
      CHECK(moves > 2);
      break;
    } catch (const std::runtime_error&) {
      CHECK(wheel.empty());
    }
  }
  CHECK(wheel.size() == 1);
  never.cancel();
  time.run_until_idle();
  CHECK(wheel.empty());
}

TEST_CASE_METHOD(fixture, "A wheel that has ended gives no timeouts",
                 "[cancel_after][exceptions][lifetimes]") {
  std::optional<kestrel::timer_wheel> wheel(std::in_place, io);
  auto token = cancel_after(*wheel, 5s, note());
  never.async_wait(token);
  if (GENERATE(false, true))
    wheel->shutdown();
  else
    wheel.reset();
  never.async_wait(token); // has not begun
  CHECK(results.empty());
  time.advance(1h);
  const asio::error_code shut_down = make_error_code(kestrel::errc::shut_down);
  CHECK(results == codes{shut_down}); // the first goes on without
  never.cancel();
  time.run_until_idle();
  CHECK(results == codes{shut_down, aborted});
}

TEST_CASE("An operation that is destroyed with its context takes its timer along",
          "[cancel_after][lifetimes]") {
  std::optional<asio::io_context> io(std::in_place);
  kestrel::testing::virtual_time time{*io};
  asio::io_context other;
  kestrel::timer_wheel wheel{other};
  const auto alive = std::make_shared<int>();
  asio::cancellation_signal signal;
  {
    asio::steady_timer never{*io, 1h};
    never.async_wait(cancel_after(
        5s, asio::bind_cancellation_slot(signal.slot(), [alive](asio::error_code) {})));
    never.async_wait(cancel_after(wheel, 5s, [alive](asio::error_code) {}));
    CHECK(wheel.size() == 1);
    if (GENERATE(false, true))
      time.run_until_idle();
  }
  io.reset();
  CHECK(alive.use_count() == 1);
  CHECK(wheel.empty());
  signal.emit(cancellation_type::terminal);
}

// ---- Threads

TEST_CASE("On strands, each operation completes once, as its timeout comes",
          "[cancel_after][threads]") {
  constexpr int count = 20'000 / slowdown;
  asio::io_context io;
  kestrel::timer_wheel wheel{io, {.l0_tick = 100us, .l1_tick = 10ms}};
  std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
  std::vector<std::atomic<int>> cancelled(static_cast<std::size_t>(count));
  std::atomic<int> outside{0};
  runners running(io, 2);
  for (std::size_t i = 0; i != calls.size(); ++i) {
    const auto strand = asio::make_strand(io);
    const auto soon = std::chrono::microseconds(i % 7 * 100);
    asio::post(strand, [&, strand, i, soon] {
      // Too late, in time, and who knows.
      const steady_clock::duration takes = i % 3 == 0 ? steady_clock::duration(1h) : 300us;
      const steady_clock::duration timeout = i % 3 == 1 ? steady_clock::duration(1h) : soon;
      wheel.async_wait_after(
          takes, cancel_after(wheel, timeout,
                              asio::bind_executor(strand, [&, strand, i](asio::error_code ec) {
                                ++calls[i];
                                cancelled[i] += ec == aborted;
                                outside += !strand.running_in_this_thread();
                              })));
    });
  }
  running.finish();
  int wrong = 0;
  for (std::size_t i = 0; i != calls.size(); ++i)
    wrong += calls[i] != 1 || (i % 3 != 2 && cancelled[i] != (i % 3 == 0));
  CHECK(wrong == 0);
  CHECK(outside == 0);
  CHECK(wheel.empty());
}

TEST_CASE("An operation that is initiated on one thread may be cancelled at once on another",
          "[cancel_after][threads]") {
  constexpr int count = 20'000 / slowdown;
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
  const auto strand = asio::make_strand(io);
  runners running(io, 2);
  for (std::size_t i = 0; i != calls.size(); ++i)
    wheel.async_wait_after(
        1h,
        cancel_after(0s, asio::bind_executor(strand, [&, i](asio::error_code) { ++calls[i]; })));
  running.finish();
  int wrong = 0;
  for (const std::atomic<int>& n : calls)
    wrong += n != 1;
  CHECK(wrong == 0);
  CHECK(wheel.empty());
}

#if defined(ASIO_HAS_CO_AWAIT)

TEST_CASE("Coroutines on strands time out on two threads", "[cancel_after][threads][coroutines]") {
  constexpr int count = 1000 / slowdown;
  asio::io_context io;
  kestrel::timer_wheel wheel{io, {.l0_tick = 100us, .l1_tick = 10ms}};
  std::atomic<int> finished{0};
  std::atomic<int> wrong{0};
  runners running(io, 2);
  for (int i = 0; i != count; ++i)
    asio::co_spawn(
        asio::make_strand(io),
        [&]() -> asio::awaitable<void> {
          for (int j = 0; j != 12; ++j) {
            const steady_clock::duration takes = j % 3 == 0 ? steady_clock::duration(1h) : 300us;
            const steady_clock::duration timeout =
                j % 3 == 1 ? steady_clock::duration(1h) : std::chrono::microseconds(j * 50);
            const auto [ec] = co_await wheel.async_wait_after(
                takes, cancel_after(timeout, tupled(asio::use_awaitable)));
            wrong += j % 3 != 2 && (ec == aborted) != (j % 3 == 0);
          }
          ++finished;
        },
        cancel_after(1h, asio::detached));
  running.finish();
  CHECK(finished == count);
  CHECK(wrong == 0);
  CHECK(wheel.empty());
}

#endif
