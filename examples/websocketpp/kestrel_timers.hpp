// SPDX-License-Identifier: MIT
//
// All timers of WebSocket++ on timing wheels, one for each io_context: its handshake, pong, connect
// and shutdown timeouts and what `set_timer` makes. To be included before anything of WebSocket++,
// in all files of a program that include it.
//
// The library calls its timers websocketpp::lib::asio::steady_timer. That namespace takes in Asio's
// by a using directive, and so a name of its own comes first.

#ifndef KESTREL_EXAMPLES_WEBSOCKETPP_KESTREL_TIMERS_HPP
#define KESTREL_EXAMPLES_WEBSOCKETPP_KESTREL_TIMERS_HPP

#if defined(WEBSOCKETPP_TRANSPORT_ASIO_HPP) || defined(WEBSOCKETPP_TRANSPORT_ASIO_CON_HPP)
#error "kestrel_timers.hpp must come before the headers of WebSocket++"
#endif

#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>

#include <websocketpp/common/asio.hpp>

#include <chrono>
#include <utility>

// The wheel of an io_context, made when the first timer is.
class wheel_of_context : public asio::execution_context::service {
public:
  using key_type = wheel_of_context;
  static inline asio::execution_context::id id;

  explicit wheel_of_context(asio::execution_context& context)
      : service(context), wheel{static_cast<asio::io_context&>(context)} {}

  kestrel::timer_wheel wheel;

private:
  void shutdown() override { wheel.shutdown(); }
};

namespace websocketpp::lib::asio {

// What WebSocket++ uses of asio::steady_timer: a timer that waits once, and is known by pointer.
class steady_timer {
public:
  using duration = std::chrono::steady_clock::duration;

  steady_timer(io_context& io, duration delay)
      : timer_{use_service<wheel_of_context>(io).wheel.schedule(
            kestrel::timer_task::one_shot(delay, [] {}))},
        expiry_{std::chrono::steady_clock::now() + delay} {}

  template <class Handler>
  void async_wait(Handler&& handler) {
    timer_.async_wait([handler = std::forward<Handler>(handler)](error_code code,
                                                                 kestrel::completion how) mutable {
      if (how == kestrel::completion::cancelled) {
        code = error::operation_aborted;
      }
      handler(code);
    });
  }

  void cancel() { timer_.cancel(); }

  duration expires_from_now() const { return expiry_ - std::chrono::steady_clock::now(); }

private:
  kestrel::scoped_timer timer_;
  std::chrono::steady_clock::time_point expiry_;
};

} // namespace websocketpp::lib::asio

#endif // KESTREL_EXAMPLES_WEBSOCKETPP_KESTREL_TIMERS_HPP
