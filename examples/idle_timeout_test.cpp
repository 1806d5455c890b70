// SPDX-License-Identifier: MIT
//
// How to test timeouts: three weeks of them in milliseconds, with kestrel::testing::virtual_time.
//
// `connection` stands for code of a program, which knows nothing of tests: a wheel, a socket, an
// idle timeout of half an hour that whatever comes in postpones. The tests below it run the very
// same code under virtual time, with a real socket at the other end. With a test framework, each
// function would be a test case, and `check` its assertion.

#include <kestrel/testing.hpp>
#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/buffer.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <string_view>
#include <utility>

using asio::ip::tcp;
using namespace std::chrono_literals;

// ---- The program: connection.hpp

namespace {

constexpr auto idle_timeout = 30min;

class connection {
public:
  connection(kestrel::timer_wheel& wheel, tcp::socket socket)
      : socket_{std::move(socket)}, idle_{wheel, wheel.schedule_after(idle_timeout, [this] {
                                            close();
                                          })} {
    read();
  }

  bool is_open() const { return socket_.is_open(); }
  std::size_t received() const { return received_; }

private:
  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [this](asio::error_code error, std::size_t n) {
      if (error) {
        return close();
      }
      received_ += n;
      idle_.postpone(idle_timeout);
      read();
    });
  }

  void close() {
    idle_.cancel();
    asio::error_code ignored;
    socket_.close(ignored);
  }

  tcp::socket socket_;
  std::array<char, 512> chunk_{};
  std::size_t received_ = 0;
  kestrel::scoped_timer idle_;
};

// ---- The tests

bool all_true = true;

void check(bool truth, std::string_view what) {
  std::cout << (truth ? "ok\t" : "NOT TRUE\t") << what << '\n';
  all_true = all_true && truth;
}

// What each test begins with. The order matters: virtual time comes before the first wheel.
struct fixture {
  asio::io_context io;
  kestrel::testing::virtual_time time{io};
  kestrel::timer_wheel wheel{io};
  tcp::socket client{io};
  connection server{wheel, connect()};

  tcp::socket connect() {
    tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    client.connect(acceptor.local_endpoint());
    return acceptor.accept();
  }

  void send(std::string_view text) {
    asio::write(client, asio::buffer(text));
    time.run_until_idle(); // until the connection has read it
  }
};

void a_silent_connection_is_closed_after_half_an_hour() {
  fixture f;
  f.time.advance(30min - 1s);
  check(f.server.is_open(), "a second before its timeout, a connection is open");
  f.time.advance(1s);
  check(!f.server.is_open(), "half an hour of silence closes it");
  check(f.io.stopped(), "and then nothing is left to do");
}

void traffic_keeps_a_connection_open() {
  fixture f;
  const auto start = f.time.now();
  for (int i = 0; i != 1000; ++i) {
    f.send("hello");
    f.time.advance(29min);
  }
  check(f.server.is_open(), "traffic keeps a connection open for weeks");
  check(f.server.received() == 5000, "all of it was received");

  check(f.time.advance_to_next(), "there is one timer left");
  check(!f.server.is_open(), "which closes the connection");
  check(f.time.now() - start == 1000 * 29min + 1min, "half an hour after the last message");
}

void a_connection_that_ends_leaves_no_timer_behind() {
  fixture f;
  f.client.close();
  check(f.time.run_until_done(1min), "no timer is left when the client has gone");
  check(!f.server.is_open(), "nor a socket");
}

} // namespace

int main() {
  const auto begin = std::chrono::steady_clock::now();
  a_silent_connection_is_closed_after_half_an_hour();
  traffic_keeps_a_connection_open();
  a_connection_that_ends_leaves_no_timer_behind();
  const auto took = std::chrono::steady_clock::now() - begin;
  std::cout << (all_true ? "all as it should be, in " : "this went wrong, in ") << took / 1ms
            << " ms\n";
  return all_true ? 0 : 1;
}
