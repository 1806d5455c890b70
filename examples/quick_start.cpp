// SPDX-License-Identifier: MIT
//
// Kestrel in a minute: an idle timeout that traffic postpones, a deadline that is cancelled in
// time, and a heartbeat.

#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <iostream>

using namespace std::chrono_literals;

int main() {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};

  const kestrel::timer_id heartbeat =
      wheel.schedule_every(100ms, 100ms, [] { std::cout << "heartbeat\n"; });

  const kestrel::timer_id idle = wheel.schedule_after(200ms, [&] {
    std::cout << "idle for too long, closing\n";
    wheel.cancel(heartbeat); // the last timer: run() returns
  });

  const kestrel::timer_id deadline = wheel.schedule_after(1s, [] { std::cout << "too slow\n"; });

  wheel.schedule_after(150ms, [&] {
    std::cout << "the answer came, " << (wheel.cancel(deadline) ? "in time" : "too late") << '\n';
    wheel.postpone(idle, 300ms); // traffic
  });

  io.run();
}
