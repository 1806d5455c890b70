// SPDX-License-Identifier: MIT
//
// Four clients: one falls silent after its answer, one does not come to the end of its request, one
// waits for an answer that never comes, and one asks again and again, for longer than any timeout.
// The server has to close the first three, not before their time, and to leave the fourth alone.

#include "timeouts.hpp"

#include "../told.hpp"

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
#include <string_view>

namespace web {
namespace {

using asio::ip::tcp;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

constexpr auto request_timeout = 900ms;
constexpr auto handling_timeout = 600ms;
constexpr auto patience = 20s; // for what has to come some time

// Sends one text after connecting and another one periodically, so many times, and then closes its
// side; with no such number it leaves the end to the server.
struct behaviour {
  std::string_view name;
  std::string_view first;
  std::string_view then;
  int times = 0;
};

class client {
public:
  client(kestrel::timer_wheel& wheel, std::uint16_t port, const behaviour& how)
      : socket_{wheel.get_executor()}, how_{how}, left_{how.times} {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    send(how_.first);
    read();
    sending_ = {wheel, wheel.schedule_every(100ms, 100ms, [this] { send_more(); })};
  }

  bool is_closed() const { return ended_ != clock_type::time_point{}; }
  bool closed_itself() const { return closed_itself_; }
  std::size_t received() const { return received_; }
  clock_type::duration lasted() const { return ended_ - began_; }
  clock_type::duration longest_silence() const { return longest_silence_; }

private:
  void send(std::string_view text) {
    asio::error_code ignored; // the reader will meet it too
    asio::write(socket_, asio::buffer(text.data(), text.size()), ignored);
  }

  void send_more() {
    if (how_.then.empty()) {
      sending_.cancel();
    } else if (how_.times == 0 || left_-- > 0) {
      send(how_.then);
    } else {
      sending_.cancel();
      closed_itself_ = true;
      asio::error_code ignored;
      socket_.shutdown(tcp::socket::shutdown_send, ignored);
    }
  }

  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [this](asio::error_code error, std::size_t n) {
      const auto now = clock_type::now();
      longest_silence_ = std::max(longest_silence_, now - last_heard_);
      last_heard_ = now;
      received_ += n;
      error ? end(now) : read();
    });
  }

  void end(clock_type::time_point now) {
    ended_ = now;
    sending_.cancel();
    std::cout << "  " << how_.name << (closed_itself_ ? " ends" : " is closed") << " after "
              << lasted() / 1ms << " ms\n";
    asio::error_code ignored;
    socket_.close(ignored);
  }

  tcp::socket socket_;
  behaviour how_;
  int left_;
  bool closed_itself_ = false;
  std::array<char, 1024> chunk_{};
  std::size_t received_ = 0;
  clock_type::time_point began_ = clock_type::now(); // of all, the server hears of it later
  clock_type::time_point last_heard_ = began_;
  clock_type::time_point ended_;
  clock_type::duration longest_silence_{};
  kestrel::scoped_timer sending_;
};

} // namespace

bool timeouts_work(backend timers) {
  server_settings settings;
  settings.timers = timers;
  settings.threads = 2;
  settings.check_period = 50ms;
  settings.request_timeout = request_timeout;
  settings.handling_timeout = handling_timeout;
  const auto server = start_server(settings);
  std::cout << name_of(timers) << ": " << request_timeout / 1ms << " ms for a request to come, "
            << handling_timeout / 1ms << " ms for its answer\n";

  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  constexpr std::string_view hello = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  const client silent{wheel, server->port(), {"silent", hello, {}}};
  const client slow{wheel, server->port(), {"slow", "GET / HTTP/1.1\r\n", "X: y\r\n"}};
  const client waiting{wheel, server->port(), {"waiting", "GET /never HTTP/1.1\r\n\r\n", {}}};
  const client busy{wheel, server->port(), {"busy", hello, hello, 20}};
  io.run_for(patience);

  using told::check;
  check(silent.is_closed() && slow.is_closed() && waiting.is_closed(), "the server closes them");
  check(silent.received() > 0, "the silent client has its answer");
  check(silent.lasted() >= request_timeout, "it is not closed early");
  check(slow.received() == 0, "the slow client has none");
  check(slow.lasted() >= request_timeout, "it is not closed early");
  check(waiting.received() == 0, "the waiting client has none");
  check(waiting.lasted() >= handling_timeout, "it is not closed early");
  check(busy.is_closed() && busy.received() >= silent.received(), "the busy client is served");
  if (busy.longest_silence() < request_timeout / 2) { // else this machine is too slow to tell
    check(busy.closed_itself(), "the busy client is not closed by the server");
    check(busy.received() == 21 * silent.received(), "it has all its answers");
  }
  return told::all_true;
}

} // namespace web
