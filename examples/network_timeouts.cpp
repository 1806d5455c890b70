// SPDX-License-Identifier: MIT
//
// The two timeouts that a server needs, on one wheel for all connections. `session` echoes lines.
// Its idle timeout is postponed by all that arrives, which costs next to nothing; its deadline
// starts with the first byte of a request and is not moved by the others, and so ends what the idle
// timeout does not: a client that sends a byte now and then for ever (a "slow loris"). Three
// clients show it: one is served, one falls silent, one is a slow loris.

#include "told.hpp"

#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/buffer.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

using asio::ip::tcp;
using namespace std::chrono_literals;
using clock_type = kestrel::timer_wheel::clock_type;

namespace {

using told::check;
using told::tell;

constexpr auto idle_timeout = 300ms;
constexpr auto request_deadline = 500ms;

// How connections ended.
struct tally {
  int by_client = 0;
  int idle = 0;
  int too_slow = 0;
};

// One connection. What it reads into keeps it alive; its timers need not, since they are members
// that cancel: a callback that has not started when the session ends never will.
//
// All runs on the wheel's executor: let that be a strand if several threads run the context.
class session : public std::enable_shared_from_this<session> {
public:
  session(kestrel::timer_wheel& wheel, tcp::socket socket, tally& ended)
      : wheel_{wheel}, socket_{std::move(socket)}, ended_{ended} {}

  void start() {
    last_traffic_ = clock_type::now();
    idle_ = {wheel_, wheel_.schedule_after(idle_timeout, [this] {
               check(clock_type::now() - last_traffic_ >= idle_timeout, "no idle timeout is early");
               tell("server") << "closes a connection that is idle\n";
               end(ended_.idle);
             })};
    read();
  }

private:
  void read() {
    socket_.async_read_some(asio::buffer(chunk_),
                            [self = shared_from_this()](asio::error_code error, std::size_t n) {
                              self->on_read(error, n);
                            });
  }

  void on_read(asio::error_code error, std::size_t n) {
    if (error) {
      return end(ended_.by_client);
    }
    last_traffic_ = clock_type::now();
    idle_.postpone(idle_timeout);
    if (request_.empty()) {
      request_began_ = last_traffic_;
      deadline_ = {wheel_, wheel_.schedule_after(request_deadline, [this] {
                     check(clock_type::now() - request_began_ >= request_deadline,
                           "no deadline is early");
                     tell("server") << "closes a connection that is too slow\n";
                     end(ended_.too_slow);
                   })};
    }
    request_.append(chunk_.data(), n);
    if (request_.back() != '\n') { // a server would look for the end of the first request
      return read();
    }
    deadline_.cancel();
    asio::async_write(socket_, asio::buffer(request_),
                      [self = shared_from_this()](asio::error_code e, std::size_t) {
                        self->request_.clear();
                        e ? self->end(self->ended_.by_client) : self->read();
                      });
  }

  // Once: by a timer, or by the operation that fails because a timer closed the socket.
  void end(int& how) {
    if (!socket_.is_open()) {
      return;
    }
    ++how;
    idle_.cancel();
    deadline_.cancel();
    asio::error_code ignored;
    socket_.close(ignored);
  }

  kestrel::timer_wheel& wheel_;
  tcp::socket socket_;
  tally& ended_;
  std::string request_;
  std::array<char, 512> chunk_{};
  clock_type::time_point last_traffic_;
  clock_type::time_point request_began_;
  kestrel::scoped_timer idle_;
  kestrel::scoped_timer deadline_;
};

void accept(tcp::acceptor& acceptor, kestrel::timer_wheel& wheel, tally& ended) {
  acceptor.async_accept([&](asio::error_code error, tcp::socket socket) {
    if (error) {
      return;
    }
    std::make_shared<session>(wheel, std::move(socket), ended)->start();
    accept(acceptor, wheel, ended);
  });
}

// Sends `text` again and again, so many times, and notes what comes back until it is closed.
class client {
public:
  client(kestrel::timer_wheel& wheel, const tcp::endpoint& server, std::string_view name,
         std::string_view text, int times, std::chrono::milliseconds pause, bool closes_itself)
      : socket_{wheel.get_executor()}, name_{name}, left_{times}, closes_itself_{closes_itself} {
    socket_.connect(server);
    tell(name_) << "connects\n";
    read();
    sending_ = {wheel, wheel.schedule_every(0ms, pause, [this, text] { send(text); })};
  }

  std::size_t received() const { return received_; }
  clock_type::duration lasted() const { return ended_ - began_; }

private:
  void send(std::string_view text) {
    asio::error_code error;
    if (left_ > 0) {
      --left_;
      asio::write(socket_, asio::buffer(text), error);
    } else {
      sending_.cancel();
      if (closes_itself_) {
        socket_.shutdown(tcp::socket::shutdown_send, error);
      }
    }
  }

  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [this](asio::error_code error, std::size_t n) {
      received_ += n;
      if (!error) {
        return read();
      }
      ended_ = clock_type::now();
      sending_.cancel();
      tell(name_) << "is closed, after " << lasted() / 1ms << " ms and " << received_ << " bytes\n";
      asio::error_code ignored;
      socket_.close(ignored);
    });
  }

  tcp::socket socket_;
  std::string_view name_;
  int left_;
  bool closes_itself_;
  std::array<char, 512> chunk_{};
  std::size_t received_ = 0;
  clock_type::time_point began_ = clock_type::now();
  clock_type::time_point ended_;
  kestrel::scoped_timer sending_;
};

} // namespace

int main() {
  asio::io_context io;
  kestrel::timer_wheel wheel{io, kestrel::wheel_config::network_timeouts()};
  tcp::acceptor acceptor{io, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
  const tcp::endpoint server = acceptor.local_endpoint();
  tally ended;
  accept(acceptor, wheel, ended);

  client polite{wheel, server, "polite", "hello\n", 14, 60ms, true};
  client silent{wheel, server, "silent", "bye\n", 1, 60ms, false};
  client loris{wheel, server, "loris", "x", 1000, 20ms, false};
  wheel.schedule_after(1500ms, [&] { acceptor.close(); });
  io.run();

  check(polite.received() == 14 * 6, "the polite client is served to its end");
  check(polite.lasted() > idle_timeout + request_deadline, "which is longer than both timeouts");
  check(silent.received() == 4 && silent.lasted() >= idle_timeout, "the silent one was idle");
  check(loris.received() == 0 && loris.lasted() >= request_deadline, "the slow loris was too slow");
  check(ended.by_client == 1 && ended.idle == 1 && ended.too_slow == 1, "each ended as it should");
  check(wheel.empty(), "no timer is left");
  return told::verdict();
}
