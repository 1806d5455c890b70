// SPDX-License-Identifier: MIT
//
// WebSocket++ with its timers on a Kestrel wheel. A server pings its clients, and three come: one
// chats and answers pings, one stands still after its handshake, one never begins it. The first is
// served to its end. The second does not answer a ping in time, nor the closing handshake then, and
// the third runs into the timeout of the opening handshake: both are dropped, and not early.

#include "kestrel_timers.hpp"

#include "../told.hpp"

#include <websocketpp/client.hpp>
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/config/asio_no_tls_client.hpp>
#include <websocketpp/server.hpp>

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
#include <map>
#include <string>
#include <string_view>
#include <system_error>

namespace {

using told::check;
using told::tell;

using asio::ip::tcp;
using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using websocketpp::connection_hdl;

constexpr long milliseconds_of(std::chrono::milliseconds d) { return static_cast<long>(d.count()); }

constexpr auto open_timeout = 500ms;
constexpr auto pong_timeout = 400ms;
constexpr auto close_timeout = 300ms;
constexpr auto pause = 100ms; // between an answer and the next question, of both sides
constexpr int messages = 10;
constexpr auto patience = 20s; // for what has to come some time

// What WebSocket++ keeps for us with each connection.
struct connection_data {
  clock_type::time_point pinged;
  clock_type::time_point closing;
};

struct server_config : websocketpp::config::asio {
  using connection_base = connection_data;
};

class echo_server {
public:
  explicit echo_server(asio::io_context& io) {
    endpoint_.clear_access_channels(websocketpp::log::alevel::all);
    endpoint_.clear_error_channels(websocketpp::log::elevel::all);
    endpoint_.init_asio(&io);
    endpoint_.set_open_handshake_timeout(milliseconds_of(open_timeout));
    endpoint_.set_pong_timeout(milliseconds_of(pong_timeout));
    endpoint_.set_close_handshake_timeout(milliseconds_of(close_timeout));
    endpoint_.set_message_handler([this](connection_hdl c, const auto& m) { echo(c, m); });
    endpoint_.set_open_handler([this](connection_hdl c) { ping(c); });
    endpoint_.set_pong_handler([this](connection_hdl c, const auto&) { on_pong(c); });
    endpoint_.set_pong_timeout_handler([this](connection_hdl c, const auto&) { on_no_pong(c); });
    endpoint_.set_close_handler([this](connection_hdl c) { on_end(c); });
    endpoint_.set_fail_handler([this](connection_hdl c) { on_end(c); });
    endpoint_.listen(tcp::endpoint{asio::ip::address_v4::loopback(), 0});
    endpoint_.start_accept();
  }

  unsigned short port() {
    asio::error_code error;
    return endpoint_.get_local_endpoint(error).port();
  }

  int pongs() const { return pongs_; }
  int missing_pongs() const { return missing_pongs_; }

  // How many connections ended so.
  int ended_with(std::error_code how) const {
    const auto found = ended_.find(how);
    return found == ended_.end() ? 0 : found->second;
  }

private:
  using endpoint_type = websocketpp::server<server_config>;

  void echo(connection_hdl c, const endpoint_type::message_ptr& message) {
    std::error_code ignored;
    endpoint_.send(c, message->get_payload(), message->get_opcode(), ignored);
  }

  void ping(connection_hdl c) {
    std::error_code error; // of a connection that has been closed meanwhile
    const auto connection = endpoint_.get_con_from_hdl(c, error);
    if (!error) {
      connection->pinged = clock_type::now();
      connection->ping("", error);
    }
  }

  void on_pong(connection_hdl c) {
    ++pongs_;
    endpoint_.get_con_from_hdl(c)->set_timer(milliseconds_of(pause),
                                             [this, c](std::error_code error) {
                                               if (!error) {
                                                 ping(c);
                                               }
                                             });
  }

  void on_no_pong(connection_hdl c) {
    const auto connection = endpoint_.get_con_from_hdl(c);
    connection->closing = clock_type::now();
    check(connection->closing - connection->pinged >= pong_timeout, "no pong timeout is early");
    ++missing_pongs_;
    tell("server") << "misses a pong, and closes\n";
    std::error_code ignored;
    connection->close(websocketpp::close::status::going_away, "no pong", ignored);
  }

  void on_end(connection_hdl c) {
    const auto connection = endpoint_.get_con_from_hdl(c);
    const std::error_code how = connection->get_ec();
    if (!endpoint_.is_listening()) {
      return; // the one that was to be accepted next
    }
    if (how == make_error_code(websocketpp::error::close_handshake_timeout)) {
      check(clock_type::now() - connection->closing >= close_timeout, "nor a closing handshake's");
    }
    tell("server") << "is done with a connection: " << (how ? how.message() : "closed") << '\n';
    ++ended_[how];
    if (++all_ended_ == 3) {
      endpoint_.stop_listening();
    }
  }

  endpoint_type endpoint_;
  int pongs_ = 0;
  int missing_pongs_ = 0;
  std::map<std::error_code, int> ended_;
  int all_ended_ = 0;
};

// Sends messages, each after the echo of the one before, and closes. It answers pings by itself.
class chatting_client {
public:
  chatting_client(asio::io_context& io, unsigned short port) {
    endpoint_.clear_access_channels(websocketpp::log::alevel::all);
    endpoint_.clear_error_channels(websocketpp::log::elevel::all);
    endpoint_.init_asio(&io);
    endpoint_.set_open_handler([this](connection_hdl c) { send(c); });
    endpoint_.set_message_handler([this](connection_hdl c, const auto& m) { on_echo(c, m); });
    endpoint_.set_close_handler([this](connection_hdl c) {
      closed_with_ = endpoint_.get_con_from_hdl(c)->get_remote_close_code();
    });
    std::error_code error;
    endpoint_.connect(
        endpoint_.get_connection("ws://127.0.0.1:" + std::to_string(port) + '/', error));
  }

  int echoes() const { return echoes_; }
  websocketpp::close::status::value closed_with() const { return closed_with_; }

private:
  using endpoint_type = websocketpp::client<websocketpp::config::asio_client>;

  void send(connection_hdl c) {
    std::error_code ignored;
    endpoint_.send(c, std::to_string(echoes_), websocketpp::frame::opcode::text, ignored);
  }

  void on_echo(connection_hdl c, const endpoint_type::message_ptr& message) {
    check(message->get_payload() == std::to_string(echoes_), "the echo is what was sent");
    std::error_code ignored;
    if (++echoes_ == messages) {
      return endpoint_.close(c, websocketpp::close::status::normal, "goodbye", ignored);
    }
    endpoint_.set_timer(milliseconds_of(pause), [this, c](std::error_code error) {
      if (!error) {
        send(c);
      }
    });
  }

  endpoint_type endpoint_;
  int echoes_ = 0;
  websocketpp::close::status::value closed_with_ = websocketpp::close::status::blank;
};

// A plain socket that says one thing and then nothing any more.
class dead_client {
public:
  dead_client(asio::io_context& io, unsigned short port, std::string_view name,
              std::string_view text)
      : socket_{io}, name_{name} {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    asio::write(socket_, asio::buffer(text));
    read();
  }

  bool is_dropped() const { return lasted_ != clock_type::duration::zero(); }
  clock_type::duration lasted() const { return lasted_; }

private:
  void read() {
    socket_.async_read_some(asio::buffer(chunk_), [this](asio::error_code error, std::size_t) {
      if (!error) {
        return read();
      }
      lasted_ = clock_type::now() - began_;
      tell(name_) << "is dropped after " << lasted_ / 1ms << " ms\n";
      asio::error_code ignored;
      socket_.close(ignored);
    });
  }

  tcp::socket socket_;
  std::string_view name_;
  std::array<char, 512> chunk_{};
  clock_type::time_point began_ = clock_type::now();
  clock_type::duration lasted_{};
};

constexpr std::string_view handshake = "GET / HTTP/1.1\r\n"
                                       "Host: 127.0.0.1\r\n"
                                       "Upgrade: websocket\r\n"
                                       "Connection: Upgrade\r\n"
                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                       "Sec-WebSocket-Version: 13\r\n\r\n";

} // namespace

int main() {
  asio::io_context io;
  echo_server server{io};
  const chatting_client chatting{io, server.port()};
  const dead_client still{io, server.port(), "still", handshake};
  const dead_client silent{io, server.port(), "silent", ""};
  io.run_for(patience);

  using websocketpp::error::make_error_code;
  check(chatting.echoes() == messages, "the chatting client has its echoes");
  check(chatting.closed_with() == websocketpp::close::status::normal, "and closes in good order");
  check(server.pongs() > 0, "it answers pings");
  check(server.missing_pongs() == 1, "the still client does not");
  check(still.is_dropped() && still.lasted() >= pong_timeout + close_timeout, "and is dropped");
  check(server.ended_with(make_error_code(websocketpp::error::close_handshake_timeout)) == 1,
        "since it does not answer the closing handshake either");
  check(silent.is_dropped() && silent.lasted() >= open_timeout, "the silent client is dropped");
  check(server.ended_with(make_error_code(websocketpp::error::open_handshake_timeout)) == 1,
        "since it does not begin its handshake");

  const kestrel::timer_wheel& wheel = asio::use_service<wheel_of_context>(io).wheel;
  const kestrel::timer_wheel_stats stats = wheel.stats();
  std::cout << stats.scheduled << " timers on the wheel, of which " << stats.fired << " fired and "
            << stats.cancelled << " were cancelled\n";
  check(wheel.empty(), "no timer is left");
  return told::verdict();
}
