// SPDX-License-Identifier: MIT
//
// steady_timers of a context beside each other: what is queued on strands and on other contexts,
// who goes first, and threads.

#include "executor_base.hpp"
#include "timer_kinds.hpp"

#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>
#include <catch.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace {

using outcome = std::optional<asio::error_code>;

auto note(outcome& result) {
  return [&result](asio::error_code ec) { result = ec; };
}

const asio::error_code aborted = asio::error::operation_aborted;

/// Calls a hook, once, before it takes the first thing that it is given.
class hooked_executor : public executor_base<hooked_executor> {
public:
  hooked_executor(asio::io_context& io, std::function<void()>& hook)
      : executor_base(io), hook_{&hook} {}

  template <class F>
  void execute(F&& f) const {
    if (const auto hook = std::exchange(*hook_, nullptr))
      hook();
    asio::post(io(), std::forward<F>(f));
  }

private:
  std::function<void()>* hook_;
};

/// Once it has been told so, the next move says that it has begun, and takes until long after
/// `may_go_on`.
class slow_to_move {
public:
  struct progress {
    std::atomic<bool> may_be_slow = false;
    std::atomic<bool> is_moving = false;
    std::atomic<bool> may_go_on = false;
    std::atomic<int> calls = 0;
  };

  explicit slow_to_move(progress& p) : progress_{&p} {}

  slow_to_move(slow_to_move&& other) noexcept : progress_{other.progress_} {
    if (!progress_->may_be_slow.exchange(false))
      return;
    progress_->is_moving = true;
    while (!progress_->may_go_on)
      std::this_thread::yield();
    std::this_thread::sleep_for(20ms);
  }

  void operator()(asio::error_code ec) { progress_->calls += ec == aborted ? 1 : 0; }

private:
  progress* progress_;
};

struct one_context {
  at_start clock;
  asio::io_context io;
  outcome seen;
};

} // namespace

// ---- cancel tells the truth

TEST_CASE_METHOD(one_context, "Cancel catches an expiry that is queued on a strand",
                 "[steady_timer][cancel]") {
  const auto strand = asio::make_strand(io);
  kestrel_timer timer(io, 5ms);
  std::size_t cancelled = 0;
  const auto end = [&] {
    SECTION("by cancel") { cancelled = timer.cancel(); }
    SECTION("by cancel_one") { cancelled = timer.cancel_one(); }
    SECTION("by another expiry") { cancelled = timer.expires_after(1h); }
  };
  kestrel_timer first(strand, 5ms); // is due at the same time, and so runs when the other is queued
  first.async_wait([&](asio::error_code) { end(); });
  timer.async_wait(asio::bind_executor(strand, note(seen)));
  stall(io, 5ms);
  CHECK(cancelled == 1);
  CHECK(seen == aborted);
}

TEST_CASE_METHOD(one_context, "Destroying a timer catches an expiry that is queued on a strand",
                 "[steady_timer][cancel]") {
  const auto strand = asio::make_strand(io);
  auto timer = std::make_unique<kestrel_timer>(io, 5ms);
  kestrel_timer first(strand, 5ms);
  first.async_wait([&](asio::error_code) {
    timer.reset();
    timer = std::make_unique<kestrel_timer>(io, 1h); // whose waits are none of the other's
    timer->async_wait([](asio::error_code) {});
  });
  timer->async_wait(asio::bind_executor(strand, note(seen)));
  stall(io, 5ms);
  CHECK(seen == aborted);
  CHECK(timer->cancel() == 1);
}

TEST_CASE_METHOD(one_context, "A slot catches an expiry that is queued on a strand",
                 "[steady_timer][cancel]") {
  asio::cancellation_signal signal;
  const auto strand = asio::make_strand(io);
  kestrel_timer first(strand, 5ms);
  first.async_wait([&](asio::error_code) { signal.emit(asio::cancellation_type::total); });
  kestrel_timer timer(strand, 5ms);
  timer.async_wait(asio::bind_cancellation_slot(signal.slot(), note(seen)));
  stall(io, 5ms);
  CHECK(seen == aborted);
}

// ---- Timers that are gone

TEST_CASE_METHOD(one_context, "A slot of a timer that has gone is harmless",
                 "[steady_timer][move]") {
  asio::cancellation_signal signal;
  kestrel_timer(io, 5ms).async_wait(asio::bind_cancellation_slot(signal.slot(), note(seen)));
  kestrel_timer next(io, 5ms); // in the same place
  outcome other;
  next.async_wait(note(other));
  signal.emit(asio::cancellation_type::all);
  settle(io);
  CHECK(seen == aborted);
  CHECK(!other);
  CHECK(next.cancel() == 1);
}

// ---- Lifetimes

TEST_CASE_METHOD(one_context,
                 "A wait that the end of a context finds on another context is not called",
                 "[steady_timer][lifetime]") {
  asio::io_context other;
  const auto token = std::make_shared<int>();
  {
    asio::io_context own;
    kestrel_timer timer(own, 5ms);
    timer.async_wait(asio::bind_executor(other, [token](asio::error_code) {}));
    stall(own, 5ms); // queued there
  }
  other.poll();
  CHECK(token.use_count() == 1);
}

TEST_CASE_METHOD(one_context, "A wait of a context that ended with it queued is destroyed",
                 "[steady_timer][lifetime]") {
  const auto token = std::make_shared<int>();
  kestrel_timer timer(io, 5ms);
  {
    asio::io_context other;
    timer.async_wait(asio::bind_executor(other, [token](asio::error_code) { FAIL("called"); }));
    stall(io, 5ms);
    CHECK(token.use_count() == 2);
  }
  CHECK(token.use_count() == 1);
  CHECK(timer.cancel() == 0);
}

TEST_CASE_METHOD(one_context, "A timer may go while its waits are being sent to their executor",
                 "[steady_timer][lifetime]") {
  std::function<void()> hook;
  const hooked_executor executor(io, hook);
  auto timer = std::make_unique<kestrel_timer>(io, 5ms);
  outcome first;
  outcome second;
  timer->async_wait(asio::bind_executor(executor, note(first)));
  timer->async_wait(asio::bind_executor(executor, note(second)));
  std::optional<kestrel_timer> next;
  hook = [&] {
    timer.reset();
    next.emplace(io, 1h).async_wait(note(seen));
  };
  stall(io, 5ms);
  CHECK(first == aborted);
  CHECK(second == aborted);
  CHECK_FALSE(seen);
  CHECK(next->cancel() == 1);
  settle(io);
  CHECK(seen == aborted);
}

// Sanitizers see whether anything of the context is used that has gone.
TEST_CASE("A handler that the end of its context destroys may make timers there",
          "[steady_timer][lifetime]") {
  struct maker {
    asio::io_context& io;
    bool& called;
    int& made;
    ~maker() {
      kestrel_timer timer(io, 1ms);
      timer.async_wait([&called = called](asio::error_code) { called = true; });
      timer.cancel();
      timer.async_wait([&called = called](asio::error_code) { called = true; });
      ++made;
    }
  };
  const bool has_wheel = GENERATE(false, true);
  bool called = false;
  int made = 0;
  {
    asio::io_context io;
    std::optional<manual_wheel> wheel;
    if (has_wheel)
      wheel.emplace(io);
    asio::post(io, [m = std::shared_ptr<maker>(new maker{io, called, made})] {});
  }
  CHECK(made == 1);
  CHECK_FALSE(called);
}

TEST_CASE_METHOD(one_context, "Handlers may be aligned as they like", "[steady_timer]") {
  struct alignas(64) aligned {
    explicit aligned(int& n) : misplaced{n} {}
    aligned(aligned&& other) noexcept : misplaced{other.misplaced} {
      misplaced += reinterpret_cast<std::uintptr_t>(this) % alignof(aligned) != 0 ? 1 : 0;
    }
    void operator()(asio::error_code) const {}
    int& misplaced;
  };
  int misplaced = 0;
  std::vector<kestrel_timer> timers;
  for (int i = 0; i != 10; ++i)
    timers.emplace_back(io, i * 1ms).async_wait(aligned(misplaced));
  timers[9].cancel();
  pass(io, 10ms, 1ms);
  CHECK(misplaced == 0);
}

// ---- Executors

TEST_CASE("A strand that is blocked delays nobody's timers but its own",
          "[steady_timer][executors]") {
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  std::atomic<bool> free = false;
  kestrel::steady_timer first(strand, 0ms); // the first of the context
  asio::post(strand, [&] {
    while (!free)
      std::this_thread::yield();
  });
  kestrel::steady_timer timer(io, 1ms);
  timer.async_wait([&](asio::error_code) { free = true; });
  first.async_wait([](asio::error_code) {});
  std::thread helper([&] { io.run(); });
  io.run();
  helper.join();
  CHECK(free);
}

// ---- Threads

TEST_CASE("Timers of one context may be used from several threads", "[steady_timer][threads]") {
  asio::thread_pool pool(2);
  constexpr int rounds = 2000;
  struct counts {
    std::atomic<int> completed = 0;
    std::atomic<int> aborted = 0;
  };
  counts seen;
  std::atomic<std::size_t> cancelled = 0;
  const auto user = [&](int seed) {
    std::vector<kestrel::steady_timer> timers;
    for (int i = 0; i != 8; ++i)
      timers.emplace_back(pool);
    for (int i = 0; i != rounds; ++i) {
      auto& timer = timers[static_cast<std::size_t>((i * 5 + seed) % 8)];
      cancelled += timer.expires_after(std::chrono::microseconds(i % 7 * 300));
      timer.async_wait([&](asio::error_code ec) { ++(ec ? seen.aborted : seen.completed); });
      if (i % 11 == 0)
        cancelled += timer.cancel();
    }
    for (auto& timer : timers)
      cancelled += timer.cancel();
  };
  std::thread one(user, 0);
  std::thread two(user, 3);
  one.join();
  two.join();
  pool.join();
  CHECK(seen.completed + seen.aborted == 2 * rounds);
  CHECK(static_cast<std::size_t>(seen.aborted) == cancelled);
}

TEST_CASE("Run() does not return before the handler of a wait that is just being cancelled",
          "[steady_timer][threads]") {
  const std::string by = GENERATE("cancel", "cancel_one", "expires_after", "destructor", "slot");
  asio::io_context io;
  asio::io_context other;
  slow_to_move::progress slow;
  outcome of_last;
  std::optional<kestrel::steady_timer> first(std::in_place, io, 1h);
  kestrel::steady_timer last(io, 1h);
  asio::cancellation_signal signal;
  if (by != "cancel_one" && by != "slot") // they leave the others
    first->async_wait(asio::bind_executor(asio::make_strand(io), [](asio::error_code) {}));
  first->async_wait(asio::bind_cancellation_slot(signal.slot(), slow_to_move(slow)));
  last.async_wait([&](asio::error_code ec) {
    of_last = ec;
    slow.may_go_on = true;
  });
  std::thread runner([&] { io.run(); });
  slow.may_be_slow = true;
  asio::post(other, [&] {
    if (by == "cancel")
      first->cancel();
    else if (by == "cancel_one")
      first->cancel_one();
    else if (by == "expires_after")
      first->expires_after(1h);
    else if (by == "destructor")
      first.reset();
    else
      signal.emit(asio::cancellation_type::all);
  });
  std::thread canceller([&] { other.run(); });
  while (!slow.is_moving)
    std::this_thread::yield();
  last.cancel();
  runner.join();
  CHECK(slow.calls == 1);
  CHECK(of_last == aborted);
  canceller.join();
}

// Asio miscounts there: what a handler has posted is taken from other work meanwhile.
TEST_CASE("A handler may poll its context, which has a concurrency hint of 1", "[steady_timer]") {
  asio::io_context io{1};
  kestrel::steady_timer first(io, 1ms);
  kestrel::steady_timer other(io, 1h);
  kestrel::steady_timer next(io);
  bool called = false;
  other.async_wait([](asio::error_code) {});
  if (GENERATE(false, true)) // two are posted, and one is called at once
    first.async_wait([](asio::error_code) {});
  first.async_wait([&](asio::error_code) {
    other.cancel();
    io.poll();
    next.expires_after(1ms);
    next.async_wait([&called](asio::error_code) { called = true; });
  });
  io.run();
  CHECK(called);
}

TEST_CASE("A timer of a context counts as work where its handlers run", "[steady_timer]") {
  struct lent_context : asio::execution_context {
    using executor_type = asio::io_context::executor_type;

    explicit lent_context(asio::io_context& c) : io(c) {}
    executor_type get_executor() noexcept { return io.get_executor(); }

    asio::io_context& io;
  };
  asio::io_context io;
  lent_context context(io);
  bool called = false;
  kestrel::steady_timer timer(context, 5ms);
  timer.async_wait([&called](asio::error_code) { called = true; });
  io.run();
  CHECK(called);
}

// ---- What is left of waits that were cancelled

TEST_CASE_METHOD(one_context, "Cancelled waits hardly ever wake the context when they were due",
                 "[steady_timer][cancel]") {
  kestrel_timer last(io, 1h);
  last.async_wait(note(seen));
  std::deque<kestrel_timer> timers;
  for (int i = 1; i <= 200; ++i) {
    timers.emplace_back(io, i * 1s);
    timers.back().async_wait([](asio::error_code) {});
  }
  for (kestrel_timer& t : timers)
    t.cancel();
  settle(io);
  std::size_t handlers = 0;
  for (int i = 0; i != 300; ++i) {
    manual_clock::advance(1s);
    handlers += settle(io);
  }
  CHECK(handlers <= 40); // two for each of those that were cancelled last
  stall(io, 1h);
  CHECK(seen == asio::error_code());
}

TEST_CASE("A context ends in a time that does not depend on how often its timers were waited for",
          "[steady_timer]") {
  // How much of the processor's time the end takes, if timers have had from 1 to `waits` waits.
  const auto end_of_context = [](int waits) {
    constexpr int count = 100'000;
    std::optional<asio::io_context> io(std::in_place);
    std::vector<kestrel::steady_timer> timers;
    for (int i = 0; i != count; ++i) {
      timers.emplace_back(*io);
      for (int wait = 0; wait <= i % waits; ++wait) {
        timers.back().expires_after(1h);
        timers.back().async_wait([](asio::error_code) {});
      }
    }
    io->poll();
    const std::clock_t start = std::clock();
    io.reset();
    return std::clock() - start;
  };
  const std::clock_t one = end_of_context(1);
  CHECK(end_of_context(3) < 20 * (one + CLOCKS_PER_SEC / 100)); // not in the square of their number
}
