// SPDX-License-Identifier: MIT
//
// basic_timer_wheel: timers for programs on Asio. A timing wheel driven by one asio timer that runs
// due callbacks on the user's executor: never early, up to one tick late, O(1), without drift, with
// a cancel that tells the truth. Needs Asio 1.22.1.

#ifndef KESTREL_TIMER_WHEEL_HPP
#define KESTREL_TIMER_WHEEL_HPP

#include <kestrel/batch_handle.hpp>
#include <kestrel/coarse_steady_clock.hpp>
#include <kestrel/completion.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/async_wait.hpp>
#include <kestrel/detail/batch.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/timer_engine.hpp>
#include <kestrel/error.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_slot.hpp>
#include <kestrel/timer_task.hpp>
#include <kestrel/timer_wheel_stats.hpp>
#include <kestrel/wheel_config.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// A mutex that does nothing, for wheels that a single thread uses.
struct null_mutex {
  /// Does nothing.
  void lock() noexcept {}
  /// Does nothing.
  void unlock() noexcept {}
  /// Does nothing, successfully.
  bool try_lock() noexcept { return true; }
};

/// What a basic_timer_wheel is made of. Derive from it and replace what should differ. One more may
/// be there: `delay_clock`, for delays to count from another clock than `clock`, which costs less
/// to read, has the same time points, is never ahead and at most `delay_clock::max_lag()` behind.
/// That much is added to every delay, so that no timer is early.
struct default_wheel_traits {
  /// What deadlines are times of.
  using clock = std::chrono::steady_clock;
  /// How the one Asio timer of the wheel waits for that clock.
  using wait_traits = net::wait_traits<clock>;
  /// What makes shared wheels safe.
  using mutex = std::mutex;
  /// Chosen at run time, or a `static_geometry` whose granularity is the nanoseconds of a tick.
  using geometry = dynamic_geometry;
};

/// Without a lock: for wheels that one thread at a time uses.
struct single_threaded_wheel_traits : default_wheel_traits {
  /// None.
  using mutex = null_mutex;
};

/// Timers with delays are up to `coarse_steady_clock::max_lag()` later, and cost less to schedule
/// and to postpone.
struct coarse_wheel_traits : default_wheel_traits {
  using delay_clock = coarse_steady_clock; ///< what delays count from
};

/// Both: no lock, and a coarse clock for delays.
struct single_threaded_coarse_wheel_traits : single_threaded_wheel_traits {
  using delay_clock = coarse_steady_clock; ///< what delays count from
};

/// Timers with callbacks, on an execution context.
///
/// A callback is any callable, move-only too, that takes nothing, `(timer_id)` or
/// `(timer_id, std::uint64_t missed)`. One that returns `asio::awaitable<void>` is spawned as a
/// coroutine. It runs on the wheel's executor, or on its associated executor if it has one
/// (`asio::bind_executor(strand, f)`; its `get_executor()` must not use the wheel), never inside
/// the function that scheduled it and never under a lock. What it throws leaves `run()`, as from
/// any Asio handler; the other timers are unharmed.
///
/// Whatever but `none` is emitted in a callback's associated cancellation slot
/// (`asio::bind_cancellation_slot(slot, f)`) cancels its timer as `cancel` does, from when the
/// timer is scheduled until it has fired for the last time or has another callback; later, it does
/// nothing. The coroutines of a callback are told as well, until they end. The slot is used inside
/// the function that takes the callback and by coroutines when they begin; if that function throws
/// or returns false, a handler that does nothing, or none, is left in it. The wheel does not need
/// the signal later. It may be emitted on any thread that may use the wheel; where there are
/// coroutines, on their executor only, and the signal must outlive them.
///
/// A callable that is not stored in the wheel itself is in memory of its associated allocator, if
/// it has one. That of a one-shot timer is freed before it is called, unless moving it may throw.
///
/// A callback starts at the first tick at or after its deadline: up to one tick late plus the time
/// the context needs to get to it, never early. Timers of one tick run in the order of scheduling
/// as far as one thread runs the context; a postponed one may come after its tick-mates. Callbacks
/// run in batches of at most 256, and about 0.1 ms, between which other handlers get their turn and
/// `stop()` of the context takes effect.
///
/// Thread safety: distinct objects safe, shared objects safe; with `null_mutex`, shared objects
/// unsafe, and the context must then be run by one thread at a time. The destructor is no exception
/// to the rules of C++: no other thread may be inside a member function.
/// Complexity: scheduling, cancelling and postponing are O(1) amortised, with at most one reading
/// of the clock; steady state allocates nothing, but for slots, tasks, batches, waits and
/// connected cancellation slots.
/// Exceptions: an operation that throws has changed nothing. `errc::shut_down` after `shutdown()`,
/// `errc::too_many_timers` beyond `limit()`.
/// If Asio has no memory for the timer that wakes the wheel, `bad_alloc` leaves `run()`, and the
/// next `run()` tries again.
/// Lifetime: the destructor destroys pending callbacks without running them. The wheel may be
/// destroyed from its own callbacks, and it may outlive its execution context, which shuts it down.
/// A timer that is due on its callback's own executor ends if that destroys what it was given. The
/// wheel's executor must not own its context. After a `fork` around which the context was told
/// (`notify_fork`), what is pending fires in both processes, once in each; no other thread may use
/// the wheel or run the context meanwhile.
///
///     asio::io_context io;
///     kestrel::timer_wheel wheel{io};
///     kestrel::timer_id idle = wheel.schedule_after(30s, [&] { connection.close(); });
///     wheel.postpone(idle, 30s);   // data came
///     io.run();
template <class Executor = net::any_io_executor, class Traits = default_wheel_traits>
class basic_timer_wheel {
  using engine = detail::timer_engine<Executor, Traits>;
  using timer = detail::pending_timer;

public:
  ///@{
  /// What it is made of, and what it hands out.
  using executor_type = Executor;
  using traits_type = Traits;
  using clock_type = typename Traits::clock;
  using duration = typename clock_type::duration;
  using time_point = typename clock_type::time_point;
  using geometry_type = typename Traits::geometry;
  using default_token = detail::default_token<executor_type>;
  using handle_type = basic_timer_handle<clock_type, default_token>;
  using batch_handle_type = basic_batch_handle<clock_type, default_token>;
  ///@}

  /// A wheel of this sort on another kind of executor. So `use_awaitable_t<>::as_default_on_t` of
  /// it is one whose waits, and those of its handles, need no completion token.
  template <class OtherExecutor>
  struct rebind_executor {
    /// That wheel.
    using other = basic_timer_wheel<OtherExecutor, Traits>;
  };

  /// A wheel whose callbacks run on `executor`. Throws `std::system_error` with the `errc` of the
  /// field that makes no sense.
  explicit basic_timer_wheel(const executor_type& executor,
                             const wheel_config& config = {}) requires
      std::constructible_from<geometry_type, const wheel_config&>
      : basic_timer_wheel(executor, detail::checked_geometry<clock_type, geometry_type>(config)) {}

  /// With a geometry that was made before.
  explicit basic_timer_wheel(const executor_type& executor, const geometry_type& geometry)
      : engine_(engine::create(executor, geometry)) {}

  /// With a geometry that is fixed at compile time.
  explicit basic_timer_wheel(const executor_type& executor) requires(
      !std::constructible_from<geometry_type, const wheel_config&>)
      : basic_timer_wheel(executor, geometry_type()) {}

  /// As above, on the executor of `context`.
  template <class ExecutionContext>
  requires std::convertible_to<ExecutionContext&, net::execution_context&>
  explicit basic_timer_wheel(ExecutionContext& context)
      : basic_timer_wheel(executor_type(context.get_executor())) {}

  /// @overload
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
    if constexpr (has_slot<F>)
      return engine_->schedule_linked_after(detail::delay_of(delay), new_timer(std::forward<F>(f)));
    else
      return engine_->schedule_after(detail::delay_of(delay), new_timer(std::forward<F>(f)));
  }

  /// Runs `f` once, at `deadline`. Does not read the clock.
  template <class Duration, class F>
  timer_id schedule_at(const std::chrono::time_point<clock_type, Duration>& deadline, F&& f) {
    const std::uint64_t time = engine_->time().deadline_of(deadline);
    if constexpr (has_slot<F>)
      return engine_->schedule_linked_at(time, new_timer(std::forward<F>(f)));
    else
      return engine_->schedule_at(time, new_timer(std::forward<F>(f)));
  }

  /// Runs `f` at now + `initial` + k * `interval`, k = 0, 1, 2, ... without drift, whatever the
  /// tick.
  ///
  /// What happens to a firing that comes so late that the next one is due is up to `policy`;
  /// `missed` tells `f` how many were left out. `f` never overlaps itself: the next firing waits
  /// for it. The timer remains pending while `f` runs, and may be cancelled or postponed from
  /// inside; `postpone` moves the next firing and all that follow. It goes on if `f` throws. A
  /// coroutine counts as finished when it first suspends. `errc::invalid_interval` unless
  /// `interval` is positive; one of 36 years or more never comes.
  template <class Rep1, class Period1, class Rep2, class Period2, class F>
  timer_id schedule_every(const std::chrono::duration<Rep1, Period1>& initial,
                          const std::chrono::duration<Rep2, Period2>& interval, F&& f,
                          missed_periods policy = missed_periods::skip) {
    const std::int64_t period = detail::interval_of(interval);
    const std::int64_t delay = detail::delay_of(initial);
    if constexpr (has_slot<F>)
      return engine_->schedule_linked_after(delay, new_timer(std::forward<F>(f), period, policy));
    else
      return engine_->schedule_after(delay, new_timer(std::forward<F>(f), period, policy));
  }

  /// True: the callback has not started (again) and never will, even if it was queued already.
  /// False: it has started, has run, was cancelled, or `id` names no timer of this wheel.
  bool cancel(timer_id id) { return engine_->cancel(id); }

  /// Moves the deadline to `delay` from now and keeps the callback. True: the old deadline will not
  /// fire, even if the callback was queued already. False: as for `cancel`.
  template <class Rep, class Period>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay) {
    return engine_->postpone_after(id, detail::delay_of(delay));
  }

  /// The same, and replaces the callback by `f`. If it returns false, `f` is destroyed.
  template <class Rep, class Period, class F>
  bool postpone(timer_id id, const std::chrono::duration<Rep, Period>& delay, F&& f) {
    return engine_->postpone_after(id, detail::delay_of(delay),
                                   detail::replacement(*engine_, id, std::forward<F>(f)));
  }

  /// The same with an absolute deadline. Does not read the clock.
  template <class Duration>
  bool postpone_at(timer_id id, const std::chrono::time_point<clock_type, Duration>& deadline) {
    return engine_->postpone_at(id, engine_->time().deadline_of(deadline));
  }

  /// The same, and replaces the callback by `f`.
  template <class Duration, class F>
  bool postpone_at(timer_id id, const std::chrono::time_point<clock_type, Duration>& deadline,
                   F&& f) {
    return engine_->postpone_at(id, engine_->time().deadline_of(deadline),
                                detail::replacement(*engine_, id, std::forward<F>(f)));
  }

  // ---- Two steps: the id first

  /// Sets a slot aside. O(1) amortised. `errc::too_many_timers`, `errc::shut_down`, `bad_alloc`.
  [[nodiscard]] timer_slot allocate() { return std::move(allocate(1).front()); }

  /// `n` of them, or none.
  [[nodiscard]] std::vector<timer_slot> allocate(std::size_t n) {
    return detail::slot_access::make(engine_, n);
  }

  /// Schedules `task` in `slot`: takes its callable, and the slot is empty afterwards. On failure
  /// neither has changed.
  /// `errc::invalid_slot` if the slot is empty or another wheel's.
  handle_type schedule(timer_slot&& slot, timer_task& task) {
    return schedule(std::span(&slot, 1), std::span(&task, 1))[0];
  }
  /// @overload
  handle_type schedule(timer_slot&& slot, timer_task&& task) {
    return schedule(std::move(slot), task);
  }

  /// The same in a slot of its own.
  handle_type schedule(timer_task& task) { return schedule(std::span(&task, 1))[0]; }
  /// @overload
  handle_type schedule(timer_task&& task) { return schedule(task); }

  /// A handle of a timer that was scheduled by its id. Its first `async_wait` begins to count.
  [[nodiscard]] handle_type handle(timer_id id) const { return handle_type(engine_, id, nullptr); }

  // ---- Batches: inserted, cancelled or moved under one lock, in the order of the range, and all
  // or nothing on failure

  /// Schedules the i-th task in the i-th slot. `errc::batch_length_mismatch` if there are more of
  /// one than of the other; `errc::invalid_slot` and `errc::invalid_callback` with the number, from
  /// 0, of a slot or task that is empty, another wheel's, or in the batch twice.
  ///
  /// On failure slots and tasks are as they were, except those of a range that makes them as it
  /// goes, or can be gone through only once: these are destroyed.
  template <detail::range_to_take_from<timer_slot> Slots,
            detail::range_to_take_from<timer_task> Tasks>
  batch_handle_type schedule(Slots&& slots, Tasks&& tasks) {
    detail::new_timers batch(tasks);
    batch.schedule_in(slots, engine_, detail::watches_to_ask);
    return batch_handle_type(engine_, std::move(batch.ids), std::move(batch.watches));
  }

  /// The same in slots of their own.
  template <detail::range_to_take_from<timer_task> Tasks>
  batch_handle_type schedule(Tasks&& tasks) {
    detail::new_timers batch(tasks);
    batch.schedule(*engine_, detail::watches_to_ask);
    return batch_handle_type(engine_, std::move(batch.ids), std::move(batch.watches));
  }

  /// Returns how many were pending. `cancel({a, b})` will do.
  template <detail::range_of_ids Ids = std::initializer_list<timer_id>>
  std::size_t cancel(Ids&& ids) {
    std::vector<timer_id> all;
    if constexpr (std::ranges::sized_range<Ids>)
      all.reserve(static_cast<std::size_t>(std::ranges::size(ids)));
    for (const timer_id id : ids)
      all.push_back(id);
    return engine_->cancel(all);
  }

  /// Postpones each by its own delay and returns how many were pending. `moves` is a range of
  /// tuples or pairs: `{id, delay}`, or `{id, delay, callback}` to replace the callback too, unless
  /// that is an `std::optional` without one. `postpone({{a, 1s}, {b, 2s}})` will do; structures of
  /// your own are for `std::views::transform` to make tuples of.
  ///
  /// `errc::invalid_callback` for an empty `std::function`.
  template <
      detail::range_of_tuples Moves = std::initializer_list<std::pair<timer_id, detail::any_delay>>>
  std::size_t postpone(Moves&& moves) {
    detail::postponements all(engine_);
    detail::for_each_element(std::forward<Moves>(moves),
                             [&](auto&& move) { all.add(std::forward<decltype(move)>(move)); });
    return all.apply();
  }

  // ---- Waiting

  /// Waits for the timer's next firing, or its cancellation: `void(error_code, completion)`.
  ///
  /// All who wait for one timer by its id are one reader, from the first wait on: a firing while
  /// none of them waits is counted for the first who does, unless the timer has ended meanwhile;
  /// how it ended is for those to know who wait then. A reader of its own, from whom nothing is
  /// lost, is a handle, and each copy of it.
  /// Errors: `errc::no_such_timer` if `id` names no pending timer; `operation_aborted` if the wait
  /// was cancelled through its slot (of any type: nothing has been told then), or the wheel ended.
  ///
  /// The handler is called exactly once, unless its context is destroyed with it: on its associated
  /// executor, else the wheel's (once that context is gone, on a thread of the system's executor),
  /// and never inside this function, but by an immediate executor.
  template <class CompletionToken = default_token>
  auto async_wait(timer_id id, CompletionToken&& token = CompletionToken()) {
    std::shared_ptr<detail::watch> watch = engine_->watch_of(id);
    std::shared_ptr<detail::notice_cursor> cursor(watch, watch != nullptr ? &watch->cursor_by_id()
                                                                          : nullptr);
    return detail::async_wait(engine_, std::move(watch), std::move(cursor),
                              std::forward<CompletionToken>(token));
  }

  /// Waits until `delay` from now, without a callback: `void(error_code)`. The handler is called as
  /// that of `async_wait`, but by no immediate executor.
  ///
  /// Errors: `operation_aborted` if it was cancelled through its slot (of any type), or the wheel
  /// ended; if the wait could not begin, `errc::too_many_timers` beyond `limit()`,
  /// `errc::shut_down`, or `std::errc::not_enough_memory`.
  template <class Rep, class Period, class CompletionToken = default_token>
  auto async_wait_after(const std::chrono::duration<Rep, Period>& delay,
                        CompletionToken&& token = CompletionToken()) {
    return detail::async_wait_after(engine_, detail::delay_of(delay),
                                    std::forward<CompletionToken>(token));
  }

  // ---- The whole wheel

  /// What the wheel goes by: the time of its clock, unless a test has put its execution context
  /// under virtual time (kestrel/testing.hpp). Code that takes it from here can be tested so.
  [[nodiscard]] time_point now() const { return engine_->time().clock_now(); }

  /// How many timers are pending. A periodic timer is, until it is cancelled.
  [[nodiscard]] std::size_t size() const { return engine_->size(); }
  /// Whether none is pending.
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// The deadline of a pending timer, not rounded to a tick; for one that was over when it was set,
  /// a time up to one tick before that. Nothing if `id` names none.
  [[nodiscard]] std::optional<time_point> expiry(timer_id id) const { return handle(id).expiry(); }

  /// Makes room for `n` pending timers in all. Until there are more, scheduling, cancelling and
  /// postponing with trivially copyable callables up to 32 bytes allocate nothing but, once, the
  /// driver's own handler. Blocks for other callables are allocated when first needed, and kept.
  void reserve(std::size_t n) { engine_->reserve(n); }

  /// Gives back memory that is not needed for what is pending: after a burst of timers, all that it
  /// took, if those that remain were there before it. Callables stay where they are, and so only
  /// what is free behind the last of them can go; what one `reserve` or step of growth got goes as
  /// a whole, and blocks for callables that are not in the wheel itself are kept. O(capacity),
  /// under the wheel's lock. `bad_alloc`, since it needs a little more meanwhile.
  void shrink_to_fit() { engine_->shrink_to_fit(); }

  /// Refuses timers beyond `n` that are pending, where others decide how many there are: scheduling
  /// then throws `errc::too_many_timers` and changes nothing. Those that are pending remain. Slots
  /// set aside do not count before their timers are scheduled. At first, 2^30.
  void limit(std::size_t n) { engine_->limit(n); }
  /// How many may be pending.
  [[nodiscard]] std::size_t limit() const { return engine_->limit(); }

  /// What the wheel has done and what it holds, at one moment.
  [[nodiscard]] timer_wheel_stats stats() const { return engine_->stats(); }

  /// How many timers each slot holds, at the time that the wheel woke last; after `shutdown()`, no
  /// slots. O(slots).
  [[nodiscard]] wheel_occupancy occupancy() const { return engine_->occupancy(); }

  /// Destroys all pending callbacks without running them. Scheduling throws `errc::shut_down` from
  /// now on; `cancel` and `postpone` return false. A callback that is running finishes. Idempotent.
  void shutdown() { engine_->shutdown(); }

private:
  template <class, class, class>
  friend class basic_timer_service;
  friend struct detail::host_access;

  template <class F>
  static constexpr bool has_slot = detail::has_cancellation_slot<std::decay_t<F>>;

  template <class F>
  timer new_timer(F&& f, std::int64_t interval = 0,
                  missed_periods policy = missed_periods::skip) const {
    return timer(interval, policy, false, engine_->memory_of_callables(), std::forward<F>(f));
  }

  std::shared_ptr<engine> engine_;
};

/// The wheel for most programs: any executor, any thread, geometry chosen at run time.
using timer_wheel = basic_timer_wheel<>;

/// Without a lock, for a context that one thread runs.
using single_threaded_timer_wheel =
    basic_timer_wheel<net::any_io_executor, single_threaded_wheel_traits>;

/// For timeouts that need not be precise to some milliseconds and are reset very often.
using coarse_timer_wheel = basic_timer_wheel<net::any_io_executor, coarse_wheel_traits>;

/// Both at once.
using single_threaded_coarse_timer_wheel =
    basic_timer_wheel<net::any_io_executor, single_threaded_coarse_wheel_traits>;

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_WHEEL_HPP
