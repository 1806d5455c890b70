// SPDX-License-Identifier: MIT
//
// What may be a callback, and what becomes of it: any callable, destroyed exactly once, never under
// a lock, and with nothing changed when it cannot be taken.

#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>

using namespace kestrel_tests;

namespace {

int plain_calls = 0;
void plain_function() { ++plain_calls; }

/// What happened to all copies of one callable.
struct tally {
  int made = 0;
  int destroyed = 0;
  int called = 0;
  int under_lock = 0;
  std::function<void()> on_last = [] {
  }; // runs in the destructor of the one that was not moved from

  [[nodiscard]] bool balanced() const { return made == destroyed; }
};

/// Calls back from its destructor, as the destructor of a session might.
template <std::size_t Size = 1>
class tallied {
public:
  explicit tallied(tally& t) : tally_{&t}, whole_{true} { ++tally_->made; }
  tallied(tallied&& other) noexcept
      : tally_{other.tally_}, whole_{std::exchange(other.whole_, false)} {
    ++tally_->made;
  }
  ~tallied() {
    ++tally_->destroyed;
    if (whole_) {
      tally_->under_lock += checked_mutex::held() != 0;
      tally_->on_last();
    }
  }

  void operator()() {
    tally_->under_lock += checked_mutex::held() != 0;
    ++tally_->called;
  }

private:
  tally* tally_;
  bool whole_;
  std::array<char, Size> padding_{};
};

struct alignas(64) over_aligned {
  int* calls;
  void operator()() const { *calls += reinterpret_cast<std::uintptr_t>(this) % 64 == 0 ? 1 : 100; }
};

/// Throws at the n-th copy or move.
struct throwing_moves {
  throwing_moves(int& budget, int& alive, int& calls)
      : budget_{&budget}, alive_{&alive}, calls_{&calls} {
    ++*alive_;
  }
  throwing_moves(const throwing_moves& other)
      : budget_{other.budget_}, alive_{other.alive_}, calls_{other.calls_} {
    spend();
    ++*alive_;
  }
  throwing_moves(throwing_moves&& other) // NOLINT: it throws on purpose
      : budget_{other.budget_}, alive_{other.alive_}, calls_{other.calls_} {
    spend();
    ++*alive_;
  }
  ~throwing_moves() { --*alive_; }

  void operator()() const { ++*calls_; }

private:
  void spend() const {
    if ((*budget_)-- == 0)
      throw std::runtime_error("moved once too often");
  }

  int* budget_;
  int* alive_;
  int* calls_;
};

bool is_invalid_callback(const std::system_error& e) {
  return e.code() == kestrel::errc::invalid_callback;
}

} // namespace

TEST_CASE_METHOD(one_wheel, "Any callable is a callback", "[callables]") {
  int calls = 0;
  plain_calls = 0;
  kestrel::timer_id told;
  std::uint64_t missed = 99;

  wheel.schedule_after(5ms, [p = std::make_unique<int>(1), &calls] { calls += *p; });
  wheel.schedule_after(5ms, std::function<void()>([&] { ++calls; }));
  wheel.schedule_after(5ms, plain_function);
  wheel.schedule_after(5ms, &plain_function);
  wheel.schedule_after(5ms, [&calls, big = std::array<int, 100>{}]() mutable {
    big[99] = 1;
    calls += big[99];
  });
  wheel.schedule_after(5ms, over_aligned{&calls});
  wheel.schedule_after(5ms, [&] {
    ++calls;
    return 42; // ignored
  });
  const auto named = [&] { ++calls; };
  wheel.schedule_after(5ms, named);
  wheel.schedule_after(5ms, std::ref(named));
  const auto with_id = wheel.schedule_after(5ms, [&](kestrel::timer_id id) { told = id; });
  wheel.schedule_after(5ms, [&](kestrel::timer_id, std::uint64_t m) { missed = m; });
  stall(io, 10ms);
  CHECK(calls == 7);
  CHECK(plain_calls == 2);
  CHECK(told == with_id);
  CHECK(missed == 0);
}

TEST_CASE_METHOD(one_wheel, "A callable keeps its state from one period to the next",
                 "[callables]") {
  int last = 0;
  wheel.schedule_every(5ms, 10ms, [&last, n = 0]() mutable { last = ++n; });
  wheel.schedule_every(
      5ms, 10ms, [big = std::array<int, 100>{}, &last]() mutable { CHECK(++big[50] == last); });
  pass(io, 1s);
  CHECK(last == 100);
}

TEST_CASE_METHOD(one_wheel, "An empty callable is refused, and nothing changes", "[callables]") {
  journal ran;
  const std::function<void()> empty;
  void (*null)() = nullptr;
  CHECK_THROWS_MATCHES(wheel.schedule_after(5ms, empty), std::system_error,
                       Catch::Predicate<std::system_error>(is_invalid_callback));
  CHECK_THROWS_MATCHES(wheel.schedule_at(manual_clock::now(), std::function<void()>()),
                       std::system_error, Catch::Predicate<std::system_error>(is_invalid_callback));
  CHECK_THROWS_MATCHES(wheel.schedule_every(5ms, 5ms, null), std::system_error,
                       Catch::Predicate<std::system_error>(is_invalid_callback));
  CHECK(wheel.empty());
  CHECK(wheel.stats().scheduled == 0);
  const auto id = wheel.schedule_after(5ms, ran.note(1));
  CHECK_THROWS_MATCHES(wheel.postpone(id, 1h, empty), std::system_error,
                       Catch::Predicate<std::system_error>(is_invalid_callback));
  stall(io, 10ms);
  CHECK(ran == journal{{1, 10ms}});
}

TEMPLATE_TEST_CASE("A callable is destroyed exactly once and never under a lock", "[callables]",
                   tallied<1>, tallied<200>) {
  const at_start clock;
  tally t;
  asio::io_context io;
  std::optional<manual_wheel> wheel(std::in_place, io);
  // From the destructor of a callback, everything may be called.
  kestrel::timer_id sibling = wheel->schedule_after(10h, [] {});
  int destructor_ran = 0;
  t.on_last = [&] {
    ++destructor_ran;
    if (!wheel)
      return;
    static_cast<void>(wheel->size());
    static_cast<void>(wheel->stats());
    wheel->cancel(sibling);
    try {
      sibling = wheel->schedule_after(1h, [] {});
    } catch (const std::system_error&) {
    }
    wheel->postpone(sibling, 2h);
  };

  int calls = 0;
  SECTION("when it fires") {
    wheel->schedule_after(5ms, TestType(t));
    stall(io, 10ms);
    calls = 1;
  }
  SECTION("when it fires on a strand") {
    wheel->schedule_after(5ms, asio::bind_executor(asio::make_strand(io), TestType(t)));
    stall(io, 10ms);
    calls = 1;
  }
  SECTION("when it is cancelled") {
    CHECK(wheel->cancel(wheel->schedule_after(5ms, TestType(t))));
    CHECK(destructor_ran == 1);
  }
  SECTION("when it is cancelled after some periods") {
    const auto id = wheel->schedule_every(5ms, 10ms, TestType(t));
    pass(io, 30ms);
    CHECK(destructor_ran == 0);
    CHECK(wheel->cancel(id));
    CHECK(destructor_ran == 1);
    calls = 3;
  }
  SECTION("when it is cancelled on the way to its executor") {
    asio::io_context other;
    const auto id = wheel->schedule_after(5ms, asio::bind_executor(other, TestType(t)));
    stall(io, 10ms);
    CHECK(wheel->cancel(id));
    CHECK(destructor_ran == 1);
    other.run();
  }
  SECTION("when it is replaced") {
    const auto id = wheel->schedule_after(5ms, TestType(t));
    CHECK(wheel->postpone(id, 10ms, [] {}));
    CHECK(destructor_ran == 1);
  }
  SECTION("when it was to replace and came too late") {
    CHECK_FALSE(wheel->postpone({}, 10ms, TestType(t)));
    CHECK(destructor_ran == 1);
  }
  SECTION("when the wheel shuts down") {
    wheel->schedule_after(5ms, TestType(t));
    wheel->shutdown();
    CHECK(destructor_ran == 1);
  }
  SECTION("when the wheel is destroyed") {
    wheel->schedule_after(5ms, TestType(t));
    wheel.reset();
    CHECK(destructor_ran == 1);
  }
  SECTION("when the wheel cannot take it any more") {
    wheel->shutdown();
    CHECK_THROWS_AS(wheel->schedule_after(5ms, TestType(t)), std::system_error);
    CHECK_THROWS_AS(wheel->schedule_every(5ms, 0ms, TestType(t)), std::system_error);
    CHECK(destructor_ran == 2);
  }
  wheel.reset();
  CHECK(t.balanced());
  CHECK(t.called == calls);
  CHECK(destructor_ran >= 1);
  CHECK(t.under_lock == 0);
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE("A periodic callable is destroyed outside the lock, however it ends", "[callables]") {
  const at_start clock;
  tally t;
  asio::io_context io;
  manual_wheel wheel{io};
  int destructor_ran = 0;
  t.on_last = [&] {
    ++destructor_ran;
    static_cast<void>(wheel.size());
  };
  const bool bound = GENERATE(false, true);
  const auto start = [&](auto f) {
    if (bound)
      wheel.schedule_every(5ms, 10ms, asio::bind_executor(io, std::move(f)));
    else
      wheel.schedule_every(5ms, 10ms, std::move(f));
  };
  SECTION("it cancels itself") {
    start([&wheel, whole = tallied<>(t)](kestrel::timer_id id) { wheel.cancel(id); });
    stall(io, 10ms);
  }
  SECTION("it cancels itself and throws") {
    start([&wheel, whole = tallied<>(t)](kestrel::timer_id id) {
      wheel.cancel(id);
      throw std::runtime_error("callback");
    });
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), std::runtime_error);
  }
  SECTION("it replaces itself") {
    start([&wheel, whole = tallied<>(t)](kestrel::timer_id id) {
      CHECK(wheel.postpone(id, 1h, [] {}));
    });
    stall(io, 10ms);
    CHECK(wheel.size() == 1);
  }
  SECTION("it replaces itself and throws") {
    start([&wheel, whole = tallied<>(t)](kestrel::timer_id id) {
      CHECK(wheel.postpone(id, 1h, [] {}));
      throw std::runtime_error("callback");
    });
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), std::runtime_error);
  }
  SECTION("it shuts the wheel down") {
    start([&wheel, whole = tallied<>(t)] { wheel.shutdown(); });
    stall(io, 10ms);
  }
  SECTION("it shuts the wheel down and throws") {
    start([&wheel, whole = tallied<>(t)] {
      wheel.shutdown();
      throw std::runtime_error("callback");
    });
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), std::runtime_error);
  }
  CHECK(destructor_ran == 1);
  CHECK(t.under_lock == 0);
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE_METHOD(one_wheel, "A callable that is running is not destroyed before it returns",
                 "[callables]") {
  bool intact = false;
  wheel.schedule_every(5ms, 10ms, [&, alive = std::make_shared<int>(7)](kestrel::timer_id id) {
    const std::weak_ptr<int> watch = alive;
    wheel.cancel(id);
    wheel.schedule_after(1ms, [] {}); // may take its place
    intact = watch.use_count() == 1 && *alive == 7;
  });
  stall(io, 10ms);
  CHECK(intact);
}

TEST_CASE_METHOD(one_wheel, "A callable whose copy or move throws changes nothing",
                 "[callables][exceptions]") {
  int alive = 0;
  int calls = 0;
  int unlimited = 1'000'000;
  journal ran;
  const auto old = wheel.schedule_after(15ms, ran.note(1));
  const throwing_moves original(unlimited, alive, calls);
  int failures = 0;
  const auto kind = GENERATE(0, 1, 2, 3);
  for (int n = 0;; ++n) {
    int budget = 1'000'000;
    throwing_moves f(budget, alive, calls);
    budget = n;
    const int alive_before = alive;
    try {
      if (kind == 0)
        wheel.schedule_after(10ms, f);
      else if (kind == 1)
        wheel.schedule_after(10ms, std::move(f));
      else if (kind == 2)
        wheel.schedule_every(10ms, 1h, f);
      else
        wheel.postpone(old, 10ms, f);
      budget = 1'000'000;
      stall(io, 20ms);
      break;
    } catch (const std::runtime_error&) {
      ++failures;
    }
    CHECK(alive == alive_before);
    CHECK(wheel.size() == 1);
    CHECK(wheel.stats().scheduled == 1);
    CHECK(wheel.stats().postponed == 0);
    CHECK(wheel.expiry(old) == manual_clock::start + 15ms);
  }
  CHECK(failures > 0);
  CHECK(calls == 1);
  CHECK(ran.size() == (kind == 3 ? 0 : 1));
  wheel.shutdown();
  CHECK(alive == 1);
}
