// SPDX-License-Identifier: MIT
//
// The two backends of the demo behind one small interface: `kestrel_timers`, and `asio_timers`
// written as a careful user of asio::steady_timer would write it, one timer object per timer; and
// `no_timers`, for the benchmark that asks what a server costs without. A backend belongs to an
// io_context; its `timer<Executor>` is a member of a connection, runs its callback on the
// connection's executor, and is used from there only. A periodic callback is told how many periods
// were missed: with its firing and after it, if the server was stalled.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_TIMERS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_TIMERS_HPP

#include "timer_counts.hpp"

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_executor.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/io_context.hpp>
#include <asio/wait_traits.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace demo {

// All timers of the server on one wheel.
class kestrel_timers {
public:
  using duration = std::chrono::steady_clock::duration;

  static constexpr std::string_view name = "kestrel::timer_wheel";
  static constexpr std::string_view wakeup_note = "wake-ups of the wheel's driver";

  explicit kestrel_timers(asio::io_context& io) : wheel_{io} {}

  std::uint64_t wakeups() const { return wheel_.stats().wakeups; }

  // Timers that are still waiting.
  std::size_t live() const { return wheel_.size(); }

  // What the backend has counted itself, if it does.
  std::optional<timer_counts> own_counts() const {
    const auto s = wheel_.stats();
    return timer_counts{s.scheduled, s.postponed, s.cancelled, s.fired};
  }

  template <class Executor>
  class timer {
  public:
    timer(kestrel_timers& timers, const Executor& executor, timer_kind = {})
        : wheel_{timers.wheel_}, executor_{executor} {}

    template <class F>
    void schedule_after(duration delay, F f) {
      id_ = wheel_.schedule_after(delay, on_executor(std::move(f)));
    }

    template <class F>
    void schedule_every(duration initial, duration interval, F f) {
      id_ = wheel_.schedule_every(
          initial, interval,
          on_executor(
              [f = std::move(f)](kestrel::timer_id, std::uint64_t missed) mutable { f(missed); }));
    }

    bool cancel() { return wheel_.cancel(id_); }

    bool postpone(duration delay) { return wheel_.postpone(id_, delay); }

  private:
    // The wheel runs callbacks on its io_context. That is the right place already, unless the
    // connection has a strand.
    template <class F>
    auto on_executor(F f) {
      if constexpr (std::is_same_v<Executor, asio::io_context::executor_type>) {
        return f;
      } else {
        return asio::bind_executor(executor_, std::move(f));
      }
    }

    kestrel::timer_wheel& wheel_;
    Executor executor_;
    kestrel::timer_id id_;
  };

private:
  kestrel::timer_wheel wheel_;
};

// A timer of Asio for every timer of the server.
//
// cancel() of a steady_timer cannot stop a handler that is queued already, and neither can
// expires_after(). Hence the generation: a handler that was queued before the timer was cancelled
// or postponed does nothing.
class asio_timers {
public:
  using duration = std::chrono::steady_clock::duration;

  static constexpr std::string_view name = "asio::steady_timer";
  static constexpr std::string_view wakeup_note = "wait handlers, aborted ones too";

  explicit asio_timers(asio::io_context&) {}

  std::uint64_t wakeups() const { return handlers_.load(std::memory_order_relaxed); }

  std::size_t live() const { return live_.load(std::memory_order_relaxed); }

  std::optional<timer_counts> own_counts() const { return std::nullopt; }

  template <class Executor>
  class timer {
  public:
    timer(asio_timers& timers, const Executor& executor, timer_kind = {})
        : state_{std::make_shared<state>(timers, executor)} {}

    template <class F>
    void schedule_after(duration delay, F f) {
      state_->start(delay, duration::zero(), [f = std::move(f)](std::uint64_t) mutable { f(); });
    }

    template <class F>
    void schedule_every(duration initial, duration interval, F f) {
      state_->start(initial, interval, std::move(f));
    }

    bool cancel() { return state_->cancel(); }

    bool postpone(duration delay) { return state_->postpone(delay); }

  private:
    // Shared with the handlers, which may outlive the connection.
    struct state : std::enable_shared_from_this<state> {
      using clock = std::chrono::steady_clock;

      state(asio_timers& owner, const Executor& executor) : timers{owner}, waiter{executor} {}

      void start(duration delay, duration period, std::function<void(std::uint64_t)> f) {
        callback = std::move(f);
        interval = period;
        armed = true;
        timers.live_.fetch_add(1, std::memory_order_relaxed);
        waiter.expires_after(delay);
        wait();
      }

      bool cancel() {
        if (!armed) {
          return false;
        }
        disarm();
        waiter.cancel();
        callback = nullptr;
        return true;
      }

      bool postpone(duration delay) {
        if (!armed) {
          return false;
        }
        waiter.expires_after(delay); // this aborts the wait that is going on
        wait();
        return true;
      }

      void wait() {
        waiter.async_wait(
            [self = this->shared_from_this(), expected = ++generation](asio::error_code error) {
              self->timers.handlers_.fetch_add(1, std::memory_order_relaxed);
              if (error != asio::error::operation_aborted && self->generation == expected) {
                self->fire();
              }
            });
      }

      void fire() {
        auto f = std::move(callback); // it may cancel or restart this timer
        if (interval == duration::zero()) {
          disarm();
          f(0);
          return;
        }
        // Counted from the expiry and not from now, so that the period does not drift. After a
        // stall the periods missed are skipped.
        const auto missed = (clock::now() - waiter.expiry()) / interval;
        const auto current = generation;
        f(static_cast<std::uint64_t>(missed));
        if (generation == current) {
          callback = std::move(f);
          waiter.expires_at(waiter.expiry() + (missed + 1) * interval);
          wait();
        }
      }

      void disarm() {
        armed = false;
        ++generation;
        timers.live_.fetch_sub(1, std::memory_order_relaxed);
      }

      asio_timers& timers;
      asio::basic_waitable_timer<clock, asio::wait_traits<clock>, Executor> waiter;
      std::function<void(std::uint64_t)> callback;
      duration interval{};
      std::uint64_t generation = 0;
      bool armed = false;
    };

    std::shared_ptr<state> state_;
  };

private:
  std::atomic<std::uint64_t> handlers_{0};
  std::atomic<std::size_t> live_{0};
};

// Nothing is ever due.
struct no_timers {
  using duration = std::chrono::steady_clock::duration;

  explicit no_timers(asio::io_context&) {}

  template <class Executor>
  struct timer {
    timer(no_timers&, const Executor&, timer_kind) {}

    template <class F>
    void schedule_after(duration, F) {}
    template <class F>
    void schedule_every(duration, duration, F) {}
    bool cancel() { return false; }
    bool postpone(duration) { return false; }
  };
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_TIMERS_HPP
