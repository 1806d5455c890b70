// SPDX-License-Identifier: MIT
//
// The echo server of the demo under a fixed load: what a message costs it with its timers on a
// timer_wheel, with asio::steady_timers, and without any. For each message an idle timeout is
// postponed, and a deadline is armed and cancelled.
//
//   cmake -DBENCH=echo_server -P cmake/bench.cmake
//
// Thousands of clients send a message every quarter of a second each. The figures are nanoseconds
// of processor time of the server's thread, kernel included, per message; the clients have a thread
// of their own. `messages_per_second` is what the server got to answer.

#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/packaged_task.hpp>
#include <asio/post.hpp>
#include <asio/read.hpp>
#include <asio/socket_base.hpp>
#include <asio/write.hpp>

#include <benchmark/benchmark.h>

#include "../examples/echo_server/options.hpp"
#include "../examples/echo_server/process.hpp"
#include "../examples/echo_server/protocol.hpp"
#include "../examples/echo_server/server.hpp"
#include "../examples/echo_server/timers.hpp"
#include "run.hpp"
#include "workload.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace kestrel_bench;
using asio::ip::tcp;

constexpr clock_type::duration pause_of_a_client = 250ms;

/// Clients that take turns: each reads the echo of its message and sends the next one.
class clients {
public:
  clients(const tcp::endpoint& server, std::size_t n) {
    demo::append_frame(message_, demo::frame_type::message, std::string(100, 'x'));
    echo_.resize(message_.size());
    while (sockets_.size() != n) {
      tcp::socket& s = sockets_.emplace_back(io_);
      s.connect(server);
      s.set_option(tcp::no_delay(true));
      s.set_option(asio::socket_base::linger(true, 0)); // leaves no port behind that has to wait
      send(s);
    }
  }

  void run_for(clock_type::duration d) {
    constexpr clock_type::duration breath = 1ms;
    const clock_type::time_point start = clock_type::now();
    std::size_t done = 0;
    for (clock_type::duration t = breath; t <= d; t += breath) {
      std::this_thread::sleep_until(start + t);
      const auto due = sockets_.size() * static_cast<std::size_t>(t / breath) /
                       static_cast<std::size_t>(pause_of_a_client / breath);
      for (; done != due; ++done) {
        tcp::socket& s = sockets_[next_];
        next_ = (next_ + 1) % sockets_.size();
        asio::read(s, asio::buffer(echo_));
        if (echo_.compare(1, std::string::npos, message_, 1) != 0)
          throw std::runtime_error("that is no echo");
        send(s);
      }
    }
  }

private:
  void send(tcp::socket& s) { asio::write(s, asio::buffer(message_)); }

  asio::io_context io_;
  std::vector<tcp::socket> sockets_;
  std::size_t next_ = 0;
  std::string message_;
  std::string echo_;
};

template <class Timers>
void echo(benchmark::State& state, clock_type::duration length) {
  using executor = asio::io_context::executor_type;
  demo::options settings;
  settings.heartbeat = 1h; // what it sends is no cost of timers
  asio::io_context io{1};
  Timers timers{io};
  demo::server<Timers, executor> server{io, settings, timers};
  const tcp::endpoint endpoint = server.listen(1).front();
  std::thread thread([&io] { io.run(); });
  const auto server_seconds = [&io] {
    return asio::post(io, std::packaged_task<double()>(demo::thread_cpu_seconds)).get();
  };
  {
    clients all(endpoint, static_cast<std::size_t>(state.range(0)));
    all.run_for(length);
    for (auto _ : state) {
      const double seconds = server_seconds();
      const std::uint64_t messages = server.counters().echoed;
      all.run_for(length);
      const auto answered = static_cast<double>(server.counters().echoed - messages);
      state.SetIterationTime((server_seconds() - seconds) / answered);
      state.counters["messages_per_second"] =
          answered / std::chrono::duration<double>(length).count();
    }
    if (server.counters().closed_idle != 0 || server.counters().expired != 0)
      state.SkipWithError("a timeout was reached");
  }
  server.stop();
  thread.join();
}

void register_all(bool quick) {
  const std::size_t room = demo::raise_descriptor_limit() / 2 - 64;
  const auto connections = static_cast<std::int64_t>(std::min<std::size_t>(room, 5000));
  const clock_type::duration length = quick ? 1s : 2s;
  const auto add = [&](const char* name, void (*f)(benchmark::State&, clock_type::duration)) {
    benchmark::RegisterBenchmark(name, f, length)
        ->Arg(connections)
        ->Iterations(1)
        ->Repetitions(quick ? 3 : 9)
        ->UseManualTime();
  };
  add("echo/none", echo<demo::no_timers>);
  add("echo/timer_wheel", echo<demo::kestrel_timers>);
  add("echo/asio", echo<demo::asio_timers>);
}

} // namespace

int main(int argc, char** argv) { return run(argc, argv, register_all); }
