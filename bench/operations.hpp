// SPDX-License-Identifier: MIT
//
// The operations that every competitor is put through, each with so many timers pending, and the
// check that no timer got lost or fired twice meanwhile. A competitor is a class like this:
//
//   explicit timers(std::size_t n);       room for timers number 0 to n - 1, none of them armed
//   void arm(std::size_t i, duration);    one that is not armed; its callback counts in fired()
//   bool cancel(std::size_t i);           true if it was armed
//   void reset(std::size_t i, duration);  one that is armed: to so long from now
//   void turn(ticks n);                   runs what is due, after n ticks if moves_time
//   void in_handler(F f);                 if it is for handlers: calls f in one, and then those
//                                         of cancelled timers
//   std::uint64_t fired() const;
//   using duration = ...;                 of delays
//   static constexpr bool moves_time;     if not, the competitor reads a clock

#ifndef KESTREL_BENCH_OPERATIONS_HPP
#define KESTREL_BENCH_OPERATIONS_HPP

#include <benchmark/benchmark.h>

#include "resources.hpp"
#include "workload.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace kestrel_bench {

/// A competitor whose timers are all armed for 30 to 60 s from now, and some more that are not.
template <class Timers>
class stage {
public:
  using duration = typename Timers::duration;

  static constexpr std::size_t batch = 64; // operations in one handler

  explicit stage(std::size_t n)
      : n_{n},
        arming_order_(n),
        cancelling_order_(n),
        bytes_{allocated_bytes()},
        timers_(n + n / 8) {
    shuffle(arming_order_);
    shuffle(cancelling_order_);
    const clock_type::time_point start = clock_type::now();
    arm_all();
    arming_ = clock_type::now() - start;
    bytes_ = allocated_bytes() - bytes_;
  }

  [[nodiscard]] std::size_t size() const { return n_; }
  [[nodiscard]] std::size_t spare() const { return n_ / 8; }
  [[nodiscard]] std::size_t any() { return random.below(n_); }
  [[nodiscard]] double bytes_per_timer() const {
    return static_cast<double>(bytes_) / static_cast<double>(n_);
  }

  void arm(std::size_t i, duration delay) {
    timers_.arm(i, delay);
    ++armed_;
  }
  void cancel(std::size_t i) { cancelled_ += timers_.cancel(i) ? 1u : 0u; }
  void reset(std::size_t i, duration delay) { timers_.reset(i, delay); }
  void turn(ticks n) { timers_.turn(n); }
  /// Does a batch of operations where a program would.
  template <class F>
  void perform(F&& operations) {
    kestrel_bench::perform(timers_, operations);
  }

  [[nodiscard]] std::uint64_t pending() const { return armed_ - cancelled_ - timers_.fired(); }
  [[nodiscard]] std::uint64_t fired() const { return timers_.fired(); }

  void cancel_all() {
    for_all(cancelling_order_, [this](std::size_t i) { cancel(i); });
  }
  void arm_all() {
    for_all(arming_order_, [this](std::size_t i) { arm(i, random.delay()); });
  }

  /// Cancels all, and arms them anew for a time within `length` that begins in `lead` at the
  /// earliest: when all of them are armed. Returns how long it is to the end of that.
  duration arm_all_within(duration lead, duration length) {
    cancel_all();
    if constexpr (Timers::moves_time) {
      for_all(arming_order_,
              [&](std::size_t i) { arm(i, lead + random.between(duration(0), length)); });
      return lead + length;
    } else {
      for (lead = std::max<duration>(lead, 2 * arming_ + 5ms);; lead *= 2) {
        const auto begin = clock_type::now() + lead;
        for_all(arming_order_, [&](std::size_t i) {
          arm(i, begin + random.between(duration(0), length) - clock_type::now());
        });
        if (clock_type::now() < begin)
          return begin + length - clock_type::now();
        cancel_all(); // it took longer than ever before
      }
    }
  }

  random_numbers random;

private:
  using order = std::vector<std::uint32_t>;

  void shuffle(order& o) {
    std::iota(o.begin(), o.end(), 0u);
    for (std::size_t i = o.size(); i > 1; --i)
      std::swap(o[i - 1], o[random.below(i)]);
  }

  template <class F>
  void for_all(const order& o, F&& f) {
    for (std::size_t i = 0; i < n_; i += batch)
      perform([&] {
        for (std::size_t j = i; j != std::min(i + batch, n_); ++j)
          f(o[j]);
      });
  }

  std::size_t n_;
  // Unlike, so that neither has to do with where a timer is in memory.
  order arming_order_;
  order cancelling_order_;
  std::size_t bytes_;
  Timers timers_;
  clock_type::duration arming_{};
  std::uint64_t armed_ = 0;
  std::uint64_t cancelled_ = 0;
};

// ---- Operations: functions that do a round of them, and leave all timers armed, or none

template <class Timers>
sample schedule(stage<Timers>& s) {
  s.cancel_all();
  const stopwatch taken;
  s.arm_all();
  return taken.sample_of(s.size());
}

template <class Timers>
sample cancel(stage<Timers>& s) {
  if (s.pending() == 0)
    s.arm_all();
  const stopwatch taken;
  s.cancel_all();
  return taken.sample_of(s.size());
}

/// Does `operate()` often.
template <class Timers, class Operate>
sample stir(stage<Timers>& s, Operate operate) {
  constexpr std::size_t batches = 1 << 9;
  const stopwatch taken;
  for (std::size_t i = 0; i != batches; ++i)
    s.perform([&] {
      for (std::size_t j = 0; j != s.batch; ++j)
        operate();
    });
  return taken.sample_of(batches * s.batch);
}

template <class Timers>
sample reset(stage<Timers>& s) {
  return stir(s, [&s] { s.reset(s.any(), idle_timeout); });
}

template <class Timers>
sample cancel_and_arm(stage<Timers>& s) {
  return stir(s, [&s] {
    const std::size_t i = s.any();
    s.cancel(i);
    s.arm(i, s.random.delay());
  });
}

/// A server: of ten operations eight reset the idle timeout of a connection, one replaces it, and
/// one arms a short timer, as for a retry. Time goes on: by a tick whenever a hundredth of the
/// connections has had something to do, or with the clock. So idle timeouts are never reached.
template <class Timers>
sample server_mix(stage<Timers>& s) {
  constexpr ticks longest_retry{16};
  const std::size_t per_tick = Timers::moves_time ? std::max(s.size() / 100, s.batch) : s.batch;
  const std::size_t turns = std::max<std::size_t>((1 << 15) / per_tick, 20);
  std::size_t retry = 0;
  const auto operate = [&s, &retry] {
    switch (s.random.below(10)) {
    case 0:
      s.cancel(s.size() + retry);
      s.arm(s.size() + retry, s.random.between(ticks(1), longest_retry));
      retry = (retry + 1) % s.spare();
      break;
    case 1: {
      const std::size_t other = s.any();
      s.cancel(other);
      s.arm(other, s.random.delay());
      break;
    }
    default:
      s.reset(s.any(), idle_timeout);
    }
  };
  const stopwatch taken;
  for (std::size_t i = 0; i != turns; ++i) {
    s.perform([&] {
      for (std::size_t j = 0; j != per_tick; ++j)
        operate();
    });
    s.turn(ticks(1));
  }
  const sample result = taken.sample_of(turns * per_tick);
  s.perform([&s] {
    for (std::size_t i = 0; i != s.spare(); ++i)
      s.cancel(s.size() + i);
  });
  return result;
}

/// All timers fall due within `length`, and are run: tick by tick, or all at once by a clock that
/// has gone on.
template <class Timers>
sample expire(stage<Timers>& s, typename Timers::duration lead, typename Timers::duration length) {
  const auto rest = s.arm_all_within(lead, length);
  if constexpr (Timers::moves_time) {
    const stopwatch taken;
    for (ticks t{0}; t != rest; ++t)
      s.turn(ticks(1));
    return taken.sample_of(s.size());
  } else {
    constexpr auto latest = 60ms; // by a tick, and the lag of a coarse clock
    std::this_thread::sleep_for(rest + latest);
    const stopwatch taken;
    for (int patience = 1000; s.pending() != 0 && patience != 0; --patience)
      s.turn(ticks(0));
    return taken.sample_of(s.size());
  }
}

template <class Timers>
sample expire_within_level(stage<Timers>& s) {
  return expire(s, ticks(1), Timers::moves_time ? ticks(500) : ticks(10));
}

template <class Timers>
sample expire_across_levels(stage<Timers>& s) {
  return expire(s, ticks(600), Timers::moves_time ? ticks(500) : ticks(10));
}

template <class Timers>
sample fire(stage<Timers>& s) {
  if constexpr (Timers::moves_time)
    return expire(s, ticks(1), ticks(1));
  else
    return expire(s, 1ms, 1ms);
}

/// The whole life of timers that are an hour long: from scheduling through all there is to do with
/// them meanwhile to firing. They begin evenly within an hour, and time goes on by half a minute,
/// so that what a turn of an io_context takes, system calls, hardly counts. In virtual time only.
template <class Timers>
sample one_hour(stage<Timers>& s) {
  constexpr std::size_t turns_in_an_hour = 120;
  constexpr ticks hour = 1h;
  constexpr ticks turn = hour / ticks::rep(turns_in_an_hour);
  s.cancel_all();
  std::size_t begun = 0;
  const stopwatch taken;
  for (std::size_t i = 1; i <= 2 * turns_in_an_hour; ++i) {
    const std::size_t end = std::min(i, turns_in_an_hour) * s.size() / turns_in_an_hour;
    for (; begun != end; ++begun)
      s.arm(begun, hour - s.random.between(ticks(0), turn));
    s.turn(turn);
  }
  return taken.sample_of(s.size());
}

// ---- The same as benchmarks

constexpr std::chrono::milliseconds once{0};

/// Does rounds of `Operation` until every timer has had its turn, and then, for the figure, until
/// there are enough operations or `patience` is over; or a single round, if it is to be `once` or
/// is as long as ten million operations are.
template <class Timers, sample (*Operation)(stage<Timers>&)>
void measure(benchmark::State& state, std::chrono::milliseconds patience) {
  constexpr std::size_t enough = 1 << 21;
  constexpr std::size_t plenty = 10'000'000;
  const auto n = static_cast<std::size_t>(state.range(0));
  stage<Timers> s(n);
  const double bytes = s.bytes_per_timer();
  sample total = Operation(s);
  if (patience != once && total.operations < plenty) {
    for (std::size_t done = total.operations; done < n;)
      done += Operation(s).operations;
    total = {};
    const clock_type::time_point end = clock_type::now() + patience;
    do
      total += Operation(s);
    while (total.operations < enough && clock_type::now() < end);
  }
  for (auto _ : state)
    state.SetIterationTime(total.seconds / static_cast<double>(total.operations));
  if (s.pending() != 0 && s.pending() != s.size())
    state.SkipWithError("timers got lost, fired too often, or fell due on a machine too slow");
  if (knows_allocated_bytes)
    state.counters["bytes_per_timer"] = bytes;
}

} // namespace kestrel_bench

#endif // KESTREL_BENCH_OPERATIONS_HPP
