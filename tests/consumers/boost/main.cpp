// SPDX-License-Identifier: MIT
//
// A program on Boost.Asio.

#include <kestrel/kestrel.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <cstdio>

#ifdef ASIO_STANDALONE
#error "kestrel::boost must not pass on anything of standalone Asio's"
#endif

int main() {
  boost::asio::io_context io;
  kestrel::timer_wheel wheel{io};

  boost::system::error_code error = boost::asio::error::operation_aborted;
  wheel.async_wait_after(std::chrono::milliseconds(1),
                         [&](boost::system::error_code ec) { error = ec; });
  io.run();

  std::puts(error ? "the wait failed" : "kestrel " KESTREL_VERSION_STRING);
  return error ? 1 : 0;
}
