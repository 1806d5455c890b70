// SPDX-License-Identifier: MIT
//
// The echo server. Every connection has three timers: an idle timeout that each message postpones,
// a deadline for the request in hand that is cancelled when the reply is out, and a periodic
// heartbeat. `Timers` is one of the backends of timers.hpp, under audit or not; `Executor` is the
// io_context's own where one thread runs it, and a strand per connection where several do.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_SERVER_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_SERVER_HPP

#include "options.hpp"
#include "protocol.hpp"
#include "timer_counts.hpp"

#include <asio/basic_socket_acceptor.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace demo {

struct server_counters {
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> accept_errors{0};
  std::atomic<std::uint64_t> open{0};
  std::atomic<std::uint64_t> closed_idle{0};
  std::atomic<std::uint64_t> closed_by_peer{0}; // in good order
  std::atomic<std::uint64_t> vanished{0};       // reset by the peer, or broken
  std::atomic<std::uint64_t> echoed{0};
  std::atomic<std::uint64_t> expired{0}; // requests that met their deadline
};

// What all connections of a server share.
template <class Timers>
struct server_environment {
  const options& settings;
  Timers& timers;
  server_counters counters;
};

// One connection. A timer never keeps it alive: callbacks hold weak pointers.
template <class Timers, class Executor>
class session : public std::enable_shared_from_this<session<Timers, Executor>> {
public:
  using socket_type = asio::basic_stream_socket<asio::ip::tcp, Executor>;

  session(server_environment<Timers>& environment, socket_type socket)
      : env_{environment},
        socket_{std::move(socket)},
        idle_{make_timer(timer_kind::idle)},
        deadline_{make_timer(timer_kind::deadline)},
        heartbeat_{make_timer(timer_kind::heartbeat)} {}

  session(const session&) = delete;
  session& operator=(const session&) = delete;

  Executor get_executor() { return socket_.get_executor(); }

  void start() {
    asio::error_code ignored;
    socket_.set_option(asio::ip::tcp::no_delay{true}, ignored);
    idle_.schedule_after(env_.settings.idle, call<&session::on_idle>());
    heartbeat_.schedule_every(env_.settings.heartbeat, env_.settings.heartbeat,
                              [beat = call<&session::on_heartbeat>()](std::uint64_t) { beat(); });
    read();
  }

  void close() {
    if (closed_) {
      return;
    }
    closed_ = true;
    env_.counters.open.fetch_sub(1, std::memory_order_relaxed);
    idle_.cancel();
    deadline_.cancel();
    heartbeat_.cancel();
    asio::error_code ignored;
    socket_.close(ignored);
  }

private:
  using timer = typename Timers::template timer<Executor>;

  timer make_timer(timer_kind kind) { return timer{env_.timers, socket_.get_executor(), kind}; }

  // A timer's callback: calls a member function, if the connection is still there.
  template <void (session::*Member)()>
  auto call() {
    return [weak = this->weak_from_this()] {
      if (const auto self = weak.lock(); self && !self->closed_) {
        (self.get()->*Member)();
      }
    };
  }

  static void count(std::atomic<std::uint64_t>& counter) {
    counter.fetch_add(1, std::memory_order_relaxed);
  }

  void on_idle() {
    count(env_.counters.closed_idle);
    close();
  }

  void on_heartbeat() { send(frame_type::heartbeat, {}); }

  // The rest of the message may still come; it will be read and dropped. If it is the reply that
  // takes so long, it is on its way and nothing is to be said.
  void on_deadline() {
    count(env_.counters.expired);
    if (!replied_) {
      expired_ = true;
      send(frame_type::timeout, {});
    }
  }

  void read() {
    socket_.async_read_some(asio::buffer(input_), [self = this->shared_from_this()](
                                                      asio::error_code error, std::size_t n) {
      if (self->closed_) {
        return;
      }
      if (error || !self->consume({self->input_.data(), n})) {
        count(error == asio::error::eof && !self->broken_ ? self->env_.counters.closed_by_peer
                                                          : self->env_.counters.vanished);
        self->close();
        return;
      }
      self->read();
    });
  }

  // False if the bytes make no sense.
  bool consume(std::string_view bytes) {
    while (!bytes.empty()) {
      if (reader_.at_start()) {
        begin_request();
      }
      if (const std::optional<frame> f = reader_.feed(bytes)) {
        if (f->type != frame_type::message) {
          return false;
        }
        end_request(f->payload);
      }
      if (reader_.malformed()) {
        return false;
      }
    }
    return true;
  }

  void begin_request() {
    deadline_.cancel(); // of the previous request, if its reply is not out yet
    replied_ = false;
    expired_ = false;
    deadline_.schedule_after(env_.settings.deadline, call<&session::on_deadline>());
  }

  void end_request(std::string_view payload) {
    idle_.postpone(env_.settings.idle);
    if (!expired_) {
      replied_ = true;
      count(env_.counters.echoed);
      send(frame_type::echo, payload);
    }
  }

  void send(frame_type type, std::string_view payload) {
    append_frame(waiting_, type, payload);
    if (sending_.empty()) {
      write();
    }
  }

  void write() {
    sending_.swap(waiting_);
    asio::async_write(socket_, asio::buffer(sending_),
                      [self = this->shared_from_this()](asio::error_code error, std::size_t) {
                        self->on_written(error);
                      });
  }

  void on_written(asio::error_code error) {
    sending_.clear();
    if (error) {
      broken_ = true; // the read in progress finds out too, and closes the connection
      return;
    }
    if (closed_) {
      return;
    }
    if (!waiting_.empty()) {
      write();
    } else if (replied_) {
      deadline_.cancel();
      replied_ = false;
    }
  }

  server_environment<Timers>& env_;
  socket_type socket_;
  timer idle_;
  timer deadline_;
  timer heartbeat_;
  frame_reader reader_;
  std::string waiting_;  // to be sent next
  std::string sending_;  // being sent
  bool replied_ = false; // the reply is on its way
  bool expired_ = false; // the deadline has passed
  bool broken_ = false;  // the peer could not be written to
  bool closed_ = false;
  std::array<char, 512> input_;
};

// Listens on a number of loopback addresses and keeps track of its connections.
template <class Timers, class Executor>
class server {
public:
  server(asio::io_context& io, const options& settings, Timers& timers)
      : io_{io}, env_{settings, timers, {}} {}

  // Starts to accept on a free port of 127.0.0.1 and, if asked for more, of 127.0.0.2, ...
  std::vector<asio::ip::tcp::endpoint> listen(std::size_t addresses) {
    std::vector<asio::ip::tcp::endpoint> endpoints;
    acceptors_.reserve(addresses);
    for (std::size_t i = 0; i != addresses; ++i) {
      const asio::ip::address_v4 address{0x7f000001 + static_cast<std::uint32_t>(i)};
      acceptor& a = acceptors_.emplace_back(make_executor());
      a.open(asio::ip::tcp::v4());
      a.bind({address, 0});
      a.listen(asio::socket_base::max_listen_connections);
      endpoints.push_back(a.local_endpoint());
    }
    for (acceptor& a : acceptors_) {
      asio::dispatch(a.get_executor(), [this, &a] { accept(a); });
    }
    return endpoints;
  }

  // Closes the acceptors and every connection; the io_context then runs out of work. Callable from
  // any thread, once.
  void stop() {
    stopping_ = true;
    for (acceptor& a : acceptors_) {
      asio::post(a.get_executor(), [&a] {
        asio::error_code ignored;
        a.close(ignored);
      });
    }
    const std::lock_guard lock{mutex_};
    for (const auto& weak : sessions_) {
      if (const auto s = weak.lock()) {
        asio::post(s->get_executor(), [s] { s->close(); });
      }
    }
  }

  const server_counters& counters() const { return env_.counters; }

private:
  using acceptor = asio::basic_socket_acceptor<asio::ip::tcp, Executor>;
  using session_type = session<Timers, Executor>;
  using socket_type = typename session_type::socket_type;

  Executor make_executor() {
    if constexpr (std::is_same_v<Executor, asio::io_context::executor_type>) {
      return io_.get_executor();
    } else {
      return asio::make_strand(io_);
    }
  }

  void accept(acceptor& a) {
    a.async_accept(make_executor(), [this, &a](asio::error_code error, socket_type socket) {
      if (stopping_ || !a.is_open()) {
        return;
      }
      if (error) {
        env_.counters.accept_errors.fetch_add(1, std::memory_order_relaxed);
      } else {
        admit(std::move(socket));
      }
      accept(a);
    });
  }

  void admit(socket_type socket) {
    env_.counters.accepted.fetch_add(1, std::memory_order_relaxed);
    env_.counters.open.fetch_add(1, std::memory_order_relaxed);
    const auto s = std::make_shared<session_type>(env_, std::move(socket));
    remember(s);
    asio::dispatch(s->get_executor(), [s] { s->start(); });
  }

  void remember(const std::shared_ptr<session_type>& s) {
    const std::lock_guard lock{mutex_};
    if (sessions_.size() >= sweep_at_) {
      std::erase_if(sessions_, [](const auto& weak) { return weak.expired(); });
      sweep_at_ = sessions_.size() * 2 + 64;
    }
    sessions_.push_back(s);
  }

  asio::io_context& io_;
  server_environment<Timers> env_;
  std::vector<acceptor> acceptors_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::weak_ptr<session_type>> sessions_; // some of them gone
  std::size_t sweep_at_ = 64;
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_SERVER_HPP
