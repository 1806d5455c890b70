// SPDX-License-Identifier: MIT
//
// timeout and lent_timeout: when an operation is cancelled, and the timer that does it, on a wheel
// or lent by the caller.

#ifndef KESTREL_DETAIL_TIMEOUT_HPP
#define KESTREL_DETAIL_TIMEOUT_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/context_wheel.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/timer_id.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// When an operation is cancelled, by which wheel, and how.
struct timeout {
  std::int64_t ns;                  // from its initiation, or since the epoch of the wheel's clock
  bool is_absolute;                 // the latter
  std::shared_ptr<timer_host> host; // null: the wheel of the context in which the handler runs
  net::cancellation_type type;

  /// Of handlers and operations that tell no executor.
  [[nodiscard]] net::any_io_executor executor() const {
    return host != nullptr ? host->any_executor() : net::any_io_executor(net::system_executor());
  }

  template <class Executor>
  [[nodiscard]] std::shared_ptr<timer_host> host_for(const Executor& executor) const {
    return host != nullptr ? host : shared_wheel<std::chrono::steady_clock>(executor);
  }

  class timer {
  public:
    template <class Expiry>
    void start(const timeout& t, timer_host& on, Expiry expiry) {
      callback action = action_for(t, on, std::move(expiry));
      if (t.is_absolute)
        id_ = on.schedule_at_ns(t.ns, std::move(action));
      else
        id_ = on.schedule_after(t.ns, std::move(action));
    }

    void stop(timer_host& on) { on.cancel(id_); }

  private:
    template <class Expiry>
    static callback action_for(const timeout& t, timer_host& on, Expiry expiry) {
      const auto& memory = on.memory_of_callables();
      if (runs_beside(t, expiry.get_executor()))
        return {memory, at_once<Expiry>{std::move(expiry)}};
      return {memory, std::move(expiry)};
    }

    /// Is `executor` that of the io_context on whose threads the wheel calls? Then there is no need
    /// to post.
    template <class Executor>
    static bool runs_beside(const timeout& t, const Executor& executor) {
      if (t.host == nullptr)
        return io_executor_of(executor) != nullptr;
      return io_executor_beside(executor, t.host->any_executor()) != nullptr;
    }

    /// A callback that says nothing of its executor, and calls there at once.
    template <class Expiry>
    struct at_once {
      using kestrel_relocatable = void; // a pointer
      void operator()() const { net::dispatch(expiry); }
      Expiry expiry;
    };

    timer_id id_;
  };
};

/// The same by a basic_wheel_timer, which must be there when the operation begins. `When` is a
/// duration or a time point.
template <class Timer, class When>
struct lent_timeout {
  Timer* lent;
  When when;
  net::cancellation_type type;

  [[nodiscard]] net::any_io_executor executor() const { return lent->get_executor(); }

  /// For its memory.
  template <class Executor>
  [[nodiscard]] std::shared_ptr<timer_host> host_for(const Executor&) const {
    return shared_wheel<typename Timer::clock_type>(lent->get_executor());
  }

  /// A wait, which ends by itself, in its slot, or as the user of the timer likes.
  class timer {
  public:
    template <class Expiry>
    void start(const lent_timeout& t, timer_host&, Expiry expiry) {
      if constexpr (std::is_same_v<When, typename Timer::time_point>)
        t.lent->expires_at(t.when);
      else
        t.lent->expires_after(t.when);
      t.lent->async_wait(net::bind_cancellation_slot(signal_.slot(), std::move(expiry)));
    }

    void stop(timer_host&) { signal_.emit(net::cancellation_type::terminal); }

  private:
    net::cancellation_signal signal_;
  };
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMEOUT_HPP
