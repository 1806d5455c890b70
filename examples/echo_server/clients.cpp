// SPDX-License-Identifier: MIT
//
// Each client is a small state machine, moved on by what comes from the server and by a `pacer`,
// one heap of (time, client) behind a single timer tick. Its dice are its own, seeded with the seed
// of the run and its number, so that runs are alike.

#include "clients.hpp"

#include "protocol.hpp"

#include <asio/buffer.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/socket_base.hpp>
#include <asio/steady_timer.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <string_view>
#include <utility>

namespace demo {

namespace {

using std::chrono::milliseconds;
using clock = std::chrono::steady_clock;

enum class habit {
  chats,        // sends whole messages, now and then one in two pieces
  falls_silent, // chats for a while, then says nothing until the server hangs up
  answers_late, // sends the second half of every third message after the deadline
  vanishes,     // chats for a while, then resets the connection in the middle of a message
};

// SplitMix64: eight bytes of state, and seeds that lie side by side do no harm.
class dice {
public:
  using result_type = std::uint64_t;

  explicit dice(std::uint64_t seed) : state_{seed} {}

  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~std::uint64_t{0}; }

  result_type operator()() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

private:
  std::uint64_t state_;
};

} // namespace

class client_swarm::impl {
public:
  impl(const options& settings, std::vector<asio::ip::tcp::endpoint> servers);

  void run();
  void stop();

  const client_counters& counters() const { return counters_; }

private:
  class client;

  struct appointment {
    clock::time_point at;
    client* who;
    std::uint64_t number; // the client's latest appointment is the one that counts

    bool operator<(const appointment& other) const { return at > other.at; } // earliest on top
  };

  void call_at(clock::time_point at, client& who);
  void tick();

  static void count(std::atomic<std::uint64_t>& counter) {
    counter.fetch_add(1, std::memory_order_relaxed);
  }

  const options& settings_;
  std::vector<asio::ip::tcp::endpoint> servers_;
  client_counters counters_;
  asio::io_context io_{1};
  asio::steady_timer ticker_{io_};
  std::priority_queue<appointment> pacer_;
  std::vector<std::unique_ptr<client>> clients_;
  clock::time_point give_up_at_ = clock::time_point::max();
  bool stopping_ = false;
};

class client_swarm::impl::client {
public:
  client(impl& swarm, std::size_t number)
      : swarm_{swarm},
        number_{number},
        socket_{swarm.io_},
        random_{swarm.settings_.seed * 1'000'003 + number} {}

  bool is_due(const appointment& a) const { return a.number == appointment_; }
  std::uint64_t next_appointment() { return ++appointment_; }

  // It is time for the next step.
  void proceed() {
    switch (state_) {
    case state::away:
      connect();
      break;
    case state::ready:
      speak();
      break;
    case state::half_sent:
      finish_message();
      break;
    case state::connecting:
    case state::awaiting_echo:
    case state::silent:
      break;
    }
  }

  // Ends the sending side; the server will answer by closing the connection.
  void say_goodbye() {
    if (state_ == state::away || state_ == state::connecting) {
      hang_up();
      return;
    }
    asio::error_code error;
    socket_.shutdown(asio::socket_base::shutdown_send, error);
    if (error) {
      hang_up();
    }
  }

  void hang_up() {
    if (is_open_) {
      is_open_ = false;
      swarm_.counters_.open.fetch_sub(1, std::memory_order_relaxed);
    }
    ++visit_;
    state_ = state::away;
    asio::error_code ignored;
    socket_.close(ignored);
  }

private:
  enum class state {
    away,
    connecting,
    ready,         // will send a message at the appointed time
    half_sent,     // will send the rest of it at the appointed time
    awaiting_echo, // the server has to move
    silent,        // waits for the server to hang up
  };

  milliseconds between(milliseconds low, milliseconds high) {
    return milliseconds{
        std::uniform_int_distribution<milliseconds::rep>{low.count(), high.count()}(random_)};
  }

  bool one_in(int n) { return std::uniform_int_distribution<int>{1, n}(random_) == 1; }

  milliseconds pause() { return between(swarm_.settings_.pause_min, swarm_.settings_.pause_max); }

  void proceed_after(milliseconds delay, state next) {
    state_ = next;
    swarm_.call_at(clock::now() + delay, *this);
  }

  void connect() {
    state_ = state::connecting;
    const auto& endpoint = swarm_.servers_[number_ % swarm_.servers_.size()];
    socket_.async_connect(endpoint, [this, visit = visit_](asio::error_code error) {
      if (visit != visit_) {
        return;
      }
      if (error) {
        count(swarm_.counters_.connect_errors);
        leave(milliseconds{500}, milliseconds{1000});
        return;
      }
      on_connected();
    });
  }

  void on_connected() {
    count(swarm_.counters_.open);
    is_open_ = true;
    asio::error_code error;
    socket_.set_option(asio::ip::tcp::no_delay{true}, error);
    socket_.non_blocking(true, error);
    reader_ = {};
    habit_ = choose_habit();
    change_at_ = clock::now() + between(milliseconds{500}, milliseconds{6000});
    read();
    proceed_after(pause(), state::ready);
  }

  habit choose_habit() {
    const int n = std::uniform_int_distribution<int>{0, 99}(random_);
    return n < 10   ? habit::falls_silent
           : n < 20 ? habit::answers_late
           : n < 28 ? habit::vanishes
                    : habit::chats;
  }

  // Goes away, and comes back as a new client later.
  void leave(milliseconds low, milliseconds high) {
    hang_up();
    if (!swarm_.stopping_) {
      proceed_after(between(low, high), state::away);
    }
  }

  void speak() {
    make_message();
    const bool enough = clock::now() >= change_at_;
    if (enough && habit_ == habit::falls_silent) {
      state_ = state::silent;
    } else if (enough && habit_ == habit::vanishes) {
      vanish();
    } else if (habit_ == habit::answers_late && one_in(3)) {
      send_half(swarm_.settings_.deadline + between(milliseconds{100}, milliseconds{600}));
    } else if (one_in(8)) {
      send_half(between(milliseconds{5}, milliseconds{50}));
    } else {
      if (write(message_)) {
        state_ = state::awaiting_echo;
      }
    }
  }

  void make_message() {
    const auto size = std::uniform_int_distribution<std::size_t>{16, 200}(random_);
    payload_.resize(size);
    for (char& c : payload_) {
      c = static_cast<char>(random_() & 0xff);
    }
    message_.clear();
    append_frame(message_, frame_type::message, payload_);
  }

  std::size_t half() const { return message_.size() / 2; }

  void send_half(milliseconds rest_after) {
    timed_out_ = false;
    if (write(std::string_view{message_}.substr(0, half()))) {
      proceed_after(rest_after, state::half_sent);
    }
  }

  void finish_message() {
    if (!write(std::string_view{message_}.substr(half()))) {
      return;
    }
    if (timed_out_) {
      proceed_after(pause(), state::ready); // the server has given up on this one
    } else {
      state_ = state::awaiting_echo;
    }
  }

  void vanish() {
    if (!write(std::string_view{message_}.substr(0, half()))) {
      return;
    }
    asio::error_code ignored;
    socket_.set_option(asio::socket_base::linger{true, 0}, ignored); // makes close() a reset
    leave(milliseconds{200}, milliseconds{1500});
  }

  // A few hundred bytes fit into the socket's buffer, or the server has not read for ages. False if
  // the connection was given up.
  bool write(std::string_view bytes) {
    asio::error_code error;
    if (socket_.write_some(asio::buffer(bytes), error) == bytes.size()) {
      return true;
    }
    on_broken();
    return false;
  }

  void read() {
    socket_.async_read_some(asio::buffer(input_),
                            [this, visit = visit_](asio::error_code error, std::size_t n) {
                              if (visit != visit_) {
                                return;
                              }
                              if (error) {
                                on_broken();
                                return;
                              }
                              consume({input_.data(), n});
                              if (visit == visit_) {
                                read();
                              }
                            });
  }

  // The server has hung up.
  void on_broken() { leave(milliseconds{200}, milliseconds{1500}); }

  void consume(std::string_view bytes) {
    while (!bytes.empty() && !reader_.malformed()) {
      if (const std::optional<frame> f = reader_.feed(bytes)) {
        on_frame(*f);
      }
    }
  }

  void on_frame(const frame& f) {
    switch (f.type) {
    case frame_type::heartbeat:
      break;
    case frame_type::timeout:
      timed_out_ = true;
      if (state_ == state::awaiting_echo) {
        go_on();
      }
      break;
    case frame_type::echo:
    case frame_type::message:
      if (state_ != state::awaiting_echo || f.payload != payload_) {
        count(swarm_.counters_.wrong_echoes);
      }
      if (state_ == state::awaiting_echo) {
        go_on();
      }
      break;
    }
  }

  void go_on() {
    if (!swarm_.stopping_) {
      proceed_after(pause(), state::ready);
    }
  }

  impl& swarm_;
  std::size_t number_;
  asio::ip::tcp::socket socket_;
  dice random_;
  state state_ = state::away;
  habit habit_ = habit::chats;
  clock::time_point change_at_; // when habits other than chatting show
  std::uint64_t appointment_ = 0;
  std::uint64_t visit_ = 0; // tells handlers of an earlier connection apart
  bool is_open_ = false;
  bool timed_out_ = false; // the message in hand
  std::string payload_;
  std::string message_; // header and payload
  frame_reader reader_;
  std::array<char, 512> input_;
};

client_swarm::impl::impl(const options& settings, std::vector<asio::ip::tcp::endpoint> servers)
    : settings_{settings}, servers_{std::move(servers)} {
  clients_.reserve(settings_.connections);
  for (std::size_t i = 0; i != settings_.connections; ++i) {
    clients_.push_back(std::make_unique<client>(*this, i));
  }
}

void client_swarm::impl::run() {
  // 5,000 newcomers a second, as long as it takes.
  const auto now = clock::now();
  for (std::size_t i = 0; i != clients_.size(); ++i) {
    call_at(now + i * std::chrono::microseconds{200}, *clients_[i]);
  }
  tick();
  io_.run();
}

void client_swarm::impl::stop() {
  asio::post(io_, [this] {
    stopping_ = true;
    pacer_ = {};
    for (const auto& c : clients_) {
      c->say_goodbye();
    }
    give_up_at_ = clock::now() + std::chrono::seconds{3};
  });
}

void client_swarm::impl::call_at(clock::time_point at, client& who) {
  pacer_.push({at, &who, who.next_appointment()});
}

void client_swarm::impl::tick() {
  const auto now = clock::now();
  while (!pacer_.empty() && pacer_.top().at <= now) {
    const appointment a = pacer_.top();
    pacer_.pop();
    if (a.who->is_due(a)) {
      a.who->proceed();
    }
  }
  if (stopping_ && (counters_.open == 0 || now >= give_up_at_)) {
    for (const auto& c : clients_) {
      c->hang_up();
    }
    return;
  }
  ticker_.expires_after(milliseconds{2});
  ticker_.async_wait([this](asio::error_code) { tick(); });
}

client_swarm::client_swarm(const options& settings, std::vector<asio::ip::tcp::endpoint> servers)
    : impl_{std::make_unique<impl>(settings, std::move(servers))} {}

client_swarm::~client_swarm() = default;

void client_swarm::run() { impl_->run(); }

void client_swarm::stop() { impl_->stop(); }

const client_counters& client_swarm::counters() const { return impl_->counters(); }

} // namespace demo
