// SPDX-License-Identifier: MIT
//
// A hundred thousand timers, or a million, that fall due in the same millisecond: how many
// callbacks run in a second, and how long a socket of the same io_context waits meanwhile.
//
//   cmake -DBENCH=due_together -P cmake/bench.cmake
//
// Another thread sends a byte to the context, waits for it to come back, and sends the next. The
// figures: nanoseconds for a callback, from the first to the last; the longest and the median time
// that a byte was on its way while callbacks ran, in microseconds. Besides, how long the longest
// cancellation takes when all timers are in one slot.

#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_wheel.hpp>
#include <kestrel/wheel.hpp>

#include <asio/buffer.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>

#include <benchmark/benchmark.h>

#include "competitors/steady_timer.hpp"
#include "competitors/timer_wheel.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace {

using namespace kestrel_bench;
using asio::ip::tcp;

/// Sends back what comes, until `is_over()`: then it stops the context.
class echo {
public:
  echo(tcp::socket& socket, std::function<bool()> is_over)
      : socket_{socket}, is_over_(std::move(is_over)) {
    read();
  }

private:
  void read() {
    asio::async_read(socket_, asio::buffer(&byte_, 1), [this](asio::error_code ec, std::size_t) {
      if (ec)
        return;
      asio::write(socket_, asio::buffer(&byte_, 1));
      if (is_over_())
        static_cast<asio::io_context&>(socket_.get_executor().context()).stop();
      else
        read();
    });
  }

  tcp::socket& socket_;
  std::function<bool()> is_over_;
  char byte_ = 0;
};

/// How long each byte was on its way there and back.
std::vector<clock_type::duration> ping(tcp::socket& socket, const std::atomic<bool>& over) {
  std::vector<clock_type::duration> taken;
  asio::error_code ec;
  for (char byte = 0; !over;) {
    const clock_type::time_point start = clock_type::now();
    asio::write(socket, asio::buffer(&byte, 1), ec);
    asio::read(socket, asio::buffer(&byte, 1), ec);
    if (ec)
      break; // the other end is closed
    taken.push_back(clock_type::now() - start);
  }
  return taken;
}

struct socket_pair {
  socket_pair(asio::io_context& io, asio::io_context& other) : near(io), far(other) {
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
    far.connect(acceptor.local_endpoint());
    near = acceptor.accept();
    near.set_option(tcp::no_delay(true));
    far.set_option(tcp::no_delay(true));
  }

  tcp::socket near;
  tcp::socket far;
};

template <class Timers>
void due_together(benchmark::State& state) {
  constexpr auto spread = 1ms;
  constexpr auto wheel_tick = 10ms;
  const auto size = static_cast<std::size_t>(state.range(0));
  Timers timers(size);
  random_numbers random;
  std::uint64_t rounds = 0;
  std::vector<clock_type::duration> waits;
  for (auto _ : state) {
    const auto arming = 5ms + size * 1us; // more than it takes
    const clock_type::time_point first = clock_type::now() + arming;
    for (std::size_t i = 0; i != size; ++i)
      timers.arm(i, first + random.between<clock_type::duration>(0ms, spread) - clock_type::now());
    std::this_thread::sleep_until(first + spread + wheel_tick);

    ++rounds;
    asio::io_context other;
    socket_pair sockets(timers.context(), other);
    const echo server(sockets.near, [&] { return timers.fired() == rounds * size; });
    std::atomic<bool> over = false;
    std::vector<clock_type::duration> taken;
    std::thread client([&] { taken = ping(sockets.far, over); });
    const clock_type::time_point start = clock_type::now();
    timers.context().restart();
    timers.context().run();
    const std::chrono::duration<double> ran = clock_type::now() - start;
    over = true;
    sockets.near.close(); // if a byte is on its way, its reading ends
    client.join();
    waits.insert(waits.end(), taken.begin(), taken.end());
    state.SetIterationTime(ran.count() / static_cast<double>(size));
  }
  std::ranges::sort(waits);
  const auto us = [](clock_type::duration d) {
    return std::chrono::duration<double, std::micro>(d).count();
  };
  state.counters["longest_us"] = us(waits.back());
  state.counters["median_us"] = us(waits[waits.size() / 2]);
}

using wheel = timer_wheel_timers<kestrel::timer_wheel>;
using kestrel_timers = steady_timers<kestrel::steady_timer, asio::io_context>;
using asio_timers = steady_timers<asio::steady_timer, asio::io_context>;

/// The longest operation when the timers of a slot, so many, are replaced one after the other,
/// again and again: the one that cleans it of those that were cancelled before.
void cleaning_one_slot(benchmark::State& state) {
  for (auto _ : state) {
    kestrel::wheel<std::uint32_t> timers;
    timers.reserve(static_cast<std::size_t>(state.range(0)));
    std::vector<kestrel::timer_id> ids;
    for (std::uint32_t i = 0; i != static_cast<std::uint32_t>(state.range(0)); ++i)
      ids.push_back(timers.insert(300, i));
    std::chrono::duration<double> longest{};
    for (int round = 0; round != 3; ++round) {
      for (kestrel::timer_id& id : ids) {
        const clock_type::time_point start = clock_type::now();
        timers.cancel(id);
        id = timers.insert(300, 0u);
        longest = std::max<std::chrono::duration<double>>(longest, clock_type::now() - start);
      }
    }
    state.SetIterationTime(longest.count());
  }
}

void register_all(bool quick) {
  const auto add = [quick](const char* name, void (*f)(benchmark::State&)) {
    benchmark::internal::Benchmark* const b = benchmark::RegisterBenchmark(name, f);
    b->Arg(100'000)->Iterations(1)->UseManualTime();
    if (!quick)
      b->Arg(1'000'000);
  };
  add("due_together/asio", due_together<asio_timers>);
  add("due_together/timer_wheel", due_together<wheel>);
  add("due_together/steady_timer", due_together<kestrel_timers>);
  add("cleaning_one_slot/wheel", cleaning_one_slot);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
