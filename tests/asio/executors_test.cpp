// SPDX-License-Identifier: MIT
//
// Where callbacks run: on the wheel's executor, or on their own if they bring one, be it a strand,
// a thread pool, or an executor that runs what it is given at once.

#include "executor_base.hpp"
#include "manual_clock.hpp"

#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>
#include <asio/thread_pool.hpp>

#include <catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

using namespace kestrel_tests;

namespace kestrel_tests {

/// Runs what it is given at once, though it says that it never blocks.
class inline_executor : public executor_base<inline_executor> {
public:
  explicit inline_executor(asio::io_context& io, int* calls = nullptr)
      : executor_base(io), calls_{calls} {}

  template <class F>
  void execute(F f) const {
    if (calls_ != nullptr)
      ++*calls_;
    f();
  }

private:
  int* calls_;
};

/// Throws as often as it is told to, and then does what it is given.
class refusing_executor : public executor_base<refusing_executor> {
public:
  refusing_executor(asio::io_context& io, int& refusals)
      : executor_base(io), refusals_{&refusals} {}

  template <class F>
  void execute(F f) const {
    if (*refusals_ != 0) {
      --*refusals_;
      throw std::runtime_error("refused");
    }
    asio::post(io(), std::move(f));
  }

private:
  int* refusals_;
};

/// Destroys what it is given as often as it is told to, and says nothing.
class losing_executor : public executor_base<losing_executor> {
public:
  losing_executor(asio::io_context& io, int& losses) : executor_base(io), losses_{&losses} {}

  template <class F>
  void execute(F f) const {
    if (*losses_ != 0)
      --*losses_;
    else
      asio::post(io(), std::move(f));
  }

private:
  int* losses_;
};

/// Throws as often as it is told to when it is asked to count work, and does what it is given.
class uncounting_executor : public executor_base<uncounting_executor> {
public:
  uncounting_executor(asio::io_context& io, int& refusals)
      : executor_base(io), refusals_{&refusals} {}

  [[nodiscard]] uncounting_executor prefer(asio::execution::outstanding_work_t::tracked_t) const {
    if (*refusals_ != 0) {
      --*refusals_;
      throw std::runtime_error("refused");
    }
    return *this;
  }

  template <class F>
  void execute(F f) const {
    asio::post(io(), std::move(f));
  }

private:
  int* refusals_;
};

/// Keeps what it was given last, and never does it: what it was given before is destroyed.
class keeping_executor : public executor_base<keeping_executor> {
public:
  keeping_executor(asio::io_context& io, std::shared_ptr<void>& kept)
      : executor_base(io), kept_{&kept} {}

  template <class F>
  void execute(F f) const {
    *kept_ = std::make_shared<F>(std::move(f));
  }

private:
  std::shared_ptr<void>* kept_;
};

} // namespace kestrel_tests

TEST_CASE("The wheel gives its executor", "[executors]") {
  asio::io_context io;
  manual_wheel wheel{io};
  CHECK(wheel.get_executor() == io.get_executor());
  kestrel::basic_timer_wheel<asio::io_context::executor_type, manual_traits> typed{
      io.get_executor()};
  CHECK(typed.get_executor() == io.get_executor());
}

TEST_CASE("Callbacks of a wheel on a strand run in the strand", "[executors]") {
  const at_start clock;
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  manual_wheel wheel{strand};
  int inside = 0;
  wheel.schedule_after(5ms, [&] { inside += strand.running_in_this_thread(); });
  wheel.schedule_every(5ms, 5ms, [&](kestrel::timer_id id) {
    inside += strand.running_in_this_thread();
    wheel.cancel(id);
  });
  for (int i = 0; i != 1000; ++i)
    wheel.schedule_after(0ms, [&] { inside += strand.running_in_this_thread(); });
  stall(io, 10ms);
  CHECK(inside == 1002);
}

TEST_CASE_METHOD(one_wheel, "A callback bound to a strand runs in it, and the others do not",
                 "[executors]") {
  const auto strand = asio::make_strand(io);
  int inside = 0;
  int outside = 0;
  const auto look = [&] { ++(strand.running_in_this_thread() ? inside : outside); };
  wheel.schedule_after(5ms, asio::bind_executor(strand, look));
  wheel.schedule_after(5ms, look);
  wheel.schedule_every(5ms, 1h, asio::bind_executor(strand, look));
  stall(io, 10ms);
  CHECK(inside == 2);
  CHECK(outside == 1);
}

TEST_CASE_METHOD(one_wheel, "Callbacks bound to one strand run in the order in which they fell due",
                 "[executors]") {
  const auto strand = asio::make_strand(io);
  journal ran;
  for (int i = 0; i != 300; ++i)
    wheel.schedule_after(3s - i * 7ms, asio::bind_executor(strand, ran.note(i)));
  stall(io, 5s);
  REQUIRE(ran.size() == 300);
  for (int i = 0; i != 300; ++i)
    CHECK(ran[static_cast<std::size_t>(i)].label / 10 <= (299 - i) / 10 + 1);
}

TEST_CASE("A bound callback gets its id and its missed periods as any other", "[executors]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  manual_wheel wheel{io};
  kestrel::timer_id told;
  std::uint64_t missed = 99;
  const auto id = wheel.schedule_every(
      10ms, 10ms, asio::bind_executor(other, [&](kestrel::timer_id i, std::uint64_t m) {
        told = i;
        missed = m;
      }));
  stall(io, 10ms);
  manual_clock::advance(35ms); // it runs 35 ms late: at 45 ms; 20, 30 and 40 are missed
  other.run();
  CHECK(told == id);
  CHECK(missed == 3);
  CHECK(wheel.expiry(id) == manual_clock::start + 50ms);
  CHECK(wheel.stats().missed_periods == 3);
}

TEST_CASE("A bound callback on its way does not fire twice", "[executors]") {
  const at_start clock;
  asio::io_context io;
  asio::io_context other;
  manual_wheel wheel{io};
  int ran = 0;
  const auto id = wheel.schedule_every(10ms, 10ms, asio::bind_executor(other, [&] { ++ran; }));
  pass(io, 100ms); // its executor is busy meanwhile
  CHECK(ran == 0);
  other.run();
  CHECK(ran == 1);
  CHECK(wheel.stats().fired == 1);
  CHECK(wheel.stats().missed_periods == 9);
  CHECK(wheel.expiry(id) == manual_clock::start + 110ms);
}

TEST_CASE("A callback bound to a thread pool runs on one of its threads", "[executors]") {
  const at_start clock;
  asio::io_context io;
  asio::thread_pool pool(1);
  manual_wheel wheel{io};
  std::thread::id where;
  wheel.schedule_after(5ms, asio::bind_executor(pool, [&] { where = std::this_thread::get_id(); }));
  stall(io, 10ms);
  pool.join();
  CHECK(where != std::thread::id());
  CHECK(where != std::this_thread::get_id());
}

TEST_CASE("A wheel may live on a thread pool", "[executors]") {
  const at_start clock;
  asio::thread_pool pool(2);
  wheel_with<manual_traits> wheel{pool};
  std::atomic<int> ran = 0;
  for (int i = 0; i != 1000; ++i)
    wheel.schedule_after(std::chrono::milliseconds(i % 50), [&] { ++ran; });
  manual_clock::advance(1s);
  pool.join();
  CHECK(ran == 1000);
  CHECK(wheel.empty());
}

TEST_CASE("A callback bound to an executor that runs things at once does not deadlock",
          "[executors]") {
  const at_start clock;
  asio::io_context io;
  int calls = 0;
  int ran = 0;
  const inline_executor at_once{io, &calls};
  manual_wheel wheel{io};
  const auto touch = [&] {
    CHECK(checked_mutex::held() == 0);
    wheel.schedule_after(1h, [] {});
    ++ran;
  };
  wheel.schedule_after(5ms, asio::bind_executor(at_once, touch));
  const auto id = wheel.schedule_every(5ms, 10ms, asio::bind_executor(at_once, touch));
  stall(io, 10ms);
  CHECK(ran == 2);
  CHECK(calls == 2);
  stall(io, 10ms);
  CHECK(ran == 3);
  CHECK(wheel.cancel(id));
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE("A callback that throws inside an executor that runs things at once leaves run()",
          "[executors][exceptions]") {
  const at_start clock;
  asio::io_context io;
  const inline_executor at_once{io};
  manual_wheel wheel{io};
  int ran = 0;
  const auto throws = [&] {
    ++ran;
    throw std::runtime_error("callback");
  };
  SECTION("once") {
    wheel.schedule_after(5ms, asio::bind_executor(at_once, throws));
    manual_clock::advance(10ms);
    CHECK_THROWS_AS(settle(io), std::runtime_error);
    CHECK(wheel.empty());
    stall(io, 1s);
    CHECK(ran == 1);
  }
  SECTION("periodically") {
    const auto id = wheel.schedule_every(5ms, 10ms, asio::bind_executor(at_once, throws));
    for (int i = 1; i != 10; ++i) {
      manual_clock::advance(10ms);
      CHECK_THROWS_AS(settle(io), std::runtime_error);
      CHECK(ran == i);
      CHECK(wheel.stats().stale_entries == 0);
    }
    CHECK(wheel.cancel(id));
    CHECK(wheel.empty());
    stall(io, 1s);
    CHECK(ran == 9);
  }
}

TEST_CASE("What leaves a wheel on an executor that runs things at once harms no other timer",
          "[executors][exceptions]") {
  const at_start clock;
  asio::io_context io;
  const inline_executor at_once{io};
  kestrel::basic_timer_wheel<inline_executor, manual_traits> wheel{at_once};
  int ran = 0;
  for (int i = 0; i != 20; ++i)
    wheel.schedule_after(10ms, [&ran] {
      ++ran;
      throw std::runtime_error("callback");
    });
  manual_clock::advance(10ms);
  int thrown = 0;
  for (int round = 0; round != 100; ++round) {
    try {
      settle(io);
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(thrown == 20);
  CHECK(ran == 20);
  CHECK(wheel.empty());
}

TEST_CASE("A wheel may live on an executor that runs things at once", "[executors]") {
  const at_start clock;
  asio::io_context io;
  const inline_executor at_once{io};
  kestrel::basic_timer_wheel<inline_executor, manual_traits> wheel{at_once};
  journal ran;
  for (int i = 0; i != 1000; ++i)
    wheel.schedule_after(std::chrono::milliseconds(i % 10), ran.note(i));
  stall(io, 10ms);
  CHECK(ran.size() == 1000);
  CHECK(wheel.empty());
  CHECK(checked_mutex::take_violations() == 0);
}

TEST_CASE_METHOD(one_wheel, "A callback whose executor refuses it is tried again", "[executors]") {
  int refusals = 2;
  journal ran;
  const auto id =
      wheel.schedule_after(10ms, asio::bind_executor(refusing_executor(io, refusals), ran.note(1)));
  wheel.schedule_after(10ms, ran.note(2));
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  CHECK(wheel.expiry(id));
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  CHECK(wheel.expiry(id));
  settle(io);
  CHECK(ran.size() == 2);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE("A callback for another executor is tried again if the wheel's own refuses to count work",
          "[executors]") {
  const at_start clock;
  asio::io_context io;
  int refusals = 0;
  kestrel::basic_timer_wheel<uncounting_executor, manual_traits> wheel{
      uncounting_executor(io, refusals)};
  journal ran;
  const auto id = wheel.schedule_after(10ms, asio::bind_executor(io.get_executor(), ran.note(1)));
  wheel.schedule_after(10ms, ran.note(2));
  manual_clock::advance(10ms);
  refusals = 1;
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  CHECK(refusals == 0);
  CHECK(wheel.expiry(id));
  settle(io);
  CHECK(ran.size() == 2);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE("A wheel whose executor refuses what it posts runs what is due all the same",
          "[executors]") {
  const at_start clock;
  asio::io_context io;
  int refusals = 0;
  kestrel::basic_timer_wheel<refusing_executor, manual_traits> wheel{
      refusing_executor(io, refusals)};
  constexpr int count = 10'000; // more than one handler looks at when they come nearer
  journal ran;
  wheel.schedule_after(10ms, [&] { refusals = 1; });
  for (int i = 0; i != count; ++i)
    wheel.schedule_after(6s, ran.note(i));
  stall(io, 3s);
  CHECK(refusals == 0);
  CHECK(ran.empty());
  stall(io, 3s);
  const std::vector<int> labels = ran.labels();
  CHECK(labels.size() == count);
  CHECK(std::ranges::is_sorted(labels));
  CHECK(out_of_work(io));
}

TEST_CASE("A wheel whose executor loses what it is given comes again a tick later", "[executors]") {
  const at_start clock;
  asio::io_context io;
  int losses = 0;
  kestrel::basic_timer_wheel<losing_executor, manual_traits> wheel{losing_executor(io, losses)};
  journal ran;
  SECTION("on its way to the first that is due") {
    wheel.schedule_after(10ms, ran.note(1));
    wheel.schedule_after(50ms, ran.note(2));
    losses = GENERATE(1, 2);
    const auto lost = losses * 10ms;
    stall(io, 10ms);
    CHECK(ran.empty());
    CHECK_FALSE(out_of_work(io));
    stall(io, 10ms);
    stall(io, 10ms);
    CHECK(ran == journal{{1, 10ms + lost}});
    stall(io, 20ms);
    CHECK(ran == journal{{1, 10ms + lost}, {2, 50ms}});
  }
  SECTION("on its way because an earlier timer came") {
    wheel.schedule_after(1h, ran.note(1));
    losses = 1;
    wheel.schedule_after(10ms, ran.note(2));
    settle(io);
    CHECK(losses == 0);
    stall(io, 10ms);
    CHECK(ran == journal{{2, 10ms}});
    wheel.shutdown();
  }
  SECTION("on its way because the last timer was cancelled") {
    const auto id = wheel.schedule_after(1h, ran.note(1));
    losses = 1;
    CHECK(wheel.cancel(id));
    settle(io);
    CHECK(losses == 0);
    CHECK(out_of_work(io));
    wheel.schedule_after(10ms, ran.note(2));
    stall(io, 10ms);
    CHECK(ran == journal{{2, 10ms}});
  }
  SECTION("posted between two batches") {
    constexpr int count = 1000; // more than one of them
    for (int i = 0; i != count; ++i)
      wheel.schedule_after(10ms, [&ran, &losses, i] {
        ran.note(i)();
        losses = i == 0 ? 1 : losses;
      });
    stall(io, 10ms);
    const std::vector<int> labels = ran.labels();
    CHECK(labels.size() == count);
    CHECK(std::ranges::is_sorted(labels));
  }
  settle(io);
  CHECK(out_of_work(io));
}

TEST_CASE("A wheel whose executor has lost it ends as any other", "[executors][lifetimes]") {
  const at_start clock;
  asio::io_context io;
  int losses = 1'000'000;
  std::weak_ptr<int> gone;
  {
    kestrel::basic_timer_wheel<losing_executor, manual_traits> wheel{losing_executor(io, losses)};
    const auto owned = std::make_shared<int>();
    gone = owned;
    wheel.schedule_after(10ms, [owned] { FAIL("it is lost"); });
    stall(io, 10ms);
    stall(io, 10ms);
    CHECK_FALSE(gone.expired());
  }
  CHECK(gone.expired());
  settle(io);
  CHECK(out_of_work(io));
}

TEST_CASE("A callback that throws may have changed what else is due, where things run at once",
          "[executors][exceptions]") {
  const at_start clock;
  asio::io_context io;
  kestrel::basic_timer_wheel<inline_executor, manual_traits> wheel{inline_executor(io)};
  std::array<kestrel::timer_id, 2> ids;
  std::function<void(kestrel::timer_id)> change;
  journal ran;
  for (std::size_t i = 0; i != ids.size(); ++i)
    ids[i] = wheel.schedule_after(10ms, [&, i, note = ran.note(1)] {
      note();
      if (ran.size() != 1)
        return;
      change(ids[1 - i]);
      throw std::runtime_error("callback");
    });
  std::size_t then = 0; // how many run afterwards
  SECTION("cancelled it") {
    change = [&](kestrel::timer_id other) { CHECK(wheel.cancel(other)); };
  }
  SECTION("postponed it") {
    change = [&](kestrel::timer_id other) { CHECK(wheel.postpone(other, 10ms)); };
    then = 1;
  }
  SECTION("shut the wheel down") {
    change = [&](kestrel::timer_id) { wheel.shutdown(); };
  }
  SECTION("left it") {
    change = [&](kestrel::timer_id) {};
    then = 1;
  }
  manual_clock::advance(10ms);
  CHECK_THROWS_AS(settle(io), std::runtime_error);
  CHECK(ran.size() == 1);
  settle(io);
  stall(io, 10ms);
  CHECK(ran.size() == 1 + then);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "A callback on its way is not early when the clock steps back",
                 "[executors][clock]") {
  asio::io_context other;
  journal ran;
  const auto id =
      wheel.schedule_after(10ms, asio::bind_executor(other.get_executor(), ran.note(1)));
  stall(io, 10ms);
  manual_clock::advance(-5ms);
  CHECK(other.poll() == 1);
  CHECK(ran.empty());
  CHECK(wheel.expiry(id));
  stall(io, 5ms);
  other.restart();
  other.poll();
  CHECK(ran.size() == 1);
  CHECK(wheel.empty());
  CHECK(out_of_work(io));
}

TEST_CASE_METHOD(one_wheel, "Only the timer of a callback that an executor destroys ends",
                 "[executors]") {
  std::shared_ptr<void> kept;
  const keeping_executor keeps{io, kept};
  const auto never_runs = asio::bind_executor(keeps, [] { FAIL("nobody calls it"); });
  const auto id = wheel.schedule_after(10ms, never_runs);
  stall(io, 10ms);
  CHECK(wheel.expiry(id));
  SECTION("while it is given another's") {
    const auto another = wheel.schedule_after(10ms, never_runs);
    stall(io, 10ms);
    CHECK_FALSE(wheel.expiry(id));
    CHECK(wheel.expiry(another));
  }
  SECTION("but not if it was postponed, while it is given that") {
    CHECK(wheel.postpone(id, 10ms));
    stall(io, 10ms);
    CHECK(wheel.expiry(id));
  }
  CHECK(wheel.size() == 1);
  CHECK_FALSE(out_of_work(io));
  kept = nullptr;
  CHECK(wheel.empty());
  settle(io);
  CHECK(out_of_work(io));
}
