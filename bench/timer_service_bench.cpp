// SPDX-License-Identifier: MIT
//
// timer_service against what one would write without it: a wheel whose callbacks send the id of
// their timer into Asio's concurrent_channel. A hundred thousand one-shot timers are due at once,
// and one consumer receives on the thread that runs the callbacks, one by one or all there is.
//
//   cmake -DBENCH=timer_service -P cmake/bench.cmake
//
// The times are of the processor: the benchmark's for firing and receiving, for each timer,
// `per_notification_ns` for each that was received, `schedule_ns` for scheduling each. `lost` says
// how many never were received, `waiting` how many had to wait in an operation of their own since
// the channel was full.

#include <kestrel/timer_service.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/experimental/concurrent_channel.hpp>
#include <asio/io_context.hpp>

#include <benchmark/benchmark.h>

#include "run.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <initializer_list>

namespace {

using namespace kestrel_bench;
using namespace std::chrono_literals;

constexpr std::size_t timers = 100'000;

/// How many of the timers of a round have been received, lost, or had to wait in an operation of
/// their own. Ends the round.
struct tally {
  asio::io_context& io;
  std::size_t received = 0;
  std::size_t lost = 0;
  std::size_t waiting = 0;

  void check() {
    if (received + lost == timers)
      io.stop();
  }
};

struct by_service {
  by_service(kestrel::timer_wheel& wheel, std::size_t capacity, tally&)
      : service(wheel, {.capacity = capacity}) {}

  void schedule() { service.schedule_after(0s); }

  template <class Handler>
  void receive(Handler&& handler) {
    service.async_receive(handler);
  }

  template <class Handler>
  bool try_receive(Handler&& handler) {
    const auto notification = service.try_receive();
    if (notification)
      handler(asio::error_code(), *notification);
    return notification.has_value();
  }

  kestrel::timer_service service;
};

using channel_type =
    asio::experimental::concurrent_channel<void(asio::error_code, kestrel::timer_id)>;

/// Drops what the channel has no room for.
struct by_channel {
  by_channel(kestrel::timer_wheel& w, std::size_t capacity, tally& t)
      : wheel(w), channel(t.io, capacity), counted(t) {}

  void schedule() {
    wheel.schedule_after(0s, [this](kestrel::timer_id id) {
      if (channel.try_send(asio::error_code(), id))
        return;
      ++counted.lost;
      counted.check();
    });
  }

  template <class Handler>
  void receive(Handler&& handler) {
    channel.async_receive(handler);
  }

  template <class Handler>
  bool try_receive(Handler&& handler) {
    return channel.try_receive(handler);
  }

  kestrel::timer_wheel& wheel;
  channel_type channel;
  tally& counted;
};

/// Drops nothing: what the channel has no room for waits, in an operation of its own.
struct by_channel_and_waiting : by_channel {
  using by_channel::by_channel;

  void schedule() {
    wheel.schedule_after(0s, [this](kestrel::timer_id id) {
      if (channel.try_send(asio::error_code(), id))
        return;
      ++counted.waiting;
      channel.async_send(asio::error_code(), id, [](asio::error_code) {});
    });
  }
};

/// How the consumer receives: waiting for each, or taking with it what is there.
enum reading { one_by_one, all_there_is };

template <class Notifier, reading How>
struct consumer {
  Notifier& notifier;
  tally& counted;

  template <class Notification>
  void operator()(asio::error_code error, const Notification&) const {
    if (error)
      return;
    ++counted.received;
    if constexpr (How == all_there_is) {
      while (notifier.try_receive([this](asio::error_code, auto&&) { ++counted.received; }))
        continue;
    }
    counted.check();
    notifier.receive(*this);
  }
};

double ns_since(std::clock_t begin) {
  return static_cast<double>(std::clock() - begin) * (1e9 / CLOCKS_PER_SEC);
}

template <class Notifier, reading How>
void fire_at_once(benchmark::State& state) {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  wheel.reserve(timers);
  tally counted{io};
  Notifier notifier(wheel, static_cast<std::size_t>(state.range(0)), counted);
  notifier.receive(consumer<Notifier, How>{notifier, counted});
  double schedule_ns = 0;
  double fire_ns = 0;
  double received = 0;
  double lost = 0;
  double waiting = 0;
  double rounds = 0;
  while (state.KeepRunningBatch(timers)) {
    ++rounds;
    counted.received = counted.lost = counted.waiting = 0;
    const auto begin = std::clock();
    for (std::size_t i = 0; i != timers; ++i)
      notifier.schedule();
    schedule_ns += ns_since(begin);

    io.restart();
    const auto due = std::clock();
    io.run();
    const double took = ns_since(due);
    state.SetIterationTime(took / 1e9);
    fire_ns += took;
    received += static_cast<double>(counted.received);
    lost += static_cast<double>(counted.lost);
    waiting += static_cast<double>(counted.waiting);
  }
  state.counters["per_notification_ns"] = fire_ns / received;
  state.counters["lost"] = lost / rounds;
  state.counters["waiting"] = waiting / rounds;
  state.counters["schedule_ns"] = schedule_ns / rounds / static_cast<double>(timers);
}

void register_all(bool quick) {
  const auto add = [quick](const char* name, void (*f)(benchmark::State&),
                           std::initializer_list<std::int64_t> capacities) {
    for (const std::int64_t capacity : capacities)
      benchmark::RegisterBenchmark(name, f)
          ->Arg(capacity)
          ->MinTime(quick ? 0.02 : 0.2)
          ->UseManualTime();
  };
  add("one_by_one/timer_service", fire_at_once<by_service, one_by_one>, {1000});
  add("one_by_one/channel", fire_at_once<by_channel, one_by_one>, {1000, timers});
  add("one_by_one/waiting", fire_at_once<by_channel_and_waiting, one_by_one>, {1000});
  add("all_there_is/timer_service", fire_at_once<by_service, all_there_is>, {1000});
  add("all_there_is/channel", fire_at_once<by_channel, all_there_is>, {1000, timers});
  add("all_there_is/waiting", fire_at_once<by_channel_and_waiting, all_there_is>, {1000});
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
