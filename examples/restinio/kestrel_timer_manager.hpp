// SPDX-License-Identifier: MIT
//
// kestrel_timer_manager: the timers of a RESTinio server on one timing wheel. Copy this file, and
// name the class in the traits of the server:
//
//     struct traits : restinio::default_traits_t {
//       using timer_manager_t = kestrel_timer_manager;
//     };
//
// RESTinio checks each connection once per period, and closes it if what it does takes too long: up
// to one period and one tick after the time-out, never before. `settings.timer_manager(50ms)` sets
// the period, which is 1 s by default. Checks allocate nothing in the wheel in steady state.

#ifndef KESTREL_EXAMPLES_RESTINIO_KESTREL_TIMER_MANAGER_HPP
#define KESTREL_EXAMPLES_RESTINIO_KESTREL_TIMER_MANAGER_HPP

#include <kestrel/timer_wheel.hpp>

#include <restinio/timer_common.hpp>

#include <asio/io_context.hpp>

#include <chrono>
#include <memory>
#include <utility>

class kestrel_timer_manager {
public:
  kestrel_timer_manager(asio::io_context& io, std::chrono::steady_clock::duration check_period,
                        const kestrel::wheel_config& config)
      : wheel_{io, config}, check_period_{check_period} {}

  // The timer of one connection, which outlives neither the connection nor the manager.
  class timer_guard_t {
  public:
    explicit timer_guard_t(kestrel_timer_manager& manager) noexcept : manager_{manager} {}

    timer_guard_t(const timer_guard_t&) = delete;
    timer_guard_t& operator=(const timer_guard_t&) = delete;

    ~timer_guard_t() { cancel(); }

    // A connection asks for its next check when it has been checked. What was scheduled before has
    // run then, as a rule, and there is nothing to be postponed, only a stale id to be recognised.
    void schedule(restinio::tcp_connection_ctx_weak_handle_t connection) {
      cancel();
      timer_ = manager_.wheel_.schedule_after(manager_.check_period_,
                                              [connection = std::move(connection)] {
                                                if (auto alive = connection.lock()) {
                                                  alive->check_timeout(alive);
                                                }
                                              });
    }

    void cancel() noexcept { manager_.wheel_.cancel(std::exchange(timer_, {})); }

  private:
    kestrel_timer_manager& manager_;
    kestrel::timer_id timer_;
  };

  timer_guard_t create_timer_guard() { return timer_guard_t{*this}; }

  // Nothing is to be done: connections that are left when the server stops still have to end.
  void start() const noexcept {}
  void stop() const noexcept {}

  // What `settings.timer_manager(...)` makes.
  class factory_t {
  public:
    factory_t() = default;
    explicit factory_t(std::chrono::steady_clock::duration check_period,
                       const kestrel::wheel_config& config = {})
        : check_period_{check_period}, config_{config} {}

    std::shared_ptr<kestrel_timer_manager> create(asio::io_context& io) const {
      return std::make_shared<kestrel_timer_manager>(io, check_period_, config_);
    }

  private:
    std::chrono::steady_clock::duration check_period_ = std::chrono::seconds{1};
    kestrel::wheel_config config_;
  };

private:
  kestrel::timer_wheel wheel_;
  const std::chrono::steady_clock::duration check_period_;
};

#endif // KESTREL_EXAMPLES_RESTINIO_KESTREL_TIMER_MANAGER_HPP
