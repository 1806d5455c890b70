// SPDX-License-Identifier: MIT
//
// timer_engine: what stands behind a basic_timer_wheel. The operations on its timers, the notices
// of them, and its end.

#ifndef KESTREL_DETAIL_TIMER_ENGINE_HPP
#define KESTREL_DETAIL_TIMER_ENGINE_HPP

#include <kestrel/completion.hpp>
#include <kestrel/detail/announcement.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/context_registry.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/pending_timer.hpp>
#include <kestrel/detail/timer_dispatcher.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/timer_wheel_stats.hpp>
#include <kestrel/wheel.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Executor, class Traits>
class timer_engine final : public timer_dispatcher<Executor, Traits> {
  using base = timer_dispatcher<Executor, Traits>;
  using base::announcements_;
  using base::armed_;
  using base::clock_;
  using base::counters_;
  using base::driver_;
  using base::executor_;
  using base::mutex_;
  using base::never;
  using base::shut_down_;
  using base::watches_;
  using base::wheel_;
  using base::work_;
  using typename base::guard_type;
  using typename base::lock_type;
  using typename base::watch_table;
  using typename base::wheel_type;

  using base::arm;
  using base::arm_if_earlier;
  using base::disarm;
  using base::file_again;
  using base::take_watch;
  using base::under_lock;

public:
  using clock = typename Traits::clock;
  using geometry_type = typename Traits::geometry;

  timer_engine(const Executor& executor, const geometry_type& geometry, const context_time& time)
      : base(executor, geometry, time) {
    if constexpr (!std::is_constructible_v<geometry_type, const wheel_config&>)
      static_assert(wheel_clock_of<Traits>::is_whole_ticks(geometry_type().granularity()),
                    "kestrel: l0_tick must be a whole number of clock ticks");
  }

  static std::shared_ptr<timer_engine> create(const Executor& executor,
                                              const geometry_type& geometry) {
    // A context destroys its services in the reverse order of their making: Asio's timers come
    // before the registry, which may still need them then.
    const typename base::timer_type first(executor);
    auto& registry =
        net::use_service<context_registry>(net::query(executor, net::execution::context));
    auto engine = std::make_shared<timer_engine>(executor, geometry, registry.time());
    if (registry.join(engine))
      engine->registry_ = &registry;
    else
      engine->on_context_shutdown();
    return engine;
  }

  [[nodiscard]] bool is_shut_down() const {
    const guard_type guard(mutex_);
    return shut_down_;
  }

  /// The execution context is still there.
  const Executor& get_executor() const noexcept { return *executor_; }

  net::any_io_executor any_executor() const override {
    const guard_type guard(mutex_);
    return executor_ ? net::any_io_executor(*executor_)
                     : net::any_io_executor(net::system_executor());
  }

  const wheel_clock_of<Traits>& time() const noexcept { return clock_; }

  std::int64_t now_ns() const override { return clock_.ns_of(clock_.now()); }

  // ---- Operations. Each takes the lock once and reads the clock at most once.

  timer_id schedule_after(std::int64_t delay, pending_timer&& entry) {
    const std::uint64_t time = clock_.now_for_delay();
    const guard_type guard(mutex_);
    return insert(deadline_after(time, delay, entry.is_periodic()), entry);
  }

  timer_id schedule_at(std::uint64_t deadline, pending_timer&& entry) {
    const guard_type guard(mutex_);
    return insert(deadline, entry);
  }

  timer_id schedule_after(std::int64_t delay, callback&& action) override {
    return schedule_after(delay, one_shot(std::move(action)));
  }

  timer_id schedule_at_ns(std::int64_t time, callback&& action) override {
    return schedule_at(clock_.deadline_of_ns(time), one_shot(std::move(action)));
  }

  /// The same for a callable that has a cancellation slot.
  timer_id schedule_linked_after(std::int64_t delay, pending_timer&& entry) {
    timer_link* const link = entry.action.connect(*this);
    const std::uint64_t time = clock_.now_for_delay();
    const guard_type guard(mutex_);
    return insert(deadline_after(time, delay, entry.is_periodic()), entry, link);
  }

  timer_id schedule_linked_at(std::uint64_t deadline, pending_timer&& entry) {
    timer_link* const link = entry.action.connect(*this);
    const guard_type guard(mutex_);
    return insert(deadline, entry, link);
  }

  void schedule(std::span<const timer_id> slots, std::span<timer_spec* const> specs,
                std::span<const std::shared_ptr<watch>> watches) override {
    const std::uint64_t time = clock_.now_for_delay();
    const guard_type guard(mutex_);
    require_room(specs.size());
    if (specs.empty())
      return;
    wheel_.reserve_more(specs.size());
    const bool watched = !watches.empty();
    if (watched) {
      for (const timer_id slot : slots)
        watches_.make(slot.index());
    }
    if (armed_ == never)
      arm(earliest(time, specs));
    for (std::size_t i = 0; i != specs.size(); ++i) { // nothing throws any more
      timer_spec& s = *specs[i];
      if (watched)
        watches_[slots[i].index()] = watches[i];
      wheel_.insert_at(slots[i], deadline_after(time, s.delay, s.interval != 0),
                       pending_timer(s.interval, s.policy, watched, std::move(s.action)));
    }
    arm_if_earlier();
    counters_.scheduled += specs.size();
  }

  void allocate(std::span<timer_id> slots) override {
    const guard_type guard(mutex_);
    require_running();
    std::size_t n = 0;
    KESTREL_TRY {
      for (; n != slots.size(); ++n)
        slots[n] = wheel_.allocate();
    }
    KESTREL_CATCH_ALL {
      while (n != 0)
        wheel_.deallocate(slots[--n]);
      KESTREL_RETHROW;
    }
  }

  void deallocate(std::span<const timer_id> slots) noexcept override {
    const guard_type guard(mutex_);
    if (shut_down_)
      return; // they went with the rest
    for (const timer_id slot : slots)
      wheel_.deallocate(slot);
  }

  bool cancel(timer_id id) override {
    leftovers left;
    const guard_type guard(mutex_);
    wheel_.prefetch_all(id);
    return cancel(id, left);
  }

  bool cancel(const timer_link& link) override {
    leftovers left;
    const guard_type guard(mutex_);
    pending_timer* const t = wheel_.get(link.id());
    if (t == nullptr || !leads_to(*t, link))
      return false;
    return cancel(link.id(), left);
  }

  std::size_t cancel(std::span<const timer_id> ids) override {
    std::vector<callback> actions(ids.size());
    std::vector<announcement> told(ids.size()); // before the first callback is destroyed
    const guard_type guard(mutex_);
    std::size_t cancelled = 0;
    for (std::size_t i = 0; i != ids.size(); ++i) {
      prefetch_later(ids, i);
      cancelled += cancel(ids[i], actions[i], told[i]) ? 1u : 0u;
    }
    return cancelled;
  }

  bool postpone_after(timer_id id, std::int64_t delay) override {
    const guard_type guard(mutex_);
    wheel_.prefetch(id);
    return move(id, deadline_after(clock_.now_for_delay(), delay, is_periodic(id, delay)),
                keep_callback(id));
  }

  bool postpone_after(timer_id id, std::int64_t delay, callback&& action) override {
    const guard_type guard(mutex_);
    wheel_.prefetch_all(id);
    return replace(id, deadline_after(clock_.now_for_delay(), delay, is_periodic(id, delay)),
                   action);
  }

  bool postpone_at(timer_id id, std::uint64_t deadline) {
    const guard_type guard(mutex_);
    return move(id, deadline, keep_callback(id));
  }

  bool postpone_at(timer_id id, std::uint64_t deadline, callback&& action) {
    const guard_type guard(mutex_);
    return replace(id, deadline, action);
  }

  std::size_t postpone(std::span<postponement> moves) override {
    const std::uint64_t time = clock_.now_for_delay();
    const guard_type guard(mutex_);
    if (wheel_.empty())
      return 0;
    wheel_.reserve_more(moves.size());
    if (armed_ == never)
      arm(time); // all timers are out at the moment
    std::size_t moved = 0;
    for (std::size_t i = 0; i != moves.size(); ++i) {
      prefetch_later(moves, i);
      postponement& m = moves[i];
      const std::uint64_t deadline = deadline_after(time, m.delay, is_periodic(m.id, m.delay));
      const bool was_pending =
          m.action ? replace(m.id, deadline, m.action) : move(m.id, deadline, keep_callback(m.id));
      moved += was_pending ? 1u : 0u;
    }
    return moved;
  }

  // ---- For an owner that keeps more under the wheel's lock, and holds it

  [[nodiscard]] lock_type lock() const KESTREL_UNCHECKED_LOCKING { return lock_type(mutex_); }

  timer_id locked_schedule_at(std::uint64_t deadline,
                              pending_timer&& entry) KESTREL_UNCHECKED_LOCKING {
    return insert(deadline, entry);
  }

  bool locked_postpone_at(timer_id id, std::uint64_t deadline) KESTREL_UNCHECKED_LOCKING {
    return move(id, deadline, keep_callback(id));
  }

  /// Whether `locked_schedule_at` is refused for the limit.
  [[nodiscard]] bool locked_is_full() const noexcept KESTREL_UNCHECKED_LOCKING {
    return wheel_.size() >= limit_;
  }

  /// Asks the memory for what `locked_postpone_at` will read.
  void locked_prefetch(timer_id id) const noexcept KESTREL_UNCHECKED_LOCKING {
    wheel_.prefetch(id);
  }

  /// Not for callbacks that must be destroyed outside the lock.
  bool locked_cancel(timer_id id) KESTREL_UNCHECKED_LOCKING {
    leftovers left;
    return cancel(id, left);
  }

  // ---- Questions

  std::optional<std::int64_t> expiry_ns(timer_id id) const override {
    const guard_type guard(mutex_);
    const std::optional<std::uint64_t> deadline = wheel_.expiry(id);
    return deadline ? std::optional(clock_.ns_of(*deadline)) : std::nullopt;
  }

  std::size_t size() const {
    const guard_type guard(mutex_);
    return wheel_.size();
  }

  void reserve(std::size_t n) {
    const guard_type guard(mutex_);
    require_running();
    wheel_.reserve(n);
  }

  void shrink_to_fit() {
    const guard_type guard(mutex_);
    if (!shut_down_)
      wheel_.shrink_to_fit();
  }

  std::size_t limit() const {
    const guard_type guard(mutex_);
    return limit_;
  }

  void limit(std::size_t n) {
    const guard_type guard(mutex_);
    if (!shut_down_)
      limit_ = n;
  }

  timer_wheel_stats stats() const {
    const guard_type guard(mutex_);
    timer_wheel_stats s = counters_;
    s.fired = s.lateness.count();
    if (shut_down_)
      return s;
    s.live = wheel_.size();
    s.stale_entries = wheel_.stale_entries();
    s.capacity = wheel_.capacity();
    s.memory = wheel_.memory_usage() + watches_.bytes();
    return s;
  }

  wheel_occupancy occupancy() const {
    const guard_type guard(mutex_);
    return wheel_.occupancy();
  }

  // ---- Notices

  std::shared_ptr<watch> watch_of(timer_id id) override {
    const guard_type guard(mutex_);
    const pending_timer* t = wheel_.get(id);
    if (t == nullptr)
      return nullptr;
    std::shared_ptr<watch>& w = watches_.make(id.index());
    if (!t->watched) {
      w = std::make_shared<watch>();
      wheel_.update(id, [](pending_timer& p) { p.watched = true; });
    }
    return w;
  }

  notice_op_ptr wait(watch& of, notice_op_ptr op) override {
    const guard_type guard(mutex_);
    return of.wait(std::move(op));
  }

  void abort_wait(watch& of, std::uint64_t ticket) override {
    under_lock([&] { return of.abort(ticket); });
  }

  std::optional<notice> try_wait(watch& of, notice_cursor& reader) override {
    const guard_type guard(mutex_);
    return of.try_wait(reader);
  }

  void follow(std::weak_ptr<notice_listener> listener) override {
    const guard_type guard(mutex_);
    require_running();
    std::erase_if(followers_, [](const auto& f) { return f.expired(); });
    followers_.push_back(std::move(listener));
  }

  notice_cursor copy_of(const notice_cursor& c) const override {
    const guard_type guard(mutex_);
    return c;
  }

  // ---- The end

  /// Destroys every pending callback without running it, ends every wait, and refuses new ones.
  void shutdown() {
    lock_type lock(mutex_);
    if (std::exchange(shut_down_, true))
      return;
    limit_ = 0; // which an insertion looks at anyway
    disarm();
    wheel_type pending(std::move(wheel_));
    const watch_table watches(std::exchange(watches_, {}));
    const std::vector<std::weak_ptr<notice_listener>> followers(std::exchange(followers_, {}));
    // Ends before the callbacks, which may end the context, and outside the lock, as they do.
    const announcements::telling all(announcements_);
    lock.unlock();
    watches.for_each([this](const std::shared_ptr<watch>& w) {
      if (w != nullptr)
        under_lock([&] { return w->abort(); });
    });
    for (const std::weak_ptr<notice_listener>& f : followers) {
      if (const std::shared_ptr<notice_listener> listener = f.lock())
        listener->on_gone();
    }
    pending.clear_if([](const pending_timer& t) { return t.action.ends_wait(); });
  }

  /// The wheel object goes. Handles may still be told what has become of their timers.
  void close() {
    shutdown();
    const guard_type guard(mutex_);
    driver_.reset();
  }

  /// After this, nothing of the execution context is touched.
  void on_context_shutdown() noexcept override {
    shutdown();
    this->abort_firing();
    announcements_.await();
    const guard_type guard(mutex_);
    let_go_of_context();
    registry_ = nullptr;
  }

  /// The context may be ending on another thread, and does not before this has left.
  ~timer_engine() override {
    let_go_of_context();
    if (registry_ != nullptr)
      registry_->leave(*this);
  }

private:
  void let_go_of_context() noexcept KESTREL_REQUIRES(mutex_) {
    driver_.reset();
    work_.reset();
    executor_.reset();
  }

  static pending_timer one_shot(callback&& action) {
    return pending_timer(0, missed_periods::skip, false, std::move(action));
  }

  /// Saturates at the largest time point. A delay of zero or less is over: its deadline is the last
  /// tick before now, hence it is due at once, after whatever was due before it. Not so that of a
  /// periodic timer, since it is the base of all that follow: it is now, and due at the next tick.
  std::uint64_t deadline_after(std::uint64_t time, std::int64_t delay, bool periodic)
      KESTREL_REQUIRES(mutex_) {
    wheel_.skip_to(time);
    if (delay > 0)
      return saturating_add(clock_.start_of_delay(time), static_cast<std::uint64_t>(delay));
    return periodic ? clock_.start_of_delay(time) : time - time % wheel_.geometry().granularity();
  }

  /// Asked only where it matters, since it reads the payload.
  bool is_periodic(timer_id id, std::int64_t delay) KESTREL_REQUIRES(mutex_) {
    if (delay > 0)
      return false;
    const pending_timer* t = wheel_.get(id);
    return t != nullptr && t->is_periodic();
  }

  // ---- Operations, under the lock

  static timer_id id_of(timer_id id) noexcept { return id; }
  static timer_id id_of(const postponement& m) noexcept { return m.id; }

  /// Asks the memory for the timer that comes a few behind number `i` of a batch.
  template <class Element>
  void prefetch_later(std::span<Element> all, std::size_t i) const noexcept
      KESTREL_REQUIRES(mutex_) {
    constexpr std::size_t ahead = 8;
    if (ahead < all.size() - i)
      wheel_.prefetch(id_of(all[i + ahead]));
  }

  void require_running() const KESTREL_REQUIRES(mutex_) {
    if (shut_down_)
      throw_error(errc::shut_down);
  }

  void require_room(std::size_t n) const KESTREL_REQUIRES(mutex_) {
    require_running();
    if (n > limit_ - (std::min)(limit_, wheel_.size()))
      throw_error(errc::too_many_timers, "limit = " + std::to_string(limit_));
  }

  timer_id insert(std::uint64_t deadline, pending_timer& entry) KESTREL_REQUIRES(mutex_) {
    if (wheel_.size() >= limit_)
      require_room(1);
    const timer_id id = wheel_.insert_at(deadline, std::move(entry));
    KESTREL_TRY { arm_if_earlier(); }
    KESTREL_CATCH_ALL {
      wheel_.cancel(id, [&](pending_timer&& t) { entry.action = std::move(t.action); });
      KESTREL_RETHROW;
    }
    ++counters_.scheduled;
    return id;
  }

  timer_id insert(std::uint64_t deadline, pending_timer& entry, timer_link* link)
      KESTREL_REQUIRES(mutex_) {
    const timer_id id = insert(deadline, entry);
    if (link != nullptr)
      link->set_id(id);
    return id;
  }

  /// A callback that is running is in its timer no longer, but its link is whole.
  static bool leads_to(pending_timer& t, const timer_link& link) noexcept {
    return link.is_whole() && (!t.action || t.action.link() == &link);
  }

  bool cancel(timer_id id, leftovers& left) KESTREL_REQUIRES(mutex_) {
    return cancel(id, left.action, left.told);
  }

  bool cancel(timer_id id, callback& action, announcement& told) KESTREL_REQUIRES(mutex_) {
    const bool was_pending = wheel_.cancel(id, [&](pending_timer&& t) KESTREL_UNCHECKED_LOCKING {
      if (t.watched)
        told.add(announcements_, take_watch(id)->cancel());
      if (t.action.ends_wait())
        told.add(announcements_, std::move(t.action));
      else
        action = std::move(t.action);
    });
    if (!was_pending)
      return false;
    ++counters_.cancelled;
    if (wheel_.empty())
      disarm();
    return true;
  }

  auto keep_callback(timer_id id) noexcept KESTREL_REQUIRES(mutex_) {
    return [this, id](std::uint64_t deadline)
               KESTREL_UNCHECKED_LOCKING { return wheel_.postpone_at(id, deadline); };
  }

  auto swap_callback(timer_id id, callback& action) noexcept KESTREL_REQUIRES(mutex_) {
    return [this, id, &action](std::uint64_t deadline) KESTREL_UNCHECKED_LOCKING {
      return wheel_.postpone_at(id, deadline,
                                [&action](pending_timer& t) { swap(t.action, action); });
    };
  }

  bool replace(timer_id id, std::uint64_t deadline, callback& action) KESTREL_REQUIRES(mutex_) {
    if (!move(id, deadline, swap_callback(id, action)))
      return false;
    action.disconnect(); // that is the old one now
    return true;
  }

  template <class PostponeTo>
  bool move(timer_id id, std::uint64_t deadline, const PostponeTo& postpone_to)
      KESTREL_REQUIRES(mutex_) {
    if (armed_ == never) {
      // All timers are out, and this one may be filed: then someone has to come.
      if (!wheel_.expiry(id))
        return false;
      arm(tick_at_or_after(deadline));
    }
    if (!postpone_to(deadline)) // or it throws; nothing else does any more
      return false;
    if (wheel_.has_claims() && wheel_.claim_of(id) != 0 && wheel_.get(id)->on_hold)
      file_again(id); // who holds it will find that it is gone
    arm_if_earlier();
    ++counters_.postponed;
    return true;
  }

  /// When the first of a batch is due. Once a handler is on its way, `arm_if_earlier` cannot fail.
  std::uint64_t earliest(std::uint64_t time, std::span<timer_spec* const> specs)
      KESTREL_REQUIRES(mutex_) {
    std::uint64_t first = never;
    for (const timer_spec* s : specs)
      first = (std::min)(first, deadline_after(time, s->delay, s->interval != 0));
    return tick_at_or_after(first);
  }

  std::uint64_t tick_at_or_after(std::uint64_t time) const noexcept KESTREL_REQUIRES(mutex_) {
    const std::uint64_t tick = wheel_.geometry().granularity();
    return saturating_add(time, tick - 1) / tick * tick;
  }

  context_registry* registry_ = nullptr; // as long as this is in it
  std::size_t
      limit_ KESTREL_GUARDED_BY(mutex_) = max_timers; // of those that are pending; 0 once shut down
  std::vector<std::weak_ptr<notice_listener>> followers_ KESTREL_GUARDED_BY(mutex_);
};

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_ENGINE_HPP
