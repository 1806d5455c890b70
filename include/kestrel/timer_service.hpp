// SPDX-License-Identifier: MIT
//
// timer_service: many timers, and one consumer that is told of every firing.

#ifndef KESTREL_TIMER_SERVICE_HPP
#define KESTREL_TIMER_SERVICE_HPP

#include <kestrel/batch_handle.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/batch.hpp>
#include <kestrel/detail/initiation.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/service_state.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/error.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_notification.hpp>
#include <kestrel/timer_slot.hpp>
#include <kestrel/timer_task.hpp>
#include <kestrel/timer_wheel.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// What a service is made with.
struct service_config {
  /// While no more firings than this wait for the consumer, each is a notification of its own;
  /// those of one timer take turns with those of others. Beyond, the firings of one timer are told
  /// in one, with their number. At least 1, else `errc::invalid_capacity`.
  std::size_t capacity = 1000;
};

/// Timers whose firings go, one after the other, to whoever calls `async_receive`. Cancelled timers
/// are not told of.
///
/// A firing is told when its callback, if there is one, has run or thrown; that of a coroutine,
/// when it has first suspended. A slow consumer holds nobody up and loses nothing: what waits is
/// one small record per timer, made when the timer is scheduled, and a count in it. Several
/// services may share a wheel; each knows its own timers only. Errors and callbacks as for
/// basic_timer_wheel.
///
/// Thread safety: distinct objects safe, shared objects safe, if the wheel is and `Mutex` is one.
/// Complexity: as the wheel's, for scheduling, cancelling and postponing; each timer takes a few
/// small records. Receiving is O(log n) in the receivers that wait, also to cut one short. The end
/// of a service costs what cancelling its timers does.
/// Lifetime: the destructor does what `shutdown` does, and what was not received is dropped. It may
/// be destroyed in its own callbacks and receivers, and outlive its wheel and the wheel's execution
/// context; then nothing new comes.
///
///     kestrel::timer_service sessions{wheel, {.capacity = 1000}};
///     kestrel::timer_id session = sessions.schedule_after(30min);
///     sessions.postpone(session, 30min); // it was used
///     for (;;) {
///       auto expired = co_await sessions.async_receive(asio::use_awaitable);
///       log_out(expired.id);
///     }
///
/// `Clock` is the wheel's; so it is in `basic_timer_service service{wheel};`. A service on another
/// clock than its wheel's refuses points in time (`errc::other_clock`), and its handles must not be
/// asked for theirs. `DefaultToken` is the completion token of `async_receive`, and of its handles'
/// waits, without one. `Mutex` is what makes shared services safe; that of the wheel, if it is left
/// to be deduced.
template <class Clock = std::chrono::steady_clock,
          class DefaultToken = detail::default_token<net::any_io_executor>,
          class Mutex = std::mutex>
class basic_timer_service {
  using state = detail::service_state<Mutex>;

public:
  ///@{
  /// What it is made of; any wheel's executor converts to its own.
  using clock_type = Clock;
  using time_point = typename Clock::time_point;
  using executor_type = net::any_io_executor;
  using handle_type = basic_timer_handle<Clock, DefaultToken>;
  using batch_handle_type = basic_batch_handle<Clock, DefaultToken>;
  ///@}

  /// For `as_default_on_t` of a completion token.
  template <class Executor>
  struct rebind_executor {
    /// The service with the default token of `Executor`.
    using other = basic_timer_service<Clock, detail::default_token<Executor>, Mutex>;
  };

  /// A service on `wheel`. `errc::invalid_capacity` if that is zero.
  template <class Executor, class Traits>
  explicit basic_timer_service(basic_timer_wheel<Executor, Traits>& wheel,
                               const service_config& config = {})
      : has_clock_of_wheel_{std::is_same_v<Clock, typename Traits::clock>},
        host_(wheel.engine_),
        state_(std::make_shared<state>(config.capacity)) {
    if (config.capacity == 0)
      detail::throw_error(errc::invalid_capacity, "capacity = 0");
    host_->follow(state_);
  }

  basic_timer_service(const basic_timer_service&) = delete;
  basic_timer_service& operator=(const basic_timer_service&) = delete;

  ~basic_timer_service() { shutdown(); }

  /// The wheel's; once that context is gone, the system's.
  [[nodiscard]] executor_type get_executor() const { return host_->any_executor(); }

  // ---- Timers

  /// As the wheel's.
  [[nodiscard]] timer_slot allocate() { return std::move(allocate(1).front()); }
  /// @overload
  [[nodiscard]] std::vector<timer_slot> allocate(std::size_t n) {
    return detail::slot_access::make(host_, n);
  }

  /// As the wheel's, with a callback or without.
  template <class Rep, class Period, class F = detail::do_nothing>
  timer_id schedule_after(const std::chrono::duration<Rep, Period>& delay, F&& f = {}) {
    return schedule(timer_task::one_shot(delay, std::forward<F>(f))).id();
  }

  /// Asks for the time once more than the wheel does.
  template <class Duration, class F = detail::do_nothing>
  timer_id schedule_at(const std::chrono::time_point<Clock, Duration>& deadline, F&& f = {}) {
    require_clock_of_wheel();
    const std::int64_t delay =
        detail::saturating_sub(detail::instant_of(deadline), host_->now_ns());
    return schedule_after(std::chrono::nanoseconds(delay), std::forward<F>(f));
  }

  /// As the wheel's, with a callback or without.
  template <class Rep1, class Period1, class Rep2, class Period2, class F = detail::do_nothing>
  timer_id schedule_every(const std::chrono::duration<Rep1, Period1>& initial,
                          const std::chrono::duration<Rep2, Period2>& interval, F&& f = {},
                          missed_periods policy = missed_periods::skip) {
    return schedule(timer_task::periodic(initial, interval, std::forward<F>(f), policy)).id();
  }

  /// Takes the callable out of `task`, as the wheel does. What a handle is told, the consumer is
  /// told as well.
  handle_type schedule(timer_task& task) { return schedule(std::span(&task, 1))[0]; }
  /// @overload
  handle_type schedule(timer_task&& task) { return schedule(task); }

  /// @overload
  handle_type schedule(timer_slot&& slot, timer_task& task) {
    return schedule(std::span(&slot, 1), std::span(&task, 1))[0];
  }
  /// @overload
  handle_type schedule(timer_slot&& slot, timer_task&& task) {
    return schedule(std::move(slot), task);
  }

  /// All or nothing, inserted under one lock; in the order of the tasks.
  template <detail::range_to_take_from<timer_task> Tasks>
  batch_handle_type schedule(Tasks&& tasks) {
    detail::new_timers batch(tasks);
    detail::subscriptions<Mutex> subscribed(state_);
    batch.schedule(*host_, subscribed);
    return keep(batch, subscribed);
  }

  /// The i-th task in the i-th slot.
  template <detail::range_to_take_from<timer_slot> Slots,
            detail::range_to_take_from<timer_task> Tasks>
  batch_handle_type schedule(Slots&& slots, Tasks&& tasks) {
    detail::new_timers batch(tasks);
    detail::subscriptions<Mutex> subscribed(state_);
    batch.schedule_in(slots, host_, subscribed);
    return keep(batch, subscribed);
  }

  /// False also for the timers of others. A firing that waits for the consumer is still told.
  bool cancel(timer_id id) { return state_->owns(id) && host_->cancel(id); }

  /// Returns how many did. `cancel({a, b})` will do.
  template <detail::range_of_ids Ids = std::initializer_list<timer_id>>
  std::size_t cancel(Ids&& ids) {
    std::vector<timer_id> own;
    for (const timer_id id : ids) {
      if (state_->owns(id))
        own.push_back(id);
    }
    return host_->cancel(own);
  }

  /// As the wheel's; false also for the timers of others.
  template <class Rep, class Period>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay) {
    return state_->owns(id) && host_->postpone_after(id, detail::delay_of(delay));
  }

  /// @overload
  template <class Rep, class Period, class F>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    return state_->owns(id) &&
           host_->postpone_after(id, detail::delay_of(delay),
                                 detail::replacement(*host_, id, std::forward<F>(f)));
  }

  /// `moves` is a range of `{id, delay}` or `{id, delay, callback}`, as for the wheel. Returns how
  /// many did.
  template <
      detail::range_of_tuples Moves = std::initializer_list<std::pair<timer_id, detail::any_delay>>>
  std::size_t postpone(Moves&& moves) {
    detail::postponements all(host_);
    detail::for_each_element(std::forward<Moves>(moves), [&](auto&& move) {
      if (state_->owns(std::get<0>(move)))
        all.add(std::forward<decltype(move)>(move));
    });
    return all.apply();
  }

  /// How many of the service's timers are pending; a one-shot timer is counted until its callback
  /// has run.
  [[nodiscard]] std::size_t size() const { return state_->size(); }
  /// Whether none is pending.
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// The deadline of one of the service's timers, if it is pending. Nothing for those of others.
  [[nodiscard]] std::optional<time_point> expiry(timer_id id) const {
    require_clock_of_wheel();
    const auto ns = state_->owns(id) ? host_->expiry_ns(id) : std::nullopt;
    return ns ? std::optional(detail::wheel_clock<Clock>::time_of_ns(*ns)) : std::nullopt;
  }

  // ---- Notifications

  /// Yields the next firing: `void(error_code, timer_notification)`. Those that call at once are
  /// served in turn.
  ///
  /// Errors: `operation_aborted` if it was cancelled through its slot (of any type: then nothing
  /// has been received), or if the service is shut down or destroyed, or the wheel ends, while it
  /// waits; `errc::shut_down` if that was before and all is received. The handler is called exactly
  /// once, on its associated executor, else the wheel's (once that context is gone, the system's),
  /// and never inside this function, but through an immediate executor of its own. If the executor
  /// is destroyed first, so is the handler. To post it on an `io_context` takes no memory; if
  /// another executor has none left for it, the program ends.
  template <class CompletionToken = DefaultToken>
  auto async_receive(CompletionToken&& token = CompletionToken()) {
    return net::async_initiate<CompletionToken, void(net::error_code, timer_notification)>(
        detail::initiation(host_,
                           [host = host_, of = state_](auto&& handler) {
                             begin_to_receive<std::decay_t<decltype(handler)>>(
                                 *host, of, std::forward<decltype(handler)>(handler));
                           }),
        token);
  }

  /// The next firing, if one waits to be received. Never waits, nor allocates.
  std::optional<timer_notification> try_receive() { return state_->try_receive(); }

  /// Cancels the service's timers and closes it: scheduling throws `errc::shut_down`, and those who
  /// wait to receive end with `operation_aborted`. What was fired before can still be received; a
  /// callback that is running finishes. Never waits for anyone. Idempotent.
  void shutdown() {
    state_->close();
    while (const timer_id id = state_->take_one())
      host_->cancel(id);
  }

private:
  template <class Handler>
  static void begin_to_receive(const detail::timer_host& host, const std::shared_ptr<state>& of,
                               Handler handler) {
    if constexpr (detail::has_immediate_executor<Handler>) {
      if (const auto now = of->receive_now())
        return detail::complete_at_once(std::move(handler), now->error, now->notification);
    }
    const auto slot = net::get_associated_cancellation_slot(handler);
    auto op = detail::make_wait_op<detail::receive_op>(std::move(handler), host.any_executor());
    detail::on_cancellation(slot, [s = std::weak_ptr(of), ticket = op->ticket()] {
      if (const auto still_there = s.lock())
        still_there->abort(ticket);
    });
    of->receive(std::move(op));
  }

  template <class Batch>
  batch_handle_type keep(Batch& batch, detail::subscriptions<Mutex>& subscribed) {
    subscribed.keep(batch.ids, *host_);
    return batch_handle_type(host_, std::move(batch.ids), std::move(batch.watches));
  }

  void require_clock_of_wheel() const {
    if (!has_clock_of_wheel_)
      detail::throw_error(errc::other_clock);
  }

  const bool has_clock_of_wheel_;
  std::shared_ptr<detail::timer_host> host_;
  std::shared_ptr<state> state_;
};

/// The service has the clock, the default token and the mutex of its wheel.
template <class Executor, class Traits>
basic_timer_service(basic_timer_wheel<Executor, Traits>&, const service_config& = {})
    -> basic_timer_service<typename Traits::clock, detail::default_token<Executor>,
                           typename Traits::mutex>;

/// The service for wheels on `std::chrono::steady_clock`.
using timer_service = basic_timer_service<>;

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_SERVICE_HPP
