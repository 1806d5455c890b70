// SPDX-License-Identifier: MIT
//
// timer_dispatcher: a wheel<T> under a lock, the one Asio timer that drives it, and the way of due
// callbacks to their executors, in bounded batches. Handlers share its ownership, so that it lives
// for as long as one of them is queued.

#ifndef KESTREL_DETAIL_TIMER_DISPATCHER_HPP
#define KESTREL_DETAIL_TIMER_DISPATCHER_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/announcement.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/driver.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/index_table.hpp>
#include <kestrel/detail/pending_timer.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_wheel_stats.hpp>
#include <kestrel/wheel.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Executor, class Traits>
class timer_dispatcher : public timer_host {
public:
  /// Called by the driver.
  void wake(bool on_time) {
    lock_type lock(mutex_);
    if (on_time)
      ++counters_.wakeups;
    run_batch(lock);
  }

  /// The handler that was on its way is destroyed and was not called. Another one comes, a tick
  /// later: so an executor that destroys them all keeps nobody busy.
  void lose_wake() noexcept {
    if (auto now = setting::under_way; setting_.compare_exchange_strong(now, setting::lost))
      return;
    const guard_type guard(mutex_);
    if (shut_down_)
      return;
    armed_ = never;
    const std::uint64_t next = wheel_.next_wake();
    if (next == never)
      return;
    KESTREL_TRY {
      arm((std::max)(next, saturating_add(clock_.now(), wheel_.geometry().granularity())));
    }
    KESTREL_CATCH_ALL {} // whoever schedules or postpones a timer next tries again
  }

protected:
  using clock = typename Traits::clock;
  using geometry_type = typename Traits::geometry;
  using mutex_type = guarded_mutex<typename Traits::mutex>;
  using guard_type = mutex_guard<mutex_type>;
  using lock_type = mutex_lock<mutex_type>;
  using wheel_type = wheel<pending_timer, geometry_type>;
  using timer_type = net::basic_waitable_timer<clock, typename Traits::wait_traits, Executor>;
  using driver_type = driver<timer_type, timer_dispatcher>;
  using work_type = decltype(tracked(std::declval<const Executor&>()));
  using watch_table = index_table<std::shared_ptr<watch>>;

  /// The context ends while callbacks run on executors of their own. Who waits for their timers may
  /// be of the context, and is not told how they end.
  void abort_firing() {
    while (const std::shared_ptr<watch> w = take_firing())
      under_lock([&] { return w->abort(); });
  }

  static constexpr std::uint64_t never = wheel_type::never;

  timer_dispatcher(const Executor& executor, const geometry_type& geometry,
                   const context_time& time)
      : executor_(executor),
        clock_(time.source),
        driver_(std::in_place, executor, *driver_memory_, time),
        wheel_(geometry) {}

  /// Tells the news that `f` has, which runs under the lock, after it.
  template <class F>
  void under_lock(F&& f) {
    announcement told;
    const guard_type guard(mutex_);
    told.add(announcements_, f());
  }

  std::shared_ptr<watch> take_watch(timer_id id) noexcept KESTREL_REQUIRES(mutex_) {
    return std::exchange(watches_[id.index()], nullptr);
  }

  // ---- Waking, under the lock. One handler at most is on its way: the driver's, which will look
  // at the time `armed_`, or one that comes `at_once`, posted or because the driver was cancelled.

  void arm_if_earlier() KESTREL_REQUIRES(mutex_) {
    if (wheel_.wake_hint() < armed_)
      arm(wheel_.wake_hint());
  }

  /// To an earlier time than before. A handler that waits for a later one is called and sees to it.
  void arm(std::uint64_t time) KESTREL_REQUIRES(mutex_) {
    if (armed_ == never) {
      set_driver(time);
      armed_ = time;
    } else {
      driver_->cancel();
      armed_ = at_once;
    }
  }

  void set_driver(std::uint64_t time) KESTREL_REQUIRES(mutex_) {
    do {
      setting_ = setting::under_way;
      KESTREL_TRY { driver_->set(clock_.time_of(time), self()); }
      KESTREL_CATCH_ALL {
        setting_ = setting::over;
        KESTREL_RETHROW;
      }
      // one way: it has been lost by now only if another thread was that quick
    } while (setting_.exchange(setting::over) == setting::lost);
  }

  /// Nothing is pending: `run()` may return.
  void disarm() KESTREL_REQUIRES(mutex_) {
    work_.reset();
    if (armed_ != never)
      arm(at_once);
  }

  /// Files a timer that was claimed and has more to do.
  void file_again(timer_id id) KESTREL_REQUIRES(mutex_) {
    wheel_.get(id)->on_hold = false;
    wheel_.rearm(id, *wheel_.expiry(id));
    arm_if_earlier();
  }

  std::optional<Executor> executor_; // empty once the context is gone
  wheel_clock_of<Traits> clock_;
  mutable mutex_type mutex_;
  announcements announcements_;
  std::uint64_t armed_ KESTREL_GUARDED_BY(mutex_) = never;
  bool shut_down_ KESTREL_GUARDED_BY(mutex_) = false;
  timer_wheel_stats counters_ KESTREL_GUARDED_BY(mutex_);
  handler_memory::owned driver_memory_{new handler_memory};
  std::optional<driver_type>
      driver_ KESTREL_GUARDED_BY(mutex_); // empty once the wheel or the context is gone
  std::optional<work_type>
      work_ KESTREL_GUARDED_BY(mutex_); // while timers are on their way to executors of their own
  wheel_type wheel_ KESTREL_GUARDED_BY(mutex_);
  watch_table watches_ KESTREL_GUARDED_BY(mutex_); // by the index of the timer's id

private:
  static constexpr std::uint64_t at_once = 0;

  // A handler runs this many callbacks, or looks at this many entries, before it lets others run,
  // and fewer if that takes longer: it looks at the clock now and then.
  static constexpr std::size_t callbacks_per_batch = 256;
  static constexpr std::size_t callbacks_per_look = 32;
  static constexpr std::size_t entries_per_batch = 2048;
  static constexpr std::uint64_t long_batch = 100'000; // nanoseconds

  static constexpr std::uint32_t callbacks_to_prefetch = 8;

  /// Often at first, since callbacks may take long. (`std::has_single_bit` is a call on machines
  /// that may lack the instruction.)
  static constexpr bool looks_after(std::size_t ran) noexcept {
    const bool is_power_of_two = (ran & (ran - 1)) == 0;
    return ran % callbacks_per_look == 0 || is_power_of_two;
  }

  // What may have become of the driver's handler before it is set, whether by want of memory or on
  // another thread.
  enum class setting : unsigned char { over, under_way, lost };

  // ---- Dispatch

  struct batch final : running_batch {
    explicit batch(lock_type& l) noexcept : lock{l} {}
    void unlock() override KESTREL_UNCHECKED_LOCKING { lock.unlock(); }
    lock_type& lock;
  };

  void resume() {
    lock_type lock(mutex_);
    run_batch(lock);
  }

  /// Runs what is due, up to a bounded number. Before each callback, the way on is secured: if that
  /// callback throws, blocks, or destroys the wheel, the rest runs all the same.
  void run_batch(lock_type& lock) KESTREL_REQUIRES(mutex_) {
    if (shut_down_)
      return;
    armed_ = never;
    ++batches_;
    batch running(lock);
    const std::uint64_t time = clock_.now();
    std::uint64_t last_look = time;
    std::size_t budget = entries_per_batch;
    for (std::size_t ran = 0; ran != callbacks_per_batch; ++ran) {
      timer_id id;
      if (wheel_.claim(time, budget, id) != claim_status::due)
        break;
      if (secure_rest(time, id, lock))
        run(id, last_look, running);
      if (shut_down_)
        return;
      if (looks_after(ran + 1)) {
        last_look = (std::max)(last_look, clock_.now());
        if (last_look > saturating_add(time, long_batch))
          break;
      }
    }
    secure_rest(time, lock);
  }

  /// Has someone look at what is still pending: a posted handler at what is due, the driver at the
  /// rest.
  void secure_rest(std::uint64_t time, lock_type& lock) KESTREL_REQUIRES(mutex_) {
    if (armed_ == at_once)
      return;
    const std::uint64_t next = wheel_.next_wake();
    if (wheel_.empty())
      return; // what is stale in it need not be looked at
    if (next <= time && armed_ == never)
      post_resume(lock);
    else if (next < armed_)
      arm_or_post([&]() KESTREL_UNCHECKED_LOCKING { arm(next); }, lock);
  }

  /// The same for all but a claimed timer. False if that one was cancelled or postponed meanwhile.
  bool secure_rest(std::uint64_t time, timer_id id, lock_type& lock) KESTREL_REQUIRES(mutex_) {
    if (armed_ == at_once)
      return true;
    const std::uint32_t claim = hold(id);
    KESTREL_TRY { secure_rest(time, lock); }
    KESTREL_CATCH_ALL {
      if (release(id, claim))
        file_claimed(id, lock);
      KESTREL_RETHROW;
    }
    return release(id, claim);
  }

  /// If Asio has no memory for the driver's timer, nobody would come for what is pending. So a
  /// handler is posted, which tries again in the next run(): what is thrown leaves this one.
  template <class Arm>
  void arm_or_post(Arm&& arm, lock_type& lock) KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    KESTREL_TRY { arm(); }
    KESTREL_CATCH_ALL {
      post_resume(lock);
      KESTREL_RETHROW;
    }
  }

  void file_claimed(timer_id id, lock_type& lock) KESTREL_REQUIRES(mutex_) {
    arm_or_post([&]() KESTREL_UNCHECKED_LOCKING { file_again(id); }, lock);
  }

  struct resumption {
    using allocator_type = handler_allocator<void>;

    explicit resumption(std::shared_ptr<timer_dispatcher> e) noexcept : engine(std::move(e)) {}

    resumption(resumption&&) noexcept = default;

    ~resumption() {
      if (engine != nullptr)
        engine->lose_wake();
    }

    allocator_type get_allocator() const noexcept {
      return allocator_type(*engine->driver_memory_);
    }

    void operator()() {
      const std::shared_ptr<timer_dispatcher> woken(std::move(engine));
      woken->resume();
    }

    std::shared_ptr<timer_dispatcher> engine;
  };

  /// An io_context puts the handler into the memory that it brings, and so cannot refuse it. In an
  /// any_io_executor it would need more.
  static void post(const Executor& executor, resumption&& handler) {
    if (const io_executor* const io = io_executor_of(executor))
      return net::post(*io, std::move(handler));
    net::post(executor, std::move(handler));
  }

  /// Not under the lock, since nobody knows what an executor does. If it takes no handler, the
  /// driver comes instead, which has its memory: at once, if that was told by an exception.
  void post_resume(lock_type& lock) KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    armed_ = at_once;
    const std::uint64_t before = batches_;
    const Executor executor = *executor_;
    lock.unlock();
    KESTREL_TRY { post(executor, resumption(self())); }
    KESTREL_CATCH_ALL {
      lock.lock();
      if (!shut_down_ && wheel_.next_wake() != never)
        arm_if_earlier();
      if (batches_ != before)
        KESTREL_RETHROW; // what a callback threw, in an executor that runs things at once
      return;
    }
    lock.lock();
  }

  // Between its claim and its start, a timer is on hold: the lock may be released, and who
  // postpones it then takes it back.

  std::uint32_t hold(timer_id id) KESTREL_REQUIRES(mutex_) {
    wheel_.get(id)->on_hold = true;
    return wheel_.claim_of(id);
  }

  bool release(timer_id id, std::uint32_t claim) KESTREL_REQUIRES(mutex_) {
    if (wheel_.claim_of(id) != claim)
      return false;
    wheel_.get(id)->on_hold = false;
    return true;
  }

  KESTREL_ALWAYS_INLINE void run(timer_id id, std::uint64_t time, batch& running)
      KESTREL_REQUIRES(mutex_) {
    pending_timer& t = wheel_.claimed_payload(id);
    if (t.action.leads_elsewhere())
      prefetch_next();
    if (t.action.has_own_executor())
      send(id, running);
    else if (t.action.begins_under_lock())
      fire_under_lock(id, t, time, running);
    else
      fire(id, t, time, running.lock);
  }

  /// What is kept apart for one timer is for others that are due with it, as a rule.
  void prefetch_next() KESTREL_REQUIRES(mutex_) {
    wheel_.preview(callbacks_to_prefetch,
                   [](const pending_timer& later) { later.action.prefetch(); });
  }

  /// A timer whose delivery is being posted, which an executor may run, refuse or destroy
  /// meanwhile.
  struct departure {
    timer_id id;
    std::uint32_t claim;
    departure* next;
    bool lost;
  };

  /// The timer stays claimed until it is delivered, lost, cancelled, or postponed.
  void send(timer_id id, batch& running) KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    lock_type& lock = running.lock;
    departure sent{id, hold(id), departing_, false};
    departing_ = &sent;
    KESTREL_TRY {
      begin_delivery();
      wheel_.get(id)->action.send(running, delivery(this->shared_from_this(), id, sent.claim));
    }
    KESTREL_CATCH_ALL {
      if (!lock.owns_lock())
        lock.lock();
      end_departure(sent);
      if (wheel_.claim_of(id) == sent.claim)
        file_claimed(id, lock);
      KESTREL_RETHROW;
    }
    lock.lock();
    end_departure(sent);
    if (!sent.lost)
      return;
    {
      leftovers left;
      end_lost(id, sent.claim, left);
      lock.unlock();
    }
    lock.lock();
  }

  void end_departure(const departure& sent) noexcept KESTREL_REQUIRES(mutex_) {
    departure** d = &departing_;
    while (*d != &sent)
      d = &(*d)->next;
    *d = sent.next;
  }

  void begin_delivery() KESTREL_REQUIRES(mutex_) {
    if (!work_)
      work_.emplace(tracked(*executor_));
    ++deliveries_;
  }

  void count_delivery_down() noexcept KESTREL_REQUIRES(mutex_) {
    if (--deliveries_ == 0)
      work_.reset();
  }

  void end_delivery() noexcept override {
    const guard_type guard(mutex_);
    count_delivery_down();
  }

  /// An executor that refuses a delivery destroys it as well: only who posts it knows which it was.
  void lose_delivery(timer_id id, std::uint32_t claim) noexcept override {
    leftovers left;
    const guard_type guard(mutex_);
    count_delivery_down();
    for (departure* d = departing_; d != nullptr; d = d->next) {
      if (d->id == id && d->claim == claim) {
        d->lost = true;
        return;
      }
    }
    end_lost(id, claim, left);
  }

  /// The timer's executor calls nothing any more, so the timer ends; a periodic one, too.
  void end_lost(timer_id id, std::uint32_t claim, leftovers& left) noexcept
      KESTREL_REQUIRES(mutex_) {
    if (!release(id, claim))
      return; // cancelled or postponed on the way
    pending_timer& t = wheel_.claimed_payload(id);
    left.action = std::move(t.action);
    if (t.watched)
      left.told.add(announcements_, take_watch(id)->abort());
    wheel_.end_claimed(id);
    if (wheel_.empty())
      disarm();
  }

  /// Only here does the timer of a callable with an executor of its own begin to fire.
  void deliver(timer_id id, std::uint32_t claim) override {
    lock_type lock(mutex_);
    if (!release(id, claim))
      return; // cancelled or postponed on the way
    const std::uint64_t time = clock_.now();
    if (wheel_.claimed_deadline(id) > time)
      file_claimed(id, lock); // the clock stepped back
    else
      fire(id, wheel_.claimed_payload(id), time, lock);
  }

  /// `time` is the last reading of the clock.
  KESTREL_ALWAYS_INLINE void fire(timer_id id, pending_timer& t, std::uint64_t time,
                                  lock_type& lock)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    note_firing(id, time);
    if (t.is_periodic())
      fire_period(id, t, lock);
    else if (t.watched)
      fire_watched(id, t, lock);
    else
      fire_once(id, t, lock);
    lock.lock();
  }

  /// The same for a callback that begins under the lock. Its timer fires once.
  void fire_under_lock(timer_id id, pending_timer& t, std::uint64_t time, batch& running)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    note_firing(id, time);
    end_timer(id, t).begin(id, running);
    if (!running.lock.owns_lock())
      running.lock.lock();
  }

  KESTREL_ALWAYS_INLINE void note_firing(timer_id id, std::uint64_t time) noexcept
      KESTREL_REQUIRES(mutex_) {
    const std::uint64_t late = time - wheel_.claimed_deadline(id);
    counters_.lateness.add(std::chrono::nanoseconds(static_cast<std::int64_t>(late)));
    clock_.note_firing();
  }

  /// Returns the callback of a claimed timer, which it was for the last time.
  KESTREL_ALWAYS_INLINE callback end_timer(timer_id id, pending_timer& t) KESTREL_REQUIRES(mutex_) {
    callback action(std::move(t.action));
    wheel_.end_claimed(id);
    if (wheel_.empty())
      disarm();
    return action;
  }

  void fire_watched(timer_id id, pending_timer& t, lock_type& lock)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    const firing_notice notice(*this, take_watch(id), true);
    fire_once(id, t, lock);
  }

  KESTREL_ALWAYS_INLINE void fire_once(timer_id id, pending_timer& t, lock_type& lock)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    callback action = end_timer(id, t);
    lock.unlock();
    action.consume(*this, {id, 0});
  }

  /// The timer stays pending, with its next deadline, while its callback runs; it is filed again
  /// afterwards, and so never overlaps itself.
  void fire_period(timer_id id, pending_timer& t, lock_type& lock)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    const firing_notice notice(*this, t.watched ? watches_[id.index()] : nullptr, false);
    const std::uint64_t missed = begin_next_period(id, t);
    callback action(std::move(t.action));
    lock.unlock();
    KESTREL_TRY { action(*this, {id, missed}); }
    KESTREL_CATCH_ALL {
      put_back(id, action, lock);
      KESTREL_RETHROW;
    }
    put_back(id, action, lock);
  }

  /// Returns how many periods are left out.
  std::uint64_t begin_next_period(timer_id id, const pending_timer& t) KESTREL_REQUIRES(mutex_) {
    const std::uint64_t time = clock_.now();
    const std::uint64_t due = wheel_.claimed_deadline(id);
    const auto policy = static_cast<missed_periods>(t.policy);
    const std::uint64_t late = time > due ? (time - due) / t.interval : 0; // in periods
    const std::uint64_t missed = policy == missed_periods::catch_up ? 0 : late;
    counters_.missed_periods += missed;
    if (t.interval == pending_timer::max_interval)
      wheel_.postpone_at(id, never);
    else if (policy == missed_periods::delay)
      wheel_.postpone_at(id, saturating_add(time, t.interval));
    else
      wheel_.postpone_at(id, saturating_add(due, saturating_mul(missed + 1, t.interval)));
    return missed;
  }

  /// If the timer was cancelled or its callback replaced meanwhile, `action` is left to the caller,
  /// who destroys it outside the lock.
  void put_back(timer_id id, callback& action, lock_type& lock)
      KESTREL_REQUIRES(mutex_) KESTREL_UNCHECKED_LOCKING {
    const std::lock_guard relocked(lock);
    if (pending_timer* t = wheel_.get(id)) {
      if (!t->action)
        t->action = std::move(action);
      else
        action.disconnect();
      file_claimed(id, lock);
    }
  }

  /// Tells of a firing when its callback has run, or has thrown.
  class firing_notice {
  public:
    firing_notice(timer_dispatcher& d, std::shared_ptr<watch> of, bool last) noexcept
        : dispatcher_{d}, watch_(std::move(of)), last_{last} {
      if (watch_ != nullptr)
        begin();
    }

    firing_notice(const firing_notice&) = delete;
    firing_notice& operator=(const firing_notice&) = delete;

    ~firing_notice() {
      if (watch_ != nullptr)
        tell();
    }

  private:
    friend timer_dispatcher;

    void begin() noexcept KESTREL_UNCHECKED_LOCKING {
      watch_->begin_firing();
      next_ = dispatcher_.firing_;
      if (next_ != nullptr)
        next_->previous_ = this;
      dispatcher_.firing_ = this;
    }

    void tell() {
      dispatcher_.under_lock([this] {
        unlink();
        return watch_->end_firing(last_);
      });
    }

    /// Unless it has been before.
    void unlink() noexcept KESTREL_UNCHECKED_LOCKING {
      if (previous_ != nullptr)
        previous_->next_ = next_;
      else if (dispatcher_.firing_ == this)
        dispatcher_.firing_ = next_;
      if (next_ != nullptr)
        next_->previous_ = previous_;
      previous_ = next_ = nullptr;
    }

    timer_dispatcher& dispatcher_;
    std::shared_ptr<watch> watch_;
    bool last_;
    firing_notice* previous_ = nullptr; // see firing_
    firing_notice* next_ = nullptr;
  };

  std::shared_ptr<watch> take_firing() noexcept {
    const guard_type guard(mutex_);
    if (firing_ == nullptr)
      return nullptr;
    firing_notice& first = *firing_;
    first.unlink();
    return first.watch_;
  }

  std::shared_ptr<timer_dispatcher> self() {
    return std::static_pointer_cast<timer_dispatcher>(this->shared_from_this());
  }

  std::atomic<setting> setting_{setting::over};
  std::uint64_t batches_ KESTREL_GUARDED_BY(mutex_) = 0;  // how many have begun
  std::size_t deliveries_ KESTREL_GUARDED_BY(mutex_) = 0; // how many are under way
  departure* departing_ KESTREL_GUARDED_BY(mutex_) =
      nullptr; // those that are just being posted, one for each thread
  firing_notice* firing_ KESTREL_GUARDED_BY(mutex_) = nullptr; // of watched timers
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_DISPATCHER_HPP
