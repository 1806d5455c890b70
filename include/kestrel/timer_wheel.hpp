// SPDX-License-Identifier: MIT
//
// basic_timer_wheel: timers for programs on Asio. A timing wheel driven by one asio timer that runs
// due callbacks on the user's executor: never early, up to one tick late, O(1), without drift, with
// a cancel that tells the truth. Needs Asio 1.22.1.

#ifndef KESTREL_TIMER_WHEEL_HPP
#define KESTREL_TIMER_WHEEL_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/timer_engine.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/wheel_config.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE

/// A mutex that does nothing, for wheels that a single thread uses.
struct null_mutex {
  void lock() noexcept {}
  void unlock() noexcept {}
  bool try_lock() noexcept { return true; }
};

/// What a basic_timer_wheel is made of. Derive from it and replace what should differ.
struct default_wheel_traits {
  using clock = std::chrono::steady_clock;
  using wait_traits = net::wait_traits<clock>;
  using mutex = std::mutex;
  using geometry = dynamic_geometry;

  /// Trivially copyable callables up to this size, aligned as a pointer at most, are stored in the
  /// wheel itself. Others up to 64 bytes are kept in blocks that the wheel uses again; still larger
  /// ones and coroutines on the heap.
  static constexpr std::size_t inline_callback_size = 32;
};

struct single_threaded_wheel_traits : default_wheel_traits {
  using mutex = null_mutex;
};

/// Timers with callbacks, on an execution context.
///
/// A callback is any callable, move-only too, that takes nothing, `(timer_id)` or
/// `(timer_id, std::uint64_t missed)`. One that returns `asio::awaitable<void>` is spawned as a
/// coroutine. It runs on the wheel's executor, or on its associated executor if it has one
/// (`asio::bind_executor(strand, f)`), never inside the function that scheduled it and never under
/// a lock. What it throws leaves `run()`, as from any Asio handler; the other timers are unharmed.
///
/// A callback starts at the first tick at or after its deadline: up to one tick late plus the time
/// the context needs to get to it, never early. Timers of one tick run in the order of scheduling
/// as far as one thread runs the context; a postponed one may come after its tick-mates.
///
/// Thread safety: distinct objects safe, shared objects safe; with `null_mutex`, shared objects
/// unsafe, and the context must then be run by one thread at a time. The destructor is no exception
/// to the rules of C++: no other thread may be inside a member function.
/// Complexity: scheduling, cancelling and postponing are O(1) amortised, with at most one reading
/// of the clock; steady state allocates nothing. Exceptions: an operation that throws has changed
/// nothing. `errc::shut_down` after `shutdown()`. Lifetime: the destructor destroys pending
/// callbacks without running them. The wheel may be destroyed from its own callbacks, and it may
/// outlive its execution context, which shuts it down.
///
///     asio::io_context io;
///     kestrel::timer_wheel wheel{io};
///     kestrel::timer_id idle = wheel.schedule_after(30s, [&] { connection.close(); });
///     wheel.postpone(idle, 30s);   // data came
///     io.run();
template <class Executor = net::any_io_executor, class Traits = default_wheel_traits>
class basic_timer_wheel {
  using engine = detail::timer_engine<Executor, Traits>;
  using callback = typename engine::callback_type;
  using timer = typename engine::timer;

public:
  using executor_type = Executor;
  using traits_type = Traits;
  using clock_type = typename Traits::clock;
  using duration = typename clock_type::duration;
  using time_point = typename clock_type::time_point;
  using geometry_type = typename Traits::geometry;

  /// A wheel whose callbacks run on `executor`. Throws `std::system_error` with the `errc` of the
  /// field that makes no sense.
  explicit basic_timer_wheel(const executor_type& executor,
                             const wheel_config& config = {}) requires
      std::constructible_from<geometry_type, const wheel_config&>
      : basic_timer_wheel(executor, checked(config)) {}

  explicit basic_timer_wheel(const executor_type& executor, const geometry_type& geometry)
      : engine_(engine::create(executor, geometry)) {}

  explicit basic_timer_wheel(const executor_type& executor) requires(
      !std::constructible_from<geometry_type, const wheel_config&>)
      : basic_timer_wheel(executor, geometry_type()) {}

  /// As above, on the executor of `context`.
  template <class ExecutionContext>
  requires std::convertible_to<ExecutionContext&, net::execution_context&>
  explicit basic_timer_wheel(ExecutionContext& context)
      : basic_timer_wheel(executor_type(context.get_executor())) {}

  template <class ExecutionContext>
  requires std::convertible_to<ExecutionContext&, net::execution_context&> &&
      std::constructible_from<geometry_type, const wheel_config&>
      basic_timer_wheel(ExecutionContext& context, const wheel_config& config)
      : basic_timer_wheel(executor_type(context.get_executor()), config) {}

  basic_timer_wheel(const basic_timer_wheel&) = delete;
  basic_timer_wheel& operator=(const basic_timer_wheel&) = delete;

  ~basic_timer_wheel() { engine_->close(); }

  /// Not after the execution context was destroyed.
  [[nodiscard]] executor_type get_executor() const noexcept { return engine_->get_executor(); }

  /// Runs `f` once, `delay` from now. A delay of zero or less is due at once; one beyond the
  /// clock's range is due at its end. `errc::invalid_delay` if it is not a number.
  template <class Rep, class Period, class F>
  timer_id schedule_after(const std::chrono::duration<Rep, Period>& delay, F&& f) {
    return engine_->schedule_after(delay_of(delay), timer(kept(std::forward<F>(f))));
  }

  /// Runs `f` once, at `deadline`. Does not read the clock.
  template <class Duration, class F>
  timer_id schedule_at(const std::chrono::time_point<clock_type, Duration>& deadline, F&& f) {
    return engine_->schedule_at(engine_->deadline_of(deadline), timer(kept(std::forward<F>(f))));
  }

  /// Runs `f` at now + `initial` + k * `interval`, k = 0, 1, 2, ... without drift, whatever the
  /// tick.
  ///
  /// A firing that comes late is followed by the next whole period that is still to come; `missed`
  /// tells `f` how many were left out. `f` never overlaps itself: the next firing waits for it. The
  /// timer remains pending while `f` runs, and may be cancelled or postponed from inside;
  /// `postpone` moves the next firing and all that follow. It goes on if `f` throws. A coroutine
  /// counts as finished when it first suspends. `errc::invalid_interval` unless `interval` is
  /// positive.
  template <class Rep1, class Period1, class Rep2, class Period2, class F>
  timer_id schedule_every(const std::chrono::duration<Rep1, Period1>& initial,
                          const std::chrono::duration<Rep2, Period2>& interval, F&& f) {
    const std::int64_t period = detail::ceil_ns(interval, errc::invalid_interval);
    if (period <= 0)
      detail::throw_error(errc::invalid_interval);
    return engine_->schedule_after(delay_of(initial), timer(kept(std::forward<F>(f)), period));
  }

  /// True: the callback has not started (again) and never will, even if it was queued already.
  /// False: it has started, has run, was cancelled, or `id` names no timer of this wheel.
  bool cancel(timer_id id) { return engine_->cancel(id); }

  /// Moves the deadline to `delay` from now and keeps the callback. True: the old deadline will not
  /// fire, even if the callback was queued already. False: as for `cancel`.
  template <class Rep, class Period>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay) {
    return engine_->postpone_after(id, delay_of(delay));
  }

  /// The same, and replaces the callback by `f`. If it returns false, `f` is destroyed.
  template <class Rep, class Period, class F>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    return engine_->postpone_after(id, delay_of(delay), kept(std::forward<F>(f)));
  }

  /// The same with an absolute deadline. Does not read the clock.
  template <class Duration>
  bool postpone_at(timer_id id, const std::chrono::time_point<clock_type, Duration>& deadline) {
    return engine_->postpone_at(id, engine_->deadline_of(deadline));
  }

  template <class Duration, class F>
  bool postpone_at(timer_id id, const std::chrono::time_point<clock_type, Duration>& deadline,
                   F&& f) {
    return engine_->postpone_at(id, engine_->deadline_of(deadline), kept(std::forward<F>(f)));
  }

  /// How many timers are pending. A periodic timer is, until it is cancelled.
  [[nodiscard]] std::size_t size() const { return engine_->size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// The deadline of a pending timer, not rounded to a tick; for one that was over when it was set,
  /// a time up to one tick before that. Nothing if `id` names none.
  [[nodiscard]] std::optional<time_point> expiry(timer_id id) const { return engine_->expiry(id); }

  /// Makes room for `n` pending timers in all. Until there are more, scheduling, cancelling and
  /// postponing with trivially copyable callables up to 32 bytes allocate nothing but, once, the
  /// driver's own handler. Blocks for other callables are allocated when first needed, and kept.
  void reserve(std::size_t n) { engine_->reserve(n); }

  [[nodiscard]] timer_wheel_stats stats() const { return engine_->stats(); }

  /// Destroys all pending callbacks without running them. Scheduling throws `errc::shut_down` from
  /// now on; `cancel` and `postpone` return false. A callback that is running finishes. Idempotent.
  void shutdown() { engine_->shutdown(); }

private:
  static geometry_type checked(const wheel_config& config) {
    if (config.l0_tick % duration(1) != std::chrono::nanoseconds::zero())
      detail::throw_error(errc::invalid_l0_tick);
    return geometry_type(config);
  }

  template <class F>
  callback kept(F&& f) const {
    return callback(engine_->memory_of_callables(), std::forward<F>(f));
  }

  template <class Rep, class Period>
  static std::int64_t delay_of(const std::chrono::duration<Rep, Period>& delay) {
    return detail::ceil_ns(delay, errc::invalid_delay);
  }

  std::shared_ptr<engine> engine_;
};

/// The wheel for most programs: any executor, any thread, geometry chosen at run time.
using timer_wheel = basic_timer_wheel<>;

/// Without a lock, for a context that one thread runs.
using single_threaded_timer_wheel =
    basic_timer_wheel<net::any_io_executor, single_threaded_wheel_traits>;

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_WHEEL_HPP
