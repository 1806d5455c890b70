// SPDX-License-Identifier: MIT
//
// Retrying with exponential back-off and jitter: `connector` opens a TCP connection to a server
// that may not be up yet, gives each attempt a timeout, and gives up after some. Its one timer is
// the timeout of the attempt under way or the pause before the next. Three connectors share a wheel
// here: one gets through in the end, one gives up, one is cancelled when its pause is over already.

#include "told.hpp"

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/write.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <thread>
#include <utility>

using asio::ip::tcp;
using std::chrono::milliseconds;
using namespace std::chrono_literals;
using clock_type = kestrel::timer_wheel::clock_type;

namespace {

using told::check;
using told::tell;

constexpr std::string_view greeting = "hello\n";

struct retry_policy {
  milliseconds first_pause = 50ms; // each is twice as long as the one before ...
  milliseconds max_pause = 800ms;  // ... up to this one
  double jitter = 0.5; // the share that is left to chance: 1 for full jitter, 0.5 for equal jitter
  milliseconds attempt_timeout = 150ms;
  int max_attempts = 10;
};

// An attempt that failed, and when the next one is due.
struct failure {
  int attempt;
  asio::error_code error;
  milliseconds pause;
  clock_type::time_point next;
};

// Connects and waits for the server's greeting, again and again until that works.
//
// `on_done` is called with the socket or with the last error, at most once, and never after
// cancel() returned true or the connector was destroyed, which it may be from there. `on_failure`
// is told of each attempt that another will follow; it may cancel, but not destroy. The wheel must
// outlive the connector. All runs on the wheel's executor: let that be a strand if several threads
// run the context.
class connector {
public:
  using done_function = std::function<void(asio::error_code, tcp::socket)>;
  using failure_function = std::function<void(const failure&)>;

  connector(kestrel::timer_wheel& wheel, const tcp::endpoint& server, const retry_policy& policy,
            done_function on_done, failure_function on_failure)
      : wheel_{wheel},
        server_{server},
        policy_{policy},
        next_pause_{policy.first_pause},
        on_done_{std::move(on_done)},
        on_failure_{std::move(on_failure)} {
    begin();
  }

  connector(const connector&) = delete;
  connector& operator=(const connector&) = delete;

  ~connector() { cancel(); }

  // True: `on_done` was still to come, and now never will. The timer is pending from the first
  // attempt until then, so that its answer is the connector's.
  bool cancel() {
    attempt_->abandon();
    return wheel_.cancel(timer_);
  }

private:
  // An operation on a socket always completes, if only with an error, and may have succeeded just
  // before the socket was closed. So its handler shares the attempt, and finds no owner in one that
  // was abandoned. The timer needs none of this: cancelled is cancelled, even if it was due
  // already, and its callbacks use `this`.
  struct attempt {
    connector* owner;
    tcp::socket socket;
    std::array<char, greeting.size()> answer{};

    void end(asio::error_code error) {
      if (owner != nullptr) {
        owner->end_attempt(error);
      }
    }

    void abandon() {
      owner = nullptr;
      asio::error_code ignored;
      socket.close(ignored);
    }
  };

  void begin() {
    attempt_ = std::make_shared<attempt>(attempt{this, tcp::socket{wheel_.get_executor()}});
    set_timer(policy_.attempt_timeout, [this] { end_attempt(asio::error::timed_out); });
    attempt_->socket.async_connect(server_, [a = attempt_](asio::error_code error) {
      if (error) {
        a->end(error);
      } else {
        asio::async_read(a->socket, asio::buffer(a->answer),
                         [a](asio::error_code e, std::size_t) { a->end(e); });
      }
    });
  }

  void end_attempt(asio::error_code error) {
    tcp::socket socket{wheel_.get_executor()};
    if (!error) {
      socket = std::move(attempt_->socket);
    }
    attempt_->abandon();
    if (!error || ++failures_ == policy_.max_attempts) {
      wheel_.cancel(timer_);
      std::exchange(on_done_, nullptr)(error, std::move(socket)); // `this` may be gone after it
      return;
    }
    const milliseconds pause = next_pause();
    set_timer(pause, [this] { begin(); });
    on_failure_({failures_, error, pause, wheel_.expiry(timer_).value()});
  }

  milliseconds next_pause() {
    const milliseconds longest = std::min(next_pause_, policy_.max_pause);
    next_pause_ = 2 * longest;
    const double chance = std::uniform_real_distribution<>{}(random_);
    return std::chrono::round<milliseconds>(longest * (1 - policy_.jitter * chance));
  }

  // There is one timer, which is still pending or has just called.
  template <class Duration, class F>
  void set_timer(Duration delay, F f) {
    if (!wheel_.postpone(timer_, delay, f)) {
      timer_ = wheel_.schedule_after(delay, f);
    }
  }

  kestrel::timer_wheel& wheel_;
  kestrel::timer_id timer_;
  tcp::endpoint server_;
  retry_policy policy_;
  milliseconds next_pause_;
  int failures_ = 0;
  std::minstd_rand random_{std::random_device{}()}; // clients that fail together part here
  std::shared_ptr<attempt> attempt_;
  done_function on_done_;
  failure_function on_failure_;
};

// Greets whoever comes, once the acceptor listens.
void greet_clients(tcp::acceptor& acceptor) {
  acceptor.async_accept([&](asio::error_code error, tcp::socket client) {
    if (!error) {
      asio::write(client, asio::buffer(greeting), error); // one that is gone is not greeted
    }
    if (acceptor.is_open()) {
      greet_clients(acceptor);
    }
  });
}

// Tells of a connector's failures, and whether they come as they should.
struct witness {
  std::string_view name;
  retry_policy policy;
  failure last{};

  void operator()(const failure& f) {
    tell(name) << "attempt " << f.attempt << ": " << f.error.message() << "; the next in "
               << f.pause.count() << " ms\n";
    const auto longest = std::min(policy.first_pause * (1 << last.attempt), policy.max_pause);
    check(f.pause <= longest && f.pause >= longest * (1 - policy.jitter), "pauses double");
    check(clock_type::now() >= last.next, "no attempt is early");
    last = f;
  }
};

} // namespace

int main() {
  asio::io_context io;
  kestrel::timer_wheel wheel{io};

  // Both have a port to themselves. One will listen to it later, and greet clients later still.
  const tcp::endpoint any_port{asio::ip::address_v4::loopback(), 0};
  tcp::acceptor late{io, tcp::v4()}, never_up{io, tcp::v4()};
  late.bind(any_port);
  never_up.bind(any_port);

  witness patient{"patient", {}};
  bool connected = false;
  const auto patient_done = [&](asio::error_code error, tcp::socket) {
    connected = !error;
    tell("patient") << (connected ? "connected\n" : "gave up\n");
    late.close();
  };
  const auto patient_failed = [&](const failure& f) {
    patient(f);
    if (f.attempt == 2) {
      tell("server") << "listens, but is not ready\n";
      late.listen();
    } else if (f.attempt == 3) {
      tell("server") << "is ready\n";
      greet_clients(late);
    }
  };
  connector first{wheel, late.local_endpoint(), patient.policy, patient_done, patient_failed};

  witness hasty{"hasty", {.first_pause = 20ms, .max_pause = 100ms, .max_attempts = 6}};
  bool gave_up = false;
  const auto hasty_done = [&](asio::error_code error, tcp::socket) {
    gave_up = bool(error);
    tell("hasty") << (gave_up ? "gave up\n" : "connected\n");
  };
  connector second{wheel, never_up.local_endpoint(), hasty.policy, hasty_done, std::ref(hasty)};

  // Cancelled when its second attempt is overdue, because the thread had something else to do.
  witness dropped{"dropped", {.first_pause = 100ms, .jitter = 0}};
  std::optional<connector> third;
  const auto dropped_done = [](auto...) { check(false, "a cancelled connector is silent"); };
  const auto dropped_failed = [&](const failure& f) {
    dropped(f);
    wheel.schedule_at(f.next - 20ms, [&] {
      std::this_thread::sleep_until(dropped.last.next + 20ms);
      const bool cancelled = third->cancel();
      tell("dropped") << "cancelled when overdue: " << (cancelled ? "true\n" : "false\n");
      check(cancelled && !third->cancel(), "an attempt that is due can be cancelled, and once");
      third.reset();
    });
  };
  third.emplace(wheel, never_up.local_endpoint(), dropped.policy, dropped_done, dropped_failed);

  io.run();

  check(connected && patient.last.attempt >= 3, "the patient one gets through");
  check(gave_up && hasty.last.attempt == 5, "the hasty one gives up after 6 attempts");
  check(!third && dropped.last.attempt == 1, "the dropped one never tries again");
  check(wheel.empty(), "no timer is left");
  return told::verdict();
}
