// SPDX-License-Identifier: MIT
//
// Several threads: run() in more than one, and schedule, cancel, postpone and shutdown from others.
// What happened is collected by the threads and judged on the main one.

#include <kestrel/timer_wheel.hpp>

#include "manual_clock.hpp"
#include "runners.hpp"
#include "sanitizers.hpp"

#include <asio/bind_executor.hpp>
#include <asio/io_context.hpp>
#include <asio/strand.hpp>

#include <catch.hpp>

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <system_error>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

constexpr int scale = thread_sanitizer ? 2 : 1;

} // namespace

TEST_CASE("Each timer is fired or cancelled, and never both", "[threads]") {
  constexpr std::size_t count = 200'000 / scale;
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  const bool bound = GENERATE(false, true);
  const auto strand = asio::make_strand(io);
  std::vector<std::atomic<int>> fired(count);
  std::vector<int> cancelled(count);
  std::vector<kestrel::timer_id> ids(count);
  std::atomic<std::size_t> armed{0};
  {
    runners running(io, 2);
    std::thread canceller([&] {
      for (std::size_t i = 0; i != count; ++i) {
        while (armed.load(std::memory_order_acquire) <= i)
          std::this_thread::yield();
        cancelled[i] = wheel.cancel(ids[i]);
      }
    });
    for (std::size_t i = 0; i != count; ++i) {
      const auto f = [&fired, i] { ++fired[i]; };
      const auto delay = std::chrono::microseconds(i % 3 == 0 ? 0 : i % 5000);
      ids[i] = bound ? wheel.schedule_after(delay, asio::bind_executor(strand, f))
                     : wheel.schedule_after(delay, f);
      armed.store(i + 1, std::memory_order_release);
    }
    canceller.join();
    running.finish();
  }
  std::size_t wrong = 0;
  std::size_t were_cancelled = 0;
  for (std::size_t i = 0; i != count; ++i) {
    wrong += fired[i] + cancelled[i] != 1;
    were_cancelled += static_cast<std::size_t>(cancelled[i]);
  }
  CHECK(wrong == 0);
  CHECK(were_cancelled > 0); // else it was no race
  CHECK(were_cancelled < count);
  const auto s = wheel.stats();
  CHECK(s.cancelled == were_cancelled);
  CHECK(s.fired == count - were_cancelled);
  CHECK(wheel.empty());
}

TEST_CASE("Producers of all operations lose no timer", "[threads]") {
  constexpr int operations = 100'000 / scale;
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  const auto strand = asio::make_strand(io);
  std::atomic<std::uint64_t> ran{0};
  std::atomic<std::uint64_t> scheduled{0};
  std::atomic<std::uint64_t> cancelled{0};
  std::atomic<std::uint64_t> postponed{0};
  {
    runners running(io, 3);
    std::vector<std::thread> producers;
    for (unsigned p = 0; p != 3; ++p) {
      producers.emplace_back([&, p] {
        std::mt19937 random(p);
        std::vector<kestrel::timer_id> ids(200);
        for (int i = 0; i != operations; ++i) {
          kestrel::timer_id& id = ids[random() % ids.size()];
          const auto delay = std::chrono::microseconds(random() % 40'000);
          switch (random() % 8) {
          case 0:
          case 1:
          case 2:
            id = wheel.schedule_after(delay, [&ran] { ++ran; });
            ++scheduled;
            break;
          case 3:
            id = wheel.schedule_after(delay, asio::bind_executor(strand, [&ran] { ++ran; }));
            ++scheduled;
            break;
          case 4:
            cancelled += wheel.cancel(id);
            break;
          case 5:
          case 6:
            postponed += wheel.postpone(id, delay);
            break;
          case 7:
            postponed += wheel.postpone(id, delay, [&ran] { ++ran; });
            static_cast<void>(wheel.expiry(id));
            static_cast<void>(wheel.size());
            break;
          }
        }
      });
    }
    for (std::thread& t : producers)
      t.join();
    const auto s = wheel.stats(); // a snapshot in the storm adds up, too
    CHECK(s.scheduled == s.fired + s.cancelled + s.live);
    running.finish();
  }
  const auto s = wheel.stats();
  CHECK(s.scheduled == scheduled);
  CHECK(s.cancelled == cancelled);
  CHECK(s.postponed == postponed);
  CHECK(s.fired == ran);
  CHECK(scheduled == ran + cancelled);
  CHECK(s.live == 0);
}

namespace {

/// What producers of batches, periodic timers and waits have done, beside several run()s.
struct batch_storm {
  explicit batch_storm(asio::io_context& io) : wheel{io}, strand(asio::make_strand(io)) {}

  auto once() {
    return [this, a = alive] { ++ran_once; };
  }
  auto periodically() {
    return [this, a = alive] { ++ran_periodically; };
  }

  /// Most are soon due, some never within this test.
  static std::chrono::microseconds delay(std::mt19937& random) {
    return random() % 20 == 0 ? std::chrono::hours(1)
                              : std::chrono::microseconds(random() % 20'000);
  }

  std::vector<kestrel::timer_task> tasks(std::mt19937& random) {
    std::vector<kestrel::timer_task> made;
    made.push_back(kestrel::timer_task::one_shot(delay(random), once()));
    made.push_back(
        kestrel::timer_task::one_shot(delay(random), asio::bind_executor(strand, once())));
    made.push_back(kestrel::timer_task::periodic(delay(random), 1ms, periodically()));
    return made;
  }

  void keep(std::vector<kestrel::timer_id>& ids, const std::vector<kestrel::timer_id>& more) {
    scheduled += more.size();
    ids.insert(ids.end(), more.begin(), more.end());
  }

  void wait(kestrel::timer_wheel::handle_type handle) {
    ++waits;
    handle.async_wait([this](asio::error_code, kestrel::completion) { ++ended_waits; });
  }

  /// Until `operations` are done, or the wheel is shut down.
  void produce(unsigned seed, int operations) {
    std::mt19937 random(seed);
    std::vector<kestrel::timer_id> ids;
    for (int i = 0; i != operations; ++i) {
      const auto some = [&] {
        return ids.empty() ? kestrel::timer_id() : ids[random() % ids.size()];
      };
      switch (random() % 6) {
      case 0: {
        auto batch = wheel.schedule(tasks(random));
        keep(ids, {batch.ids().begin(), batch.ids().end()});
        wait(batch[random() % batch.size()]);
        break;
      }
      case 1: {
        auto batch = wheel.schedule(wheel.allocate(3), tasks(random));
        keep(ids, {batch.ids().begin(), batch.ids().end()});
        postponed += batch.postpone_all(delay(random));
        break;
      }
      case 2:
        keep(ids, {wheel.schedule_every(delay(random), 1ms, periodically())});
        wait(wheel.handle(ids.back()));
        break;
      case 3:
        cancelled += wheel.cancel({some(), some(), some()});
        break;
      case 4:
        postponed += wheel.postpone({{some(), delay(random)}, {some(), delay(random)}});
        break;
      case 5:
        if (ids.size() > 50) {
          cancelled += wheel.cancel(ids);
          ids.clear();
        }
        break;
      }
    }
  }

  std::shared_ptr<int> alive = std::make_shared<int>(); // one owner for each callable
  kestrel::timer_wheel wheel;
  asio::strand<asio::io_context::executor_type> strand;
  std::atomic<std::uint64_t> ran_once{0};
  std::atomic<std::uint64_t> ran_periodically{0};
  std::atomic<std::uint64_t> scheduled{0};
  std::atomic<std::uint64_t> cancelled{0};
  std::atomic<std::uint64_t> postponed{0};
  std::atomic<std::uint64_t> waits{0};
  std::atomic<std::uint64_t> ended_waits{0};
};

} // namespace

TEST_CASE("Batches, periodic timers and waits of several threads add up", "[threads]") {
  asio::io_context io;
  batch_storm storm(io);
  {
    runners running(io, 3);
    std::vector<std::thread> producers;
    for (unsigned p = 0; p != 3; ++p)
      producers.emplace_back([&storm, p] { storm.produce(p, 10'000 / scale); });
    for (std::thread& t : producers)
      t.join();
    io.stop(); // callbacks that run have ended when the threads have
    running.finish();
  }
  const auto s = storm.wheel.stats();
  CHECK(s.scheduled == storm.scheduled);
  CHECK(s.cancelled == storm.cancelled);
  CHECK(s.postponed == storm.postponed);
  CHECK(s.fired == storm.ran_once + storm.ran_periodically);
  CHECK(storm.scheduled == storm.ran_once + storm.cancelled + s.live);
  CHECK(s.live > 0);
  CHECK(static_cast<std::size_t>(storm.alive.use_count()) == 1 + s.live);

  storm.wheel.shutdown();
  CHECK(storm.alive.use_count() == 1);
  io.restart();
  io.run();
  CHECK(storm.ended_waits == storm.waits);
}

TEST_CASE("Shutdown in a storm of batches ends every timer and every wait", "[threads]") {
  for (unsigned round = 0; round != 6 / scale; ++round) {
    asio::io_context io;
    batch_storm storm(io);
    std::atomic<int> refused{0};
    {
      runners running(io, 2);
      std::vector<std::thread> producers;
      for (unsigned p = 0; p != 2; ++p) {
        producers.emplace_back([&, p] {
          try {
            storm.produce(100 * round + p, std::numeric_limits<int>::max());
          } catch (const std::system_error& e) {
            refused += e.code() == kestrel::errc::shut_down;
          }
        });
      }
      while (storm.wheel.stats().fired < 100)
        std::this_thread::sleep_for(1ms);
      storm.wheel.shutdown();
      for (std::thread& t : producers)
        t.join();
      running.finish();
    }
    const auto s = storm.wheel.stats();
    CHECK(refused == 2);
    CHECK(s.cancelled == storm.cancelled);
    CHECK(s.fired == storm.ran_once + storm.ran_periodically);
    CHECK(s.scheduled >= storm.ran_once + storm.cancelled);
    CHECK(s.live == 0);
    CHECK(storm.alive.use_count() == 1);
    CHECK(storm.ended_waits == storm.waits);
  }
}

TEST_CASE("Timers that wait are counted as pending", "[threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  std::atomic<int> ran{0};
  {
    runners running(io, 2);
    std::vector<std::thread> producers;
    for (int p = 0; p != 2; ++p) {
      producers.emplace_back([&] {
        for (int i = 0; i != 20'000 / scale; ++i)
          wheel.schedule_after(i % 2 ? std::chrono::hours(1) : std::chrono::hours(-1),
                               [&ran] { ++ran; });
      });
    }
    for (std::thread& t : producers)
      t.join();
    while (ran != 20'000 / scale)
      std::this_thread::yield();
    CHECK(wheel.size() == 20'000 / scale);
    wheel.shutdown();
    running.finish(); // an empty wheel keeps no run() from returning
  }
  CHECK(ran == 20'000 / scale);
}

TEST_CASE("Shutdown in the storm", "[threads]") {
  for (int round = 0; round != 50 / scale + 1; ++round) {
    asio::io_context io;
    kestrel::timer_wheel wheel{io};
    const auto strand = asio::make_strand(io);
    const auto alive = std::make_shared<int>();
    std::atomic<bool> is_closed{false};
    std::atomic<int> after{0};
    std::atomic<int> unexpected{0};
    {
      runners running(io, 2);
      std::vector<std::thread> producers;
      for (int p = 0; p != 2; ++p) {
        producers.emplace_back([&] {
          try {
            for (int i = 0;; ++i) {
              const auto f = [&after, alive, was = is_closed.load()] { after += was; };
              const auto id =
                  i % 2 ? wheel.schedule_after(i % 7 * 100us, f)
                        : wheel.schedule_after(i % 7 * 100us, asio::bind_executor(strand, f));
              if (i % 3 == 0)
                wheel.postpone(id, 1ms);
              if (i % 5 == 0)
                wheel.cancel(id);
            }
          } catch (const std::system_error& e) {
            unexpected += e.code() != kestrel::errc::shut_down;
          }
        });
      }
      while (wheel.stats().fired < 100)
        std::this_thread::yield();
      wheel.shutdown();
      is_closed = true;
      for (std::thread& t : producers)
        t.join();
      running.finish();
    }
    CHECK(after == 0);
    CHECK(unexpected == 0);
    CHECK(wheel.empty());
    CHECK(alive.use_count() == 1);
  }
}

TEST_CASE("A strand keeps callbacks from overlapping", "[threads]") {
  constexpr int count = 20'000 / scale;
  asio::io_context io;
  const auto strand = asio::make_strand(io);
  kestrel::timer_wheel bound{io};
  kestrel::timer_wheel on_strand{strand};
  int unguarded = 0; // a data race if two callbacks overlap
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  const auto f = [&] {
    overlaps += inside++ != 0;
    ++unguarded;
    --inside;
  };
  for (int i = 0; i != count; ++i) {
    bound.schedule_after(i % 50 * 100us, asio::bind_executor(strand, f));
    on_strand.schedule_after(i % 50 * 100us, f);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i)
    threads.emplace_back([&io] { io.run(); });
  for (std::thread& t : threads)
    t.join();
  CHECK(unguarded == 2 * count);
  CHECK(overlaps == 0);
}

TEST_CASE("A periodic callback does not overlap itself", "[threads]") {
  asio::io_context io;
  kestrel::timer_wheel wheel{
      io, kestrel::wheel_config{.l0_tick = 10us, .l0_slots = 512, .l1_tick = 1ms, .l1_slots = 64}};
  std::atomic<int> inside{0};
  std::atomic<int> overlaps{0};
  std::uint64_t periods = 0; // a data race if it overlaps itself
  int ran = 0;
  wheel.schedule_every(0ms, 10us, [&](kestrel::timer_id id, std::uint64_t missed) {
    overlaps += inside++ != 0;
    periods += 1 + missed;
    std::this_thread::yield();
    --inside;
    if (++ran == 5'000 / scale)
      wheel.cancel(id);
  });
  std::vector<std::thread> threads;
  for (int i = 0; i != 4; ++i)
    threads.emplace_back([&io] { io.run(); });
  for (std::thread& t : threads)
    t.join();
  CHECK(overlaps == 0);
  CHECK(ran == 5'000 / scale);
  CHECK(periods >= static_cast<std::uint64_t>(ran));
  CHECK(wheel.stats().missed_periods == periods - static_cast<std::uint64_t>(ran));
}

TEST_CASE("Threads share the work of one batch", "[threads]") {
  // Two callbacks that wait for one another can only end if two threads run them.
  const kestrel_tests::at_start clock;
  asio::io_context io;
  kestrel_tests::manual_wheel wheel{io};
  std::atomic<int> met{0};
  const auto meet = [&met] {
    ++met;
    while (met < 2)
      std::this_thread::yield();
  };
  wheel.schedule_after(10ms, meet);
  wheel.schedule_after(10ms, meet);
  kestrel_tests::manual_clock::advance(10ms);
  std::thread other([&io] { io.run(); });
  io.run();
  other.join();
  CHECK(met == 2);
}
