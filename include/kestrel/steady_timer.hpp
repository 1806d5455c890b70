// SPDX-License-Identifier: MIT
//
// basic_wheel_timer, steady_timer: the interface of asio::basic_waitable_timer, on a wheel that all
// timers of an execution context share. Never early, up to one tick late, 1 ms unless `use_wheel`
// said otherwise; O(1). Needs Asio 1.22.1.

#ifndef KESTREL_STEADY_TIMER_HPP
#define KESTREL_STEADY_TIMER_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_timers.hpp>
#include <kestrel/detail/prefetch.hpp>
#include <kestrel/detail/timer_wait.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/use_wheel.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE

/// A timer that can be waited for, by any number of waits at once.
///
/// A wait completes at the first tick of the wheel at or after the expiry: up to one tick late plus
/// the time the context needs to get to it, never early. An expiry in the past is due at once,
/// which is soon after the initiating function has returned.
///
/// `using timer = kestrel::steady_timer;` is meant to replace `asio::steady_timer` as it is. What
/// is better: the count that `cancel`, `cancel_one`, `expires_at` and `expires_after` return is how
/// many waits end with `operation_aborted`, those included that are due and whose handlers are
/// queued, as long as these have not been called; and the waits of a timer that was moved can still
/// be cancelled through their slots.
///
/// Up to 16 waits of a context that were cancelled may each wake it once when they were due.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
/// Complexity: O(1) amortised for each wait that begins or ends, and O(log m) in the m waits that
/// this timer has. In steady state, nothing is allocated but the memory of handlers that are larger
/// than 160 bytes, or over-aligned, or have an allocator or an executor of their own. Exceptions:
/// `std::bad_alloc`, and `errc::too_many_timers`, from `async_wait`, which has no effect then. To
/// end a wait on an `io_context` takes no memory; if another executor has none left to post its
/// handler, the program ends.
/// Lifetime: the destructor cancels all waits. A timer may be moved, set, or destroyed from within
/// a handler. When the context ends, handlers of pending waits are destroyed and not called; a
/// timer may outlive its context, if its executor may.
///
///     kestrel::steady_timer timer(io, 5s);
///     timer.async_wait([](asio::error_code ec) {
///       if (!ec)
///         std::cout << "five seconds later\n";
///     });
template <class Clock, class Executor = net::any_io_executor>
class basic_wheel_timer {
  template <class ExecutionContext>
  static constexpr bool is_context =
      std::is_convertible_v<ExecutionContext&, net::execution_context&>;

  using waits = detail::timer_waits<Clock>;

public:
  ///@{
  /// As those of Asio's timers.
  using executor_type = Executor;
  using clock_type = Clock;
  using duration = typename clock_type::duration;
  using time_point = typename clock_type::time_point;
  using traits_type = net::wait_traits<clock_type>;
  ///@}

  /// For `as_default_on` and `as_default_on_t` of a completion token.
  template <class Executor1>
  struct rebind_executor {
    /// The timer on that kind of executor.
    using other = basic_wheel_timer<Clock, Executor1>;
  };

  /// The expiry is the epoch of the clock, so that a wait is due at once.
  explicit basic_wheel_timer(const executor_type& executor)
      : waits_(waits_of(net::query(executor, net::execution::context))), executor_(executor) {}

  /// The same on the executor of `context`.
  template <class ExecutionContext>
  requires is_context<ExecutionContext>
  explicit basic_wheel_timer(ExecutionContext& context)
      : waits_(waits_of(net::query(context.get_executor(), net::execution::context))),
        executor_(context.get_executor()) {}

  /// With an expiry.
  basic_wheel_timer(const executor_type& executor, const time_point& expiry)
      : basic_wheel_timer(executor) {
    expiry_ = expiry;
  }

  /// @overload
  template <class ExecutionContext>
  requires is_context<ExecutionContext>
  explicit basic_wheel_timer(ExecutionContext& context, const time_point& expiry)
      : basic_wheel_timer(context) {
    expiry_ = expiry;
  }

  /// With an expiry that is `delay` from now.
  basic_wheel_timer(const executor_type& executor, const duration& delay)
      : basic_wheel_timer(executor) {
    expiry_ = after(delay);
  }

  /// @overload
  template <class ExecutionContext>
  requires is_context<ExecutionContext>
  explicit basic_wheel_timer(ExecutionContext& context, const duration& delay)
      : basic_wheel_timer(context) {
    expiry_ = after(delay);
  }

  /// Takes the waits along. `other` is then as one that was made from its executor alone.
  basic_wheel_timer(basic_wheel_timer&& other) noexcept
      : waits_(other.waits_),
        queue_{std::exchange(other.queue_, nullptr)},
        expiry_{std::exchange(other.expiry_, time_point{})},
        executor_(other.executor_) {}

  /// From a timer on another kind of executor.
  template <class Executor1>
  requires std::is_convertible_v<Executor1, Executor>
  basic_wheel_timer(basic_wheel_timer<Clock, Executor1>&& other)
      : waits_(other.waits_),
        expiry_{std::exchange(other.expiry_, time_point{})},
        executor_(other.executor_) {
    queue_ = std::exchange(other.queue_, nullptr);
  }

  /// Cancels the waits there are, and takes those of `other` along.
  basic_wheel_timer& operator=(basic_wheel_timer&& other) noexcept {
    if (this != &other) {
      release();
      waits_ = other.waits_;
      queue_ = std::exchange(other.queue_, nullptr);
      expiry_ = std::exchange(other.expiry_, time_point{});
      std::destroy_at(&executor_); // executors need not be assignable
      std::construct_at(&executor_, other.executor_);
    }
    return *this;
  }

  /// @overload
  template <class Executor1>
  requires std::is_convertible_v<Executor1, Executor> basic_wheel_timer&
  operator=(basic_wheel_timer<Clock, Executor1>&& other) {
    return *this = basic_wheel_timer(std::move(other));
  }

  ~basic_wheel_timer() { release(); }

  /// The executor of handlers that have none of their own.
  const executor_type& get_executor() noexcept { return executor_; }

  /// Ends all waits with `operation_aborted`, and returns how many.
  std::size_t cancel() { return queue_ != nullptr ? waits_->cancel(*queue_) : 0; }

  /// The same for the wait that began first. Returns 0 or 1.
  std::size_t cancel_one() { return queue_ != nullptr ? waits_->cancel_one(*queue_) : 0; }

  /// As it was set; not rounded to a tick.
  time_point expiry() const { return expiry_; }

  /// Cancels all waits and returns how many.
  std::size_t expires_at(const time_point& expiry) {
    const std::size_t cancelled = cancel();
    expiry_ = expiry;
    return cancelled;
  }

  /// The same with a time from now. One beyond the clock's range is the end of that.
  std::size_t expires_after(const duration& delay) {
    detail::prefetch_object(queue_); // comes while the clock is read
    expiry_ = after(delay);
    return cancel();
  }

#if defined(KESTREL_HAS_DEPRECATED)
  // What Asio has deprecated, for code that goes on using it.

  time_point expires_at() const { return expiry_; }
  duration expires_from_now() const { return expiry_ - now(); }
  std::size_t expires_from_now(const duration& delay) { return expires_after(delay); }

  std::size_t expires_at(const time_point& expiry, net::error_code& ec) {
    ec = {};
    return expires_at(expiry);
  }

  std::size_t expires_from_now(const duration& delay, net::error_code& ec) {
    ec = {};
    return expires_after(delay);
  }

  std::size_t cancel(net::error_code& ec) {
    ec = {};
    return cancel();
  }

  std::size_t cancel_one(net::error_code& ec) {
    ec = {};
    return cancel_one();
  }
#endif

  /// Blocks until the expiry, not rounded to a tick, on the clock itself: not on virtual time.
  void wait() {
    for (time_point now; (now = clock_type::now()) < expiry_;)
      std::this_thread::sleep_for(traits_type::to_wait_duration(expiry_ - now));
  }

  /// @overload
  /// Without an error, always.
  void wait(net::error_code& ec) {
    wait();
    ec = {};
  }

  /// Waits until the expiry: `void(error_code)`, `operation_aborted` if the wait was cancelled,
  /// `errc::too_many_timers` if the timer is one beyond the `wheel_limit` of its context.
  ///
  /// The handler is called exactly once, on its associated executor, which is the timer's if it has
  /// none, and never from inside this function. Cancellation types: terminal, partial, total, also
  /// after the timer was moved.
  template <class WaitToken = typename net::default_completion_token<executor_type>::type>
  auto
  async_wait(WaitToken&& token = typename net::default_completion_token<executor_type>::type()) {
    return net::async_initiate<WaitToken, void(net::error_code)>(initiate_async_wait(*this), token);
  }

private:
  template <class Clock1, class Executor1>
  friend class basic_wheel_timer;

  class initiate_async_wait {
  public:
    using executor_type = Executor;

    explicit initiate_async_wait(basic_wheel_timer& self) noexcept : self_{&self} {}

    executor_type get_executor() const noexcept { return self_->executor_; }

    template <class Handler>
    void operator()(Handler&& handler) const {
      self_->start(std::decay_t<Handler>(std::forward<Handler>(handler)));
    }

  private:
    basic_wheel_timer* self_;
  };

  static std::shared_ptr<waits> waits_of(net::execution_context& context) {
    return net::use_service<detail::context_timers<Clock>>(context).waits();
  }

  [[nodiscard]] time_point now() const { return waits_->time().time_now(); }

  [[nodiscard]] time_point after(const duration& delay) const {
    const time_point from = now();
    if (delay > duration::zero() && from > (time_point::max)() - delay)
      return (time_point::max)();
    if (delay < duration::zero() && from < (time_point::min)() - delay)
      return (time_point::min)();
    return from + delay;
  }

  void release() {
    if (queue_ != nullptr)
      waits_->release(*std::exchange(queue_, nullptr));
  }

  template <class Handler>
  void start(Handler handler) {
    const auto slot = net::get_associated_cancellation_slot(handler);
    if (queue_ == nullptr)
      queue_ = waits_->acquire();
    detail::timer_wait_ptr wait =
        detail::make_timer_wait(std::move(handler), executor_, queue_->rooms);
    wait->set_ticket(++queue_->last_ticket);
    if (slot.is_connected())
      detail::on_cancellation(
          slot, [of = std::weak_ptr(waits_), queue = queue_, ticket = wait->ticket()] {
            if (const auto still_there = of.lock())
              still_there->cancel(*queue, ticket);
          });
    waits_->wait(*queue_, waits_->time().deadline_of(expiry_), std::move(wait));
  }

  std::shared_ptr<waits> waits_;        // of the context
  detail::wait_queue* queue_ = nullptr; // since the first wait
  time_point expiry_;
  Executor executor_;
};

/// In place of `asio::steady_timer`.
using steady_timer = basic_wheel_timer<std::chrono::steady_clock>;

KESTREL_END_NAMESPACE

#endif // KESTREL_STEADY_TIMER_HPP
