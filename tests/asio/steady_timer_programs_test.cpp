// SPDX-License-Identifier: MIT
//
// Programs as people write them with asio::steady_timer, after Asio's tutorials and its examples of
// timeouts. Each is run with that timer and with kestrel::steady_timer, and must tell the same.

#include <kestrel/steady_timer.hpp>
#include <kestrel/use_wheel.hpp>

#include <asio/bind_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read_until.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <catch.hpp>

#include <chrono>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace kestrel_tests {
namespace programs {

using namespace std::chrono_literals;
using asio::ip::tcp;

/// What a program has told, in its order.
using story = std::vector<std::string>;

// ---- Using a timer synchronously, asynchronously, with arguments, with members, with threads

template <class Timer>
story waits_synchronously() {
  asio::io_context io;
  Timer t(io, 5ms);
  t.wait();
  const bool over = Timer::clock_type::now() >= t.expiry();
  return {over ? "over" : "early"};
}

template <class Timer>
story waits_asynchronously() {
  story told;
  asio::io_context io;
  Timer t(io, asio::chrono::milliseconds(5));
  t.async_wait([&](const asio::error_code& ec) { told.push_back("called: " + ec.message()); });
  told.push_back("waiting");
  io.run();
  told.push_back(Timer::clock_type::now() >= t.expiry() ? "over" : "early");
  return told;
}

template <class Timer>
void count_to_five(const asio::error_code& /*e*/, Timer* t, int* count, story* told) {
  if (*count == 5)
    return;
  told->push_back(std::to_string(*count));
  ++*count;
  t->expires_at(t->expiry() + asio::chrono::milliseconds(2));
  t->async_wait(std::bind(count_to_five<Timer>, std::placeholders::_1, t, count, told));
}

template <class Timer>
story binds_arguments() {
  story told;
  asio::io_context io;
  int count = 0;
  Timer t(io, asio::chrono::milliseconds(2));
  const auto first = t.expiry();
  t.async_wait(std::bind(count_to_five<Timer>, std::placeholders::_1, &t, &count, &told));
  io.run();
  told.push_back("final count " + std::to_string(count));
  told.push_back(t.expiry() - first == 10ms ? "no drift" : "drifted");
  return told;
}

template <class Timer>
class printer {
public:
  explicit printer(asio::io_context& io)
      : strand_(asio::make_strand(io)), timer1_(io, 2ms), timer2_(io, 2ms) {
    timer1_.async_wait(
        asio::bind_executor(strand_, std::bind(&printer::print, this, &printer::timer1_)));
    timer2_.async_wait(
        asio::bind_executor(strand_, std::bind(&printer::print, this, &printer::timer2_)));
  }

  story told;

private:
  void print(Timer printer::*which) {
    if (count_ == 10)
      return;
    told.push_back(std::to_string(count_++));
    Timer& timer = this->*which;
    timer.expires_at(timer.expiry() + 2ms);
    timer.async_wait(asio::bind_executor(strand_, std::bind(&printer::print, this, which)));
  }

  asio::strand<asio::io_context::executor_type> strand_;
  Timer timer1_;
  Timer timer2_;
  int count_ = 0;
};

template <class Timer>
story synchronises_handlers() {
  asio::io_context io;
  printer<Timer> p(io);
  std::thread t([&io] { io.run(); });
  io.run();
  t.join();
  return p.told;
}

// ---- A client with a deadline that an actor of its own watches

/// Sends a line to whoever connects, and then nothing more.
class silent_server {
public:
  explicit silent_server(asio::io_context& io)
      : acceptor_(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)), peer_(io) {
    acceptor_.async_accept(peer_, [this](asio::error_code ec) {
      if (!ec)
        asio::async_write(peer_, asio::buffer("hello\n", 6), [](asio::error_code, std::size_t) {});
    });
  }

  tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
  void close() { peer_.close(); }

private:
  tcp::acceptor acceptor_;
  tcp::socket peer_;
};

template <class Timer>
class client {
public:
  client(asio::io_context& io, silent_server& server)
      : server_{server}, socket_(io), deadline_(io), heartbeat_timer_(io) {}

  void start() {
    deadline_.expires_after(10s);
    socket_.async_connect(server_.endpoint(), [this](asio::error_code ec) {
      told.push_back("connected: " + ec.message());
      start_read();
      start_write();
    });
    deadline_.async_wait(std::bind(&client::check_deadline, this));
  }

  story told;

private:
  void stop() {
    stopped_ = true;
    socket_.close();
    deadline_.cancel();
    heartbeat_timer_.cancel();
    server_.close();
  }

  void start_read() {
    deadline_.expires_after(told.size() == 1 ? 10s : asio::chrono::nanoseconds(20ms));
    asio::async_read_until(socket_, asio::dynamic_buffer(input_), '\n',
                           [this](asio::error_code ec, std::size_t n) {
                             if (stopped_)
                               return;
                             if (ec)
                               return stop();
                             told.push_back("received: " + input_.substr(0, n - 1));
                             input_.erase(0, n);
                             start_read();
                           });
  }

  void start_write() {
    if (stopped_)
      return;
    asio::async_write(socket_, asio::buffer("\n", 1), [this](asio::error_code ec, std::size_t) {
      if (stopped_ || ec)
        return;
      heartbeat_timer_.expires_after(1ms);
      heartbeat_timer_.async_wait([this](asio::error_code) { start_write(); });
    });
  }

  void check_deadline() {
    if (stopped_)
      return;
    if (deadline_.expiry() <= Timer::clock_type::now()) {
      told.push_back("timed out");
      socket_.close(); // which ends the read, and that everything
      deadline_.expires_at(Timer::time_point::max());
    }
    deadline_.async_wait([this](asio::error_code) {
      if (!stopped_)
        check_deadline();
    });
  }

  silent_server& server_;
  bool stopped_ = false;
  tcp::socket socket_;
  std::string input_;
  Timer deadline_;
  Timer heartbeat_timer_;
};

template <class Timer>
story client_gives_up() {
  asio::io_context io;
  silent_server server(io);
  client<Timer> c(io, server);
  c.start();
  io.run();
  return c.told;
}

// ---- A server whose sessions have deadlines, and a timer that serves as a condition variable

template <class Timer>
class session : public std::enable_shared_from_this<session<Timer>> {
public:
  session(tcp::socket socket, story& told)
      : told_{told},
        socket_(std::move(socket)),
        input_deadline_(socket_.get_executor()),
        non_empty_output_queue_(socket_.get_executor()) {
    input_deadline_.expires_at(Timer::time_point::max());
    non_empty_output_queue_.expires_at(Timer::time_point::max()); // set to the past to wake up
  }

  void start() {
    read_line();
    check_deadline();
    await_output();
  }

private:
  void stop() {
    socket_.close();
    input_deadline_.cancel();
    non_empty_output_queue_.cancel();
  }

  bool stopped() const { return !socket_.is_open(); }

  void read_line() {
    input_deadline_.expires_after(500ms);
    auto self = this->shared_from_this();
    asio::async_read_until(socket_, asio::dynamic_buffer(input_), '\n',
                           [this, self](asio::error_code ec, std::size_t n) {
                             if (stopped())
                               return;
                             if (ec)
                               return stop();
                             output_queue_.push_back(input_.substr(0, n));
                             input_.erase(0, n);
                             non_empty_output_queue_.expires_at(Timer::time_point::min());
                             read_line();
                           });
  }

  void await_output() {
    if (stopped())
      return;
    auto self = this->shared_from_this();
    if (output_queue_.empty()) {
      non_empty_output_queue_.expires_at(Timer::time_point::max());
      non_empty_output_queue_.async_wait([this, self](asio::error_code) { await_output(); });
    } else {
      asio::async_write(socket_, asio::buffer(output_queue_.front()),
                        [this, self](asio::error_code ec, std::size_t) {
                          if (stopped())
                            return;
                          if (ec)
                            return stop();
                          output_queue_.pop_front();
                          await_output();
                        });
    }
  }

  void check_deadline() {
    auto self = this->shared_from_this();
    input_deadline_.async_wait([this, self](asio::error_code) {
      if (stopped())
        return;
      if (input_deadline_.expiry() <= Timer::clock_type::now()) {
        told_.push_back("server: no input for too long");
        stop();
      } else {
        check_deadline();
      }
    });
  }

  story& told_;
  tcp::socket socket_;
  std::string input_;
  Timer input_deadline_;
  std::deque<std::string> output_queue_;
  Timer non_empty_output_queue_;
};

/// Sends three lines, one after the other's echo, and waits for the end.
class talker {
public:
  talker(asio::io_context& io, tcp::endpoint server, story& told) : told_{told}, socket_(io) {
    socket_.async_connect(server, [this](asio::error_code) { talk(); });
  }

private:
  void talk() {
    if (said_ != 3) {
      line_ = "line " + std::to_string(++said_) + '\n';
      asio::async_write(socket_, asio::buffer(line_), [](asio::error_code, std::size_t) {});
    }
    asio::async_read_until(socket_, asio::dynamic_buffer(input_), '\n',
                           [this](asio::error_code ec, std::size_t n) {
                             if (ec)
                               return told_.push_back("client: " + ec.message());
                             told_.push_back("client: " + input_.substr(0, n - 1));
                             input_.erase(0, n);
                             talk();
                           });
  }

  story& told_;
  tcp::socket socket_;
  int said_ = 0;
  std::string line_;
  std::string input_;
};

template <class Timer>
story server_closes_idle_sessions() {
  story told;
  asio::io_context io;
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  acceptor.async_accept([&](asio::error_code, tcp::socket socket) {
    std::make_shared<session<Timer>>(std::move(socket), told)->start();
  });
  talker t(io, acceptor.local_endpoint(), told);
  io.run();
  return told;
}

// ---- The same ideas with coroutines

#if defined(ASIO_HAS_CO_AWAIT)

/// Hands over words from one coroutine to another, with a timer as the bell.
template <class Timer>
story rings_a_bell() {
  story told;
  asio::io_context io;
  std::deque<std::string> queue;
  bool done = false;
  Timer bell(io);
  bell.expires_at(Timer::time_point::max());
  const auto writer = [&]() -> asio::awaitable<void> {
    while (!done || !queue.empty()) {
      if (queue.empty()) {
        asio::error_code ec;
        co_await bell.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        told.push_back(ec == asio::error::operation_aborted ? "woken" : "timer ran out");
      } else {
        told.push_back(queue.front());
        queue.pop_front();
      }
    }
  };
  const auto speaker = [&]() -> asio::awaitable<void> {
    Timer pause(co_await asio::this_coro::executor);
    for (const char* word : {"one", "two", "three"}) {
      pause.expires_after(2ms);
      co_await pause.async_wait(asio::use_awaitable);
      queue.push_back(word);
      done = queue.back() == "three";
      bell.cancel_one();
    }
  };
  const auto rethrow = [](std::exception_ptr e) {
    if (e)
      std::rethrow_exception(e);
  };
  asio::co_spawn(io, writer(), rethrow);
  asio::co_spawn(io, speaker(), rethrow);
  io.run();
  return told;
}

/// Whichever comes first: a line, or the end of a timer.
template <class Timer>
story reads_with_timeout() {
  using namespace asio::experimental::awaitable_operators;
  story told;
  asio::io_context io;
  silent_server server(io);
  const auto reader = [&]() -> asio::awaitable<void> {
    tcp::socket socket(io);
    co_await socket.async_connect(server.endpoint(), asio::use_awaitable);
    Timer timer(io);
    std::string input;
    for (const auto limit : {asio::chrono::milliseconds(10s), asio::chrono::milliseconds(10)}) {
      timer.expires_after(limit);
      const auto result = co_await (
          asio::async_read_until(socket, asio::dynamic_buffer(input), '\n', asio::use_awaitable) ||
          timer.async_wait(asio::use_awaitable));
      told.push_back(result.index() == 0 ? "received " + input : "timed out");
      input.clear();
    }
    server.close();
  };
  asio::co_spawn(io, reader(), [](std::exception_ptr e) {
    if (e)
      std::rethrow_exception(e);
  });
  io.run();
  return told;
}

#endif

} // namespace programs
} // namespace kestrel_tests

#define SAME_STORY(program, ...)                                                                   \
  do {                                                                                             \
    const kestrel_tests::programs::story expected{__VA_ARGS__};                                    \
    CHECK(kestrel_tests::programs::program<asio::steady_timer>() == expected);                     \
    CHECK(kestrel_tests::programs::program<kestrel::steady_timer>() == expected);                  \
  } while (false)

TEST_CASE("Asio's timer tutorials do the same with the alias changed", "[steady_timer]") {
  SAME_STORY(waits_synchronously, "over");
  SAME_STORY(waits_asynchronously, "waiting", "called: Success", "over");
  SAME_STORY(binds_arguments, "0", "1", "2", "3", "4", "final count 5", "no drift");
  SAME_STORY(synchronises_handlers, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9");
}

TEST_CASE("A client's deadline actor does the same with the alias changed", "[steady_timer]") {
  SAME_STORY(client_gives_up, "connected: Success", "received: hello", "timed out");
}

TEST_CASE("A server's deadlines and its condition variable do the same with the alias changed",
          "[steady_timer]") {
  SAME_STORY(server_closes_idle_sessions, "client: line 1", "client: line 2", "client: line 3",
             "server: no input for too long", "client: End of file");
}

TEST_CASE("A context's timers are as precise as the wheel that is chosen for it first",
          "[steady_timer]") {
  using namespace std::chrono_literals;
  // clang-format off
  asio::io_context io;
  kestrel::use_wheel(io, kestrel::wheel_config().with_l0_tick(250us).with_l0_slots(4096)); // first
  // clang-format on
  kestrel::steady_timer timer(io, 1us);
  bool on_time = false;
  timer.async_wait([&](asio::error_code ec) {
    on_time = !ec && std::chrono::steady_clock::now() >= timer.expiry();
  });
  io.run();
  CHECK(on_time);
  CHECK_THROWS_AS(kestrel::use_wheel(io, kestrel::wheel_config()), std::system_error);
}

#if defined(ASIO_HAS_CO_AWAIT)
TEST_CASE("Coroutines with timers do the same with the alias changed", "[steady_timer]") {
  SAME_STORY(rings_a_bell, "woken", "one", "woken", "two", "woken", "three");
  SAME_STORY(reads_with_timeout, "received hello\n", "timed out");
}
#endif
