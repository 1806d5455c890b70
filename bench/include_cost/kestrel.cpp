// SPDX-License-Identifier: MIT
//
// What including kestrel/timer_wheel.hpp costs: see cmake/include_cost.cmake.

#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#if defined(USED)
int main() {
  asio::io_context io;
  kestrel::timer_wheel wheel(io);
  wheel.schedule_after(std::chrono::milliseconds(1), [] {});
  io.run();
}
#endif
