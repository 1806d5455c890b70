// SPDX-License-Identifier: MIT
//
// What including asio/steady_timer.hpp costs: see cmake/include_cost.cmake.

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>

#if defined(USED)
int main() {
  asio::io_context io;
  asio::steady_timer timer(io, std::chrono::milliseconds(1));
  timer.async_wait([](const asio::error_code&) {});
  io.run();
}
#endif
