// SPDX-License-Identifier: MIT
//
// A program as users write it: every way of getting hold of Kestrel must be able to build it.

#include <kestrel/kestrel.hpp>

#include <asio/io_context.hpp>
#include <chrono>
#include <cstdio>

int main() {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};

  bool fired = false;
  kestrel::timer_id id = wheel.schedule_after(std::chrono::milliseconds(1), [&] { fired = true; });
  io.run();

  std::puts(fired ? "kestrel " KESTREL_VERSION_STRING : "the timer did not fire");
  return fired && id != kestrel::timer_id{} ? 0 : 1;
}
