// SPDX-License-Identifier: MIT
//
// timer_engine: what stands behind a basic_timer_wheel. A wheel<T> under a lock, the one Asio timer
// that drives it, and the dispatch of due callbacks in bounded batches. Handlers share its
// ownership, so that it outlives the wheel object for as long as one of them is queued.

#ifndef KESTREL_DETAIL_TIMER_ENGINE_HPP
#define KESTREL_DETAIL_TIMER_ENGINE_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/context_registry.hpp>
#include <kestrel/detail/driver.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/wheel.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE

/// A snapshot of a wheel's counters, all since its construction.
struct timer_wheel_stats {
  std::size_t live = 0;             ///< timers that are pending now
  std::uint64_t scheduled = 0;      ///< timers that were scheduled
  std::uint64_t fired = 0;          ///< callbacks that were started; a periodic timer counts each
  std::uint64_t cancelled = 0;      ///< `cancel` that returned true
  std::uint64_t postponed = 0;      ///< `postpone` that returned true
  std::uint64_t missed_periods = 0; ///< periods that were skipped because the loop was late
  std::uint64_t wakeups = 0;        ///< times the driver woke, whether something was due or not
  std::size_t stale_entries = 0;    ///< entries of cancelled or moved timers, not yet cleaned away
  std::size_t capacity = 0;         ///< timers whose records and payloads there is room for
  std::size_t memory = 0;           ///< bytes of records, payloads and slots
};

namespace detail {

template <class Executor, class Traits>
class timer_engine final : public registered,
                           public std::enable_shared_from_this<timer_engine<Executor, Traits>> {
public:
  using clock = typename Traits::clock;
  using geometry_type = typename Traits::geometry;
  using lock_type = std::unique_lock<typename Traits::mutex>;
  using callback_type = callback<timer_engine, lock_type, Traits::inline_callback_size>;
  using time_point = typename clock::time_point;

  /// What the wheel keeps of a timer, apart from its deadline.
  struct timer {
    explicit timer(callback_type&& a, std::int64_t i = 0) noexcept
        : action(std::move(a)), interval{static_cast<std::uint64_t>(i) & max_ns}, on_hold{false} {}

    timer(timer&&) noexcept = default;

    bool trivially_discardable() const noexcept { return action.trivially_discardable(); }

    callback_type action;
    std::uint64_t interval : 63; // in nanoseconds; 0 for a timer that fires once
    std::uint64_t on_hold : 1;   // it is claimed, and has not begun to run
  };

  timer_engine(const Executor& executor, const geometry_type& geometry)
      : executor_(executor),
        epoch_{ticks_of_clock(clock::now())},
        driver_(std::in_place, executor, driver_memory_),
        wheel_(geometry) {
    if constexpr (!std::is_constructible_v<geometry_type, const wheel_config&>)
      static_assert(is_whole_ticks(geometry_type().granularity()),
                    "kestrel: l0_tick must be a whole number of clock ticks");
  }

  static std::shared_ptr<timer_engine> create(const Executor& executor,
                                              const geometry_type& geometry) {
    auto engine = std::make_shared<timer_engine>(executor, geometry);
    registry_of(executor).join(engine);
    return engine;
  }

  /// The execution context is still there.
  const Executor& get_executor() const noexcept { return *executor_; }

  const std::shared_ptr<callable_memory>& memory_of_callables() const noexcept {
    return callable_memory_;
  }

  // ---- Operations. Each takes the lock once and reads the clock at most once.

  timer_id schedule_after(std::int64_t delay, timer&& entry) {
    const lock_type lock(mutex_);
    return insert(deadline_after(delay, entry.interval != 0), entry);
  }

  timer_id schedule_at(std::uint64_t deadline, timer&& entry) {
    const lock_type lock(mutex_);
    return insert(deadline, entry);
  }

  bool cancel(timer_id id) {
    callback_type action; // destroyed after the lock is released
    const lock_type lock(mutex_);
    if (!wheel_.cancel(id, [&](timer&& t) { action = std::move(t.action); }))
      return false;
    ++counters_.cancelled;
    if (wheel_.empty())
      disarm();
    return true;
  }

  bool postpone_after(timer_id id, std::int64_t delay) {
    const lock_type lock(mutex_);
    wheel_.prefetch(id);
    return move(id, deadline_after(delay, is_periodic(id, delay)), keep_callback(id));
  }

  bool postpone_after(timer_id id, std::int64_t delay, callback_type&& action) {
    const lock_type lock(mutex_);
    wheel_.prefetch(id);
    return move(id, deadline_after(delay, is_periodic(id, delay)), swap_callback(id, action));
  }

  bool postpone_at(timer_id id, std::uint64_t deadline) {
    const lock_type lock(mutex_);
    return move(id, deadline, keep_callback(id));
  }

  bool postpone_at(timer_id id, std::uint64_t deadline, callback_type&& action) {
    const lock_type lock(mutex_);
    return move(id, deadline, swap_callback(id, action));
  }

  std::optional<time_point> expiry(timer_id id) const {
    const lock_type lock(mutex_);
    const std::optional<std::uint64_t> deadline = wheel_.expiry(id);
    return deadline ? std::optional(time_of(*deadline)) : std::nullopt;
  }

  std::size_t size() const {
    const lock_type lock(mutex_);
    return wheel_.size();
  }

  void reserve(std::size_t n) {
    const lock_type lock(mutex_);
    require_running();
    wheel_.reserve(n);
  }

  timer_wheel_stats stats() const {
    const lock_type lock(mutex_);
    timer_wheel_stats s = counters_;
    if (shut_down_)
      return s;
    s.live = wheel_.size();
    s.stale_entries = wheel_.stale_entries();
    s.capacity = wheel_.capacity();
    s.memory = wheel_.memory_usage();
    return s;
  }

  /// Destroys every pending callback without running it, and refuses new ones.
  void shutdown() {
    lock_type lock(mutex_);
    if (std::exchange(shut_down_, true))
      return;
    disarm();
    const wheel_type pending(std::move(wheel_));
    lock.unlock(); // the callbacks are destroyed with `pending`, outside the lock
  }

  /// After this, nothing of the execution context is touched.
  void close() {
    shutdown();
    {
      const lock_type lock(mutex_);
      if (!driver_)
        return; // the context went first
      driver_.reset();
    }
    registry_of(*executor_).leave(*this);
  }

  void on_context_shutdown() noexcept override {
    shutdown();
    const lock_type lock(mutex_);
    driver_.reset();
    work_.reset();
    executor_.reset();
  }

  /// A clock's time as the wheel counts it: nanoseconds since the wheel's construction.
  template <class Duration>
  std::uint64_t deadline_of(std::chrono::time_point<clock, Duration> time) const {
    const std::int64_t since =
        saturating_sub(ceil_ns(time.time_since_epoch(), errc::invalid_delay), epoch_);
    return since < 0 ? 0 : static_cast<std::uint64_t>(since);
  }

  /// Called by the driver.
  void wake(bool on_time) {
    lock_type lock(mutex_);
    if (on_time)
      ++counters_.wakeups;
    run_batch(lock);
  }

  /// Called by a callback that is due and has an executor of its own: the rest of the way to it.
  /// The timer stays claimed until it is delivered, cancelled, or postponed.
  template <class OwnExecutor>
  void send(const OwnExecutor& own, timer_id id, lock_type& lock) {
    const std::uint32_t claim = hold(id);
    try {
      begin_delivery();
      lock.unlock();
      net::post(own, delivery(this->shared_from_this(), id, claim));
    } catch (...) {
      if (!lock.owns_lock())
        lock.lock();
      if (wheel_.claim_of(id) == claim)
        file_again(id);
      throw;
    }
    lock.lock();
  }

private:
  static_assert(std::ratio_greater_equal_v<typename clock::period, std::nano>,
                "kestrel: a clock finer than a nanosecond would be rounded");

  static constexpr bool is_whole_ticks(std::uint64_t units) noexcept {
    return units % static_cast<std::uint64_t>(
                       std::chrono::nanoseconds(typename clock::duration(1)).count()) ==
           0;
  }

  // Until it has run, or was dropped by its executor, it keeps the wheel's own context at work.
  class delivery {
  public:
    using allocator_type = handler_allocator<void>;

    delivery(std::shared_ptr<timer_engine> engine, timer_id id, std::uint32_t claim) noexcept
        : engine_(std::move(engine)), id_{id}, claim_{claim} {}

    delivery(delivery&&) noexcept = default;

    ~delivery() {
      if (engine_ != nullptr)
        engine_->end_delivery();
    }

    allocator_type get_allocator() const noexcept {
      return allocator_type(engine_->delivery_memory_);
    }

    void operator()() { engine_->deliver(id_, claim_); }

  private:
    std::shared_ptr<timer_engine> engine_;
    timer_id id_;
    std::uint32_t claim_;
  };

  using work_type = std::decay_t<decltype(net::prefer(std::declval<const Executor&>(),
                                                      net::execution::outstanding_work.tracked))>;

  void begin_delivery() {
    if (!work_)
      work_.emplace(net::prefer(*executor_, net::execution::outstanding_work.tracked));
    ++deliveries_;
  }

  void end_delivery() noexcept {
    const lock_type lock(mutex_);
    if (--deliveries_ == 0)
      work_.reset();
  }

  using wheel_type = wheel<timer, geometry_type>;
  using driver_type =
      driver<net::basic_waitable_timer<clock, typename Traits::wait_traits, Executor>,
             timer_engine>;

  static constexpr std::uint64_t never = wheel_type::never;
  static constexpr std::uint64_t at_once = 0;

  // A handler runs this many callbacks, or looks at this many entries, before it lets others run.
  static constexpr std::size_t callbacks_per_batch = 128;
  static constexpr std::size_t entries_per_batch = 2048;

  // ---- Time

  static std::int64_t ticks_of_clock(time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  }

  std::uint64_t now() const {
    const std::int64_t since = saturating_sub(ticks_of_clock(clock::now()), epoch_);
    return since < 0 ? 0 : static_cast<std::uint64_t>(since);
  }

  time_point time_of(std::uint64_t deadline) const noexcept {
    constexpr auto max = static_cast<std::uint64_t>(max_ns);
    const std::int64_t since = deadline < max ? static_cast<std::int64_t>(deadline) : max_ns;
    return time_point(std::chrono::ceil<typename clock::duration>(
        std::chrono::nanoseconds(saturating_add(epoch_, since))));
  }

  /// Saturates at the largest time point. A delay of zero or less is over: its deadline is the last
  /// tick before now, hence it is due at once, after whatever was due before it. Not so that of a
  /// periodic timer, since it is the base of all that follow: it is now, and due at the next tick.
  std::uint64_t deadline_after(std::int64_t delay, bool periodic) {
    const std::uint64_t time = now();
    wheel_.skip_to(time);
    if (delay > 0)
      return saturating_add(time, static_cast<std::uint64_t>(delay));
    return periodic ? time : time - time % wheel_.geometry().granularity();
  }

  /// Asked only where it matters, since it reads the payload.
  bool is_periodic(timer_id id, std::int64_t delay) {
    if (delay > 0)
      return false;
    const timer* t = wheel_.get(id);
    return t != nullptr && t->interval != 0;
  }

  // ---- Operations, under the lock

  void require_running() const {
    if (shut_down_)
      throw_error(errc::shut_down);
  }

  timer_id insert(std::uint64_t deadline, timer& entry) {
    require_running();
    const timer_id id = wheel_.insert_at(deadline, std::move(entry));
    try {
      arm_if_earlier();
    } catch (...) {
      wheel_.cancel(id, [&](timer&& t) { entry.action = std::move(t.action); });
      throw;
    }
    ++counters_.scheduled;
    return id;
  }

  auto keep_callback(timer_id id) noexcept {
    return [this, id](std::uint64_t deadline) { wheel_.postpone_at(id, deadline); };
  }

  /// Done twice, it is undone.
  auto swap_callback(timer_id id, callback_type& action) noexcept {
    return [this, id, &action](std::uint64_t deadline) {
      wheel_.postpone_at(id, deadline, [&action](timer& t) { swap(t.action, action); });
    };
  }

  template <class PostponeTo>
  bool move(timer_id id, std::uint64_t deadline, const PostponeTo& postpone_to) {
    const std::optional<std::uint64_t> old = wheel_.expiry(id);
    if (!old)
      return false;
    postpone_to(deadline);
    try {
      if (wheel_.claim_of(id) != 0 && wheel_.get(id)->on_hold)
        file_again(id); // who holds it will find that it is gone
      arm_if_earlier();
    } catch (...) {
      postpone_to(*old);
      throw;
    }
    ++counters_.postponed;
    return true;
  }

  // ---- Waking, under the lock. One handler at most is on its way: the driver's, which will look
  // at the time `armed_`, or one that comes `at_once`, posted or because the driver was cancelled.

  void arm_if_earlier() {
    if (wheel_.wake_hint() < armed_)
      arm(wheel_.wake_hint());
  }

  /// To an earlier time than before. A handler that waits for a later one is called and sees to it.
  void arm(std::uint64_t time) {
    if (armed_ == never) {
      driver_->set(time_of(time), this->shared_from_this());
      armed_ = time;
    } else {
      driver_->cancel();
      armed_ = at_once;
    }
  }

  /// Nothing is pending: `run()` may return.
  void disarm() {
    work_.reset();
    if (armed_ != never)
      arm(at_once);
  }

  // ---- Dispatch

  void resume() {
    lock_type lock(mutex_);
    run_batch(lock);
  }

  /// Runs what is due, up to a bounded number. Before each callback, the way on is secured: if that
  /// callback throws, blocks, or destroys the wheel, the rest runs all the same.
  void run_batch(lock_type& lock) {
    if (shut_down_)
      return;
    armed_ = never;
    ++batches_;
    const std::uint64_t time = now();
    std::size_t budget = entries_per_batch;
    for (std::size_t ran = 0; ran != callbacks_per_batch; ++ran) {
      timer_id id;
      if (wheel_.claim(time, budget, id) != claim_status::due)
        break;
      if (secure_rest(time, id, lock))
        run(id, lock);
      if (shut_down_)
        return;
    }
    secure_rest(time, lock);
  }

  /// Has someone look at what is still pending: a posted handler at what is due, the driver at the
  /// rest.
  void secure_rest(std::uint64_t time, lock_type& lock) {
    if (armed_ == at_once)
      return;
    const std::uint64_t next = wheel_.next_wake();
    if (next <= time && armed_ == never)
      post_resume(lock);
    else if (next < armed_)
      arm(next);
  }

  /// The same for all but a claimed timer. False if that one was cancelled or postponed meanwhile.
  bool secure_rest(std::uint64_t time, timer_id id, lock_type& lock) {
    if (armed_ == at_once)
      return true;
    const std::uint32_t claim = hold(id);
    try {
      secure_rest(time, lock);
    } catch (...) {
      if (release(id, claim))
        file_again(id);
      throw;
    }
    return release(id, claim);
  }

  /// Not under the lock, since nobody knows what an executor does. If it takes no handler, the
  /// driver comes instead, which has its memory.
  void post_resume(lock_type& lock) {
    armed_ = at_once;
    const std::uint64_t before = batches_;
    lock.unlock();
    try {
      net::post(*executor_, [engine = this->shared_from_this()] { engine->resume(); });
    } catch (...) {
      lock.lock();
      const bool began = batches_ != before; // in an executor that runs things at once
      if (!began || armed_ == never)
        come_without_posting();
      if (began)
        throw; // what a callback threw
      return;
    }
    lock.lock();
  }

  void come_without_posting() {
    armed_ = never;
    if (!shut_down_ && wheel_.next_wake() != never)
      arm_if_earlier();
  }

  // Between its claim and its start, a timer is on hold: the lock may be released, and who
  // postpones it then takes it back.

  std::uint32_t hold(timer_id id) {
    wheel_.get(id)->on_hold = true;
    return wheel_.claim_of(id);
  }

  bool release(timer_id id, std::uint32_t claim) {
    if (wheel_.claim_of(id) != claim)
      return false;
    wheel_.get(id)->on_hold = false;
    return true;
  }

  void run(timer_id id, lock_type& lock) {
    timer& t = *wheel_.get(id);
    if (t.action.has_own_executor())
      t.action.send(*this, id, lock);
    else if (t.interval == 0)
      run_once(id, t, lock);
    else
      run_period(id, t, now(), lock);
  }

  void run_once(timer_id id, timer& t, lock_type& lock) {
    ++counters_.fired;
    {
      callback_type action(std::move(t.action));
      wheel_.cancel(id);
      if (wheel_.empty())
        disarm();
      lock.unlock();
      action(*this, {id, 0});
    }
    lock.lock();
  }

  /// The timer stays pending, with its next deadline, while its callback runs; it is filed again
  /// afterwards, and so never overlaps itself.
  void run_period(timer_id id, timer& t, std::uint64_t time, lock_type& lock) {
    ++counters_.fired;
    const std::uint64_t due = *wheel_.expiry(id);
    const std::uint64_t missed = time > due ? (time - due) / t.interval : 0;
    counters_.missed_periods += missed;
    wheel_.postpone_at(id, saturating_add(due, saturating_mul(missed + 1, t.interval)));
    {
      callback_type action(std::move(t.action));
      lock.unlock();
      try {
        action(*this, {id, missed});
      } catch (...) {
        put_back(id, action, lock);
        throw;
      }
      put_back(id, action, lock);
    }
    lock.lock();
  }

  /// If the timer was cancelled or its callback replaced meanwhile, `action` is left to the caller,
  /// who destroys it outside the lock.
  void put_back(timer_id id, callback_type& action, lock_type& lock) {
    const std::lock_guard relocked(lock);
    if (timer* t = wheel_.get(id)) {
      if (!t->action)
        t->action = std::move(action);
      file_again(id);
    }
  }

  /// Files a timer that was claimed and has more to do.
  void file_again(timer_id id) {
    wheel_.get(id)->on_hold = false;
    wheel_.rearm(id, *wheel_.expiry(id));
    arm_if_earlier();
  }

  /// Runs on the callback's own executor. Only here does its timer begin to fire.
  void deliver(timer_id id, std::uint32_t claim) {
    lock_type lock(mutex_);
    if (!release(id, claim))
      return; // cancelled or postponed on the way
    const std::uint64_t time = now();
    if (*wheel_.expiry(id) > time)
      return file_again(id); // the clock stepped back
    timer& t = *wheel_.get(id);
    if (t.interval == 0)
      run_once(id, t, lock);
    else
      run_period(id, t, time, lock);
  }

  static context_registry& registry_of(const Executor& executor) {
    return net::use_service<context_registry>(net::query(executor, net::execution::context));
  }

  std::optional<Executor> executor_; // this and the driver: empty once the context is gone
  std::int64_t epoch_;               // the clock's nanoseconds at the wheel's time zero
  mutable typename Traits::mutex mutex_;
  std::uint64_t armed_ = never;
  bool shut_down_ = false;
  std::uint64_t batches_ = 0; // how many have begun
  timer_wheel_stats counters_;
  std::shared_ptr<callable_memory> callable_memory_ = std::make_shared<callable_memory>();
  handler_memory driver_memory_;
  handler_memory delivery_memory_;
  std::optional<driver_type> driver_;
  std::optional<work_type> work_; // while timers are on their way to executors of their own
  std::size_t deliveries_ = 0;
  wheel_type wheel_;
};

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_ENGINE_HPP
