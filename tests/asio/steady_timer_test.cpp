// SPDX-License-Identifier: MIT
//
// What kestrel::steady_timer does better than asio::steady_timer, or in its own way: cancelling
// through slots after a move, counts that are true, and the wheel of the context.

#include "error_of.hpp"
#include "timer_kinds.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <catch.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

/// What became of waits, in order: positive labels completed, negative ones were aborted.
struct errors_told : std::vector<int> {
  using std::vector<int>::vector;

  auto note(int label) {
    return [this, label](asio::error_code ec) { push_back(ec ? -label : label); };
  }

  auto note(int label, asio::cancellation_signal& signal) {
    return asio::bind_cancellation_slot(signal.slot(), note(label));
  }
};

struct timer_fixture {
  at_start clock;
  asio::io_context io;
  errors_told seen;
};

using io_executor = asio::io_context::executor_type;

} // namespace

// ---- A clock that steps back

TEST_CASE_METHOD(timer_fixture,
                 "A delay is waited for after the clock stepped back behind the wheel",
                 "[steady_timer][never_early]") {
  kestrel_timer far(io, 1h); // the wheel begins here
  far.async_wait(seen.note(1));
  stall(io, -10s);
  kestrel_timer timer(io, 1s);
  timer.async_wait(seen.note(2));
  stall(io, 1s - 1ns);
  CHECK(seen.empty());
  pass(io, 12s);
  CHECK(seen == errors_told{2});
}

// ---- Cancelled handlers, on their way

TEST_CASE_METHOD(timer_fixture,
                 "A cancelled handler is itself when it runs, whoever waits meanwhile",
                 "[steady_timer]") {
  { // the next timer may be given what this one leaves
    kestrel_timer gone(io, 5ms);
    gone.async_wait(seen.note(1));
  }
  kestrel_timer timer(io, 5ms);
  for (int label = 2; label != 6; ++label) {
    timer.async_wait(seen.note(label));
    timer.expires_after(5ms);
  }
  timer.async_wait(seen.note(6));
  settle(io);
  CHECK(seen == errors_told{-1, -2, -3, -4, -5});
  pass(io, 20ms);
  CHECK(seen.back() == 6);
}

TEST_CASE_METHOD(timer_fixture, "A cancelled handler that never runs is destroyed with its context",
                 "[steady_timer]") {
  const auto held = std::make_shared<int>(1);
  {
    asio::io_context other;
    kestrel_timer timer(other, 5ms);
    for (int i = 0; i != 3; ++i) {
      timer.async_wait([held](asio::error_code) {});
      timer.expires_after(5ms);
    }
    CHECK(held.use_count() == 4);
  }
  CHECK(held.use_count() == 1);
}

// ---- Slots

TEST_CASE_METHOD(timer_fixture, "A slot cancels the wait of a timer that was moved",
                 "[steady_timer]") {
  asio::cancellation_signal signal;
  auto source = std::make_unique<kestrel_timer>(io, 5ms);
  source->async_wait(seen.note(1, signal));
  source->async_wait(seen.note(2));

  std::optional<kestrel_timer> timer;
  SECTION("by construction") { timer.emplace(std::move(*source)); }
  SECTION("by assignment") {
    timer.emplace(io, 1h);
    *timer = std::move(*source);
  }
  SECTION("twice") {
    kestrel_timer between(std::move(*source));
    timer.emplace(std::move(between));
  }
  source.reset();

  signal.emit(GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial,
                       asio::cancellation_type::total));
  settle(io);
  CHECK(seen == errors_told{-1});
  stall(io, 5ms);
  CHECK(seen == errors_told{-1, 2});
}

TEST_CASE_METHOD(timer_fixture,
                 "A slot cancels the wait of a timer that changed its kind of executor",
                 "[steady_timer]") {
  asio::cancellation_signal signal;
  auto source = std::make_unique<timer_on<kestrel_timer, io_executor>>(io, 5ms);
  source->async_wait(seen.note(1, signal));
  kestrel_timer timer(std::move(*source));
  source.reset();
  signal.emit(asio::cancellation_type::terminal);
  CHECK(timer.cancel() == 0);
  settle(io);
  CHECK(seen == errors_told{-1});
}

TEST_CASE_METHOD(timer_fixture, "A slot of the source's next wait cancels that and no other",
                 "[steady_timer]") {
  asio::cancellation_signal first;
  asio::cancellation_signal second;
  kestrel_timer source(io, 5ms);
  source.async_wait(seen.note(1, first));
  kestrel_timer timer(std::move(source));
  source.expires_after(1h);
  source.async_wait(seen.note(2, second));
  second.emit(asio::cancellation_type::all);
  stall(io, 5ms);
  CHECK(seen == errors_told{-2, 1});
}

TEST_CASE("A slot may be emitted after the context has gone", "[steady_timer]") {
  const at_start clock;
  asio::cancellation_signal signal;
  errors_told seen;
  {
    asio::io_context io;
    kestrel_timer timer(io, 5ms);
    timer.async_wait(seen.note(1, signal));
  }
  signal.emit(asio::cancellation_type::all);
  CHECK(seen.empty());
}

// ---- Counts

TEST_CASE_METHOD(timer_fixture, "Waits that are due and queued are still cancelled, and counted",
                 "[steady_timer]") {
  const auto strand = asio::make_strand(io); // through which handlers are sent
  asio::cancellation_signal signal;
  kestrel_timer timer(strand, 5ms);
  std::size_t cancelled = 0;
  timer.async_wait([&](asio::error_code ec) {
    seen.note(1)(ec);
    SECTION("all") { cancelled = timer.cancel(); }
    SECTION("one by one") {
      cancelled = timer.cancel_one();
      cancelled += timer.cancel_one();
      cancelled += timer.cancel_one();
    }
    SECTION("by setting the expiry") { cancelled = timer.expires_after(1h); }
    SECTION("by a slot, and the other directly") {
      signal.emit(asio::cancellation_type::all);
      cancelled = 1 + timer.cancel();
    }
  });
  timer.async_wait(seen.note(2));
  timer.async_wait(seen.note(3, signal));
  stall(io, 5ms);
  CHECK(cancelled == 2);
  CHECK(seen == errors_told{1, -2, -3});
}

TEST_CASE_METHOD(timer_fixture,
                 "Of two timers that are due at once, the first may cancel the other",
                 "[steady_timer]") {
  kestrel_timer first(io, 5ms);
  kestrel_timer second(io, 5ms);
  std::size_t cancelled = 0;
  first.async_wait([&](asio::error_code) { cancelled = second.cancel(); });
  second.async_wait(seen.note(2));
  stall(io, 5ms);
  CHECK(cancelled == 1);
  CHECK(seen == errors_told{-2});
}

TEST_CASE("Counts are true when two threads run the context", "[steady_timer]") {
  const at_start clock;
  constexpr int n = 2000;
  asio::io_context io;
  std::size_t cancelled = 0;
  std::vector<int> aborted(n);
  std::vector<int> called(n);
  {
    std::vector<kestrel_timer> timers;
    for (int i = 0; i != n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      timers.emplace_back(io, 1ms * (i % 7)).async_wait([&, k](asio::error_code ec) {
        ++called[k];
        aborted[k] += ec ? 1 : 0;
      });
    }
    std::thread a([&] { io.run(); });
    std::thread b([&] { io.run(); });
    manual_clock::advance(3ms);
    for (kestrel_timer& timer : timers)
      cancelled += timer.cancel();
    a.join();
    b.join();
  }
  CHECK(called == std::vector<int>(n, 1));
  CHECK(static_cast<std::size_t>(std::count(aborted.begin(), aborted.end(), 1)) == cancelled);
}

// ---- The end of the context

TEST_CASE("A timer may outlive its context, if its executor may", "[steady_timer]") {
  const at_start clock;
  errors_told seen;
  auto io = std::make_unique<asio::io_context>();
  timer_on<kestrel_timer, io_executor> timer(*io, 5ms);
  timer.async_wait(seen.note(1));
  io.reset();
  CHECK(timer.cancel() == 0);
  CHECK(timer.expires_after(1h) == 0);
  timer = timer_on<kestrel_timer, io_executor>(std::move(timer));
  CHECK(seen.empty());
}

// ---- The wheel of the context

TEST_CASE_METHOD(timer_fixture, "A context's timers are up to a tick late, which use_wheel chooses",
                 "[steady_timer][use_wheel]") {
  kestrel::use_wheel<manual_clock>(io, kestrel::wheel_config().with_l0_tick(10ms));
  kestrel_timer timer(io, 12ms);
  timer.async_wait(seen.note(1));
  CHECK(timer.expiry() == manual_clock::start + 12ms);
  stall(io, 20ms - 1ns);
  CHECK(seen.empty());
  stall(io, 1ns);
  CHECK(seen == errors_told{1});
}

TEST_CASE_METHOD(timer_fixture, "Without use_wheel, the tick is a millisecond",
                 "[steady_timer][use_wheel]") {
  kestrel_timer timer(io, 1200us);
  timer.async_wait(seen.note(1));
  stall(io, 2ms - 1ns);
  CHECK(seen.empty());
  stall(io, 1ns);
  CHECK(seen == errors_told{1});
}

TEST_CASE_METHOD(timer_fixture, "A wheel that is there can be chosen again, but no other",
                 "[steady_timer][use_wheel]") {
  const auto config = kestrel::wheel_config::network_timeouts();
  SECTION("after use_wheel") { kestrel::use_wheel<manual_clock>(io, config); }
  SECTION("after the first timer") {
    const kestrel_timer timer(io);
    CHECK(error_of([&] { kestrel::use_wheel<manual_clock>(io, config); }) ==
          kestrel::errc::wheel_in_use);
    CHECK(message_of([&] { kestrel::use_wheel<manual_clock>(io, config); })
              .find("l0_tick = 5000000 ns, l0_slots = 1024, l1_tick = 500000000 ns, l1_slots = 64, "
                    "but it has l0_tick = 1000000 ns, l0_slots = 1024, "
                    "l1_tick = 1000000000 ns, l1_slots = 128: ") == 0);
    kestrel::use_wheel<manual_clock>(io, kestrel::wheel_config()
                                             .with_l0_tick(1ms)
                                             .with_l0_slots(1024)
                                             .with_l1_tick(1s)
                                             .with_l1_slots(128));
    return;
  }
  CHECK_NOTHROW(kestrel::use_wheel<manual_clock>(io, config));
  CHECK(error_of([&] {
          kestrel::use_wheel<manual_clock>(io, kestrel::wheel_config::heartbeats());
        }) == kestrel::errc::wheel_in_use);
  kestrel::use_wheel(io, kestrel::wheel_config::heartbeats()); // another clock, another wheel
}

TEST_CASE_METHOD(timer_fixture, "A geometry that makes no sense is refused, and another may follow",
                 "[steady_timer][use_wheel]") {
  CHECK(error_of([&] {
          kestrel::use_wheel<manual_clock>(io, kestrel::wheel_config().with_l0_slots(0));
        }) == kestrel::errc::invalid_l0_slots);
  CHECK_NOTHROW(kestrel::use_wheel<manual_clock>(io, kestrel::wheel_config::heartbeats()));
}
