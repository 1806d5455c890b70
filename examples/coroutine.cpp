// SPDX-License-Identifier: MIT
//
// A timeout in a coroutine, for whichever operation it waits for.

#include <kestrel/cancel_after.hpp>

#include <asio.hpp>
#include <chrono>
#include <iostream>
#include <system_error>

using namespace std::chrono_literals;

asio::awaitable<void> echo(asio::ip::tcp::socket peer) {
  try {
    char data[1024];
    for (;;) {
      const std::size_t n = co_await peer.async_read_some(
          asio::buffer(data), kestrel::cancel_after(200ms, asio::use_awaitable));
      co_await asio::async_write(peer, asio::buffer(data, n), asio::use_awaitable);
    }
  } catch (const std::system_error& e) {
    const bool silent = e.code() == asio::error::operation_aborted;
    std::cout << (silent ? "the peer was silent" : e.what()) << '\n';
  }
}

int main() {
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
  asio::ip::tcp::socket client(io);
  client.connect(acceptor.local_endpoint());
  asio::co_spawn(io, echo(acceptor.accept()), asio::detached);
  io.run();
}
