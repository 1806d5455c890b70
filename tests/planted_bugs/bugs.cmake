# SPDX-License-Identifier: MIT
#
# The bugs that cmake/planted_bugs.cmake plants, by the promises that they break:
#
#   1 never early                     6 order within a tick        11 exceptions
#   2 at most one tick late           7 no wake-ups without work   12 fair to I/O
#   3 no drift                        8 no allocations             13 lifetimes
#   4 cancel() tells the truth        9 O(1)                       14 thread safety
#   5 ids never alias                10 outside every lock         15 bad input
#
# Many are those that other timer libraries have or had.

# --- 1: never early --------------------------------------------------------------------------------

plant(1 "delays are rounded down to ticks" detail/timer_engine.hpp asio/never_early
[[      return saturating_add(clock_.start_of_delay(time), static_cast<std::uint64_t>(delay));]]
[[      return saturating_add(time, static_cast<std::uint64_t>(delay)) /
             wheel_.geometry().granularity() * wheel_.geometry().granularity();]])

plant(1 "delays count from the tick that was reached, not from now" detail/timer_engine.hpp
  asio/never_early
[[      return saturating_add(clock_.start_of_delay(time), static_cast<std::uint64_t>(delay));]]
[[      return saturating_add(wheel_.now(), static_cast<std::uint64_t>(delay));]])

plant(1 "coming down, only the seconds of a deadline are left" detail/wheel_levels.hpp
  core/wheel_placement
[[    if (valid)
      file(home_of(r,]]
[[    if (comes_down)
      r.deadline -= r.deadline % l1_units_;
    if (valid)
      file(home_of(r,]])

plant(1 "the lag of a coarse clock is not added" detail/wheel_clock.hpp asio/coarse_clock
[[      return saturating_add(time, lag_);]]
[[      return time;]])

plant(1 "a delay counts from before the wheel began" detail/wheel_clock.hpp asio/steady_timer
[[    return time_of_ns((std::max)(ns_now<Clock>(), epoch_));]]
[[    return time_of_ns(ns_now<Clock>());]])

plant(1 "of a deadline far away, 32 bits are kept" wheel.hpp core/wheel_long
[[    made.record.deadline = (std::min)(deadline, levels_.latest());]]
[[    made.record.deadline = static_cast<std::uint32_t>((std::min)(deadline, levels_.latest()));]])

plant(1 "a timer that was postponed fires when its old entry comes up" detail/wheel_levels.hpp
  fuzz/wheel
[[    if (valid && !comes_down && r.deadline <= boundary_) {]]
[[    if (valid && !comes_down) {]])

plant(1 "a clock that steps back is not looked at on the way to an executor"
  detail/timer_dispatcher.hpp fuzz/timer_wheel
[[    if (wheel_.claimed_deadline(id) > time)
      file_claimed(id, lock); // the clock stepped back
    else]]
[[]])

# --- 2: at most one tick late ----------------------------------------------------------------------

plant(2 "what is a whole turn of level 1 away waits for another one" detail/wheel_levels.hpp
  core/wheel_long
[[    const tick_type l1_tick = l1_tick_of(r.deadline);
    const std::uint32_t number = l1_slot(l1_tick);]]
[[    tick_type l1_tick = l1_tick_of(r.deadline);
    const std::uint32_t number = l1_slot(l1_tick);
    if (number == l1_slot(geometry_.to_l1_ticks(boundary_)))
      l1_tick += geometry_.l1_slots();]])

plant(2 "level 1 looks at one slot too many for this turn" detail/wheel_levels.hpp core/wheel_long
[[      if (l1_first_[i] - begin < geometry_.l1_slots())]]
[[      if (l1_first_[i] - begin <= geometry_.l1_slots())]])

plant(2 "level 1 comes down a slot too late" detail/wheel_levels.hpp core/wheel_placement
[[(l1_tick + 1 - look_ahead_) * geometry_.l1_ticks();]]
[[(l1_tick + 2 - look_ahead_) * geometry_.l1_ticks();]])

plant(2 "an earlier deadline does not wake the wheel earlier" detail/timer_dispatcher.hpp
  asio/postpone
[[    if (wheel_.wake_hint() < armed_)]]
[[    if (armed_ == never && wheel_.wake_hint() < armed_)]])

plant(2 "a sum of times wraps around" wheel.hpp core/wheel_long
[[    return detail::saturating_add(now(), std::max<tick_type>(delay, 1));]]
[[    return now() + std::max<tick_type>(delay, 1);]])

plant(2 "a slot of level 1 forgets the earlier of two turns" detail/wheel_levels.hpp fuzz/wheel
[[    if (l1_tick < l1_first_[number]) {]]
[[    if (l1_tick != l1_first_[number]) {]])

# --- 3: no drift -----------------------------------------------------------------------------------

plant(3 "after a stall, what was due on the way is passed over" detail/wheel_levels.hpp
  core/wheel_stall
[[    move_to(event);
    walk_comes_down_]]
[[    move_to(to);
    walk_comes_down_]])

plant(3 "the next period begins when the callback does" detail/timer_dispatcher.hpp asio/periodic
[[      wheel_.postpone_at(id, saturating_add(due, saturating_mul(missed + 1, t.interval)));]]
[[      wheel_.postpone_at(id, saturating_add(time, t.interval));]])

plant(3 "missed periods are not told" detail/timer_dispatcher.hpp asio/missed_periods
[[    const std::uint64_t missed = policy == missed_periods::catch_up ? 0 : late;]]
[[    const std::uint64_t missed = 0 * late;]])

# --- 4: cancel() tells the truth -------------------------------------------------------------------

plant(4 "what is queued already cannot be cancelled" wheel.hpp asio/cancel
[[    const std::uint32_t old = r->link;
    arena_.invalidate(*r);]]
[[    const std::uint32_t old = r->link;
    if (detail::place::is_claimed(old))
      return false;
    arena_.invalidate(*r);]])

plant(4 "what was cancelled on the way to its strand runs" detail/timer_dispatcher.hpp asio/cancel
[[    if (wheel_.claim_of(id) != claim)
      return false;
    wheel_.get(id)->on_hold = false;]]
[[    if (wheel_.get(id) == nullptr)
      return wheel_.claim_of(id) != claim;
    wheel_.get(id)->on_hold = false;]])

plant(4 "what was postponed when it was due runs all the same" detail/timer_engine.hpp asio/postpone
[[    if (wheel_.has_claims() && wheel_.claim_of(id) != 0 && wheel_.get(id)->on_hold)
      file_again(id); // who holds it will find that it is gone]]
[[]])

plant(4 "several that are cancelled are counted whether they were pending or not"
  detail/timer_engine.hpp fuzz/timer_wheel
[[      cancelled += cancel(ids[i], actions[i], told[i]) ? 1u : 0u;]]
[[      cancelled += cancel(ids[i], actions[i], told[i]) ? 1u : 1u;]])

plant(4 "cancel_one passes over waits that are on their way" detail/context_timers.hpp
  fuzz/steady_timer
[[    if (timer_wait* const sent = take(queue.sent).release()) {]]
[[    if (timer_wait* const sent = nullptr) {]])

# --- 5: ids never alias ----------------------------------------------------------------------------

plant(5 "the generation of an id is not looked at" slot_arena.hpp core/wheel_ids
[[    return r.generation == id.generation() && is_live(r) ? &r : nullptr;]]
[[    return is_live(r) ? &r : nullptr;]])

plant(5 "a slot whose generations are used up begins anew" slot_arena.hpp core/slot_arena
[[    if (r.generation != first_generation_) // else]]
[[    if (r.generation != 1) // else]])

plant(5 "a slot that is not used is never given back" timer_slot.hpp asio/slots
[[      host_->deallocate({&id_, 1});]]
[[      host_.reset();]])

plant(5 "what was set aside and not used has its id again" slot_arena.hpp fuzz/slot_arena
[[    record(index).generation += 2;
    reclaim(index);]]
[[    reclaim(index);]])

plant(5 "a slot of a wheel whose ids are used up begins anew" slot_arena.hpp fuzz/wheel
[[    if (r.generation != first_generation_) // else]]
[[    if (true) // else]])

# --- 6: order within a tick ------------------------------------------------------------------------

plant(6 "what is filed while a slot comes down overtakes it" detail/wheel_levels.hpp core/wheel_claim
[[    const tick_type held = comes_down_at(l1_next_) == tick ? look_ahead_ - 1 : look_ahead_;]]
[[    const tick_type held = look_ahead_;]])

plant(6 "a periodic timer is filed again before level 1 has come down" detail/wheel_levels.hpp
  fuzz/timer_wheel
[[    forget_claimed();
    file(index, r);]]
[[    forget_claimed();
    file(home_of(r, saturating_add(l0_last_, l1_units_)), index, r);]])

# --- 7: no wake-ups without work -------------------------------------------------------------------

plant(7 "the wheel wakes at every tick" detail/wheel_levels.hpp asio/wakeups
[[  tick_type next_wake() noexcept { return wake_ = next_work(); }]]
[[  tick_type next_wake() noexcept {
    return wake_ = next_work() == never ? never : std::min(next_work(), units(now_ + 1));
  }]])

plant(7 "what was cancelled is waited for until others were" detail/wheel_levels.hpp
  core/wheel_cancel
[[    settle();
    return units(next_event());]]
[[    return units(next_event());]])

plant(7 "an empty wheel waits for what was cancelled" detail/timer_engine.hpp asio/wakeups
[[    ++counters_.cancelled;
    if (wheel_.empty())
      disarm();]]
[[    ++counters_.cancelled;]])

# --- 8: no allocations -----------------------------------------------------------------------------

plant(8 "blocks of callables and handlers are not used again" detail/handler_memory.hpp asio/memory
[[      if (free_ == nullptr && returned_.load(std::memory_order_relaxed) != &retired_)]]
[[      if (false)]])

plant(8 "entries of cancelled timers pile up" detail/wheel_levels.hpp core/wheel_memory
[[    while (entries_ + n > pool_.entry_limit() &&]]
[[    while (false && entries_ + n > pool_.entry_limit() &&]])

plant(8 "entries of timers that are cancelled while they fire are not cleaned away"
  detail/wheel_levels.hpp core/wheel_memory
[[ || clean_walk(arena);]]
[[;]])

plant(8 "a timer that left a slot and came back is not cleaned away" detail/wheel_levels.hpp
  core/wheel_differential
[[    const std::uint32_t old = std::exchange(s.place, unused_colour(number));]]
[[    const std::uint32_t old = s.place;]])

plant(8 "a wheel remembers every service that it had" detail/timer_engine.hpp asio/service_memory
[[    std::erase_if(followers_, [](const auto& f) { return f.expired(); });]]
[[]])

plant(8 "a slot remembers every coroutine that a periodic timer began" detail/timer_link.hpp
  asio/memory
[[    std::erase_if(coroutines_, [](const auto& c) { return c.expired(); });]]
[[]])

# --- 9: O(1) ---------------------------------------------------------------------------------------

plant(9 "a stall is caught up with tick by tick" detail/wheel_levels.hpp core/wheel_stall
[[    if (event > to) {
      move_to(to);
      return false;]]
[[    if (event > to) {
      while (now_ < to)
        move_to(now_ + 1);
      return false;]])

plant(9 "every timer that is filed has others' entries cleaned away" detail/wheel_levels.hpp
  core/wheel_crowds
[[    if (entries_ + n > pool_.entry_limit())
      make_room(n, arena);]]
[[    settle();
    for (std::uint32_t number = 0; number != slots_.size(); ++number) {
      if (slots_[number].stale != 0)
        clean(number, arena);
    }
    make_room(n, arena);]])

# --- 10: outside every lock ------------------------------------------------------------------------

plant(10 "callbacks run under the lock" detail/timer_dispatcher.hpp asio/reentrancy
[[    lock.unlock();
    action.consume(*this, {id, 0});]]
[[    action.consume(*this, {id, 0});
    lock.unlock();]])

plant(10 "what is cancelled is destroyed under the lock" detail/timer_engine.hpp asio/callables
[[  bool cancel(timer_id id) override {
    leftovers left;
    const guard_type guard(mutex_);]]
[[  bool cancel(timer_id id) override {
    const guard_type guard(mutex_);
    leftovers left;]])

# --- 11: exceptions --------------------------------------------------------------------------------

plant(11 "when a callback throws, nobody comes for the others" detail/timer_dispatcher.hpp
  asio/exceptions
[[      if (secure_rest(time, id, lock))
        run(id, last_look, running);]]
[[      run(id, last_look, running);]])

plant(11 "a timer that could not be scheduled stays" detail/timer_engine.hpp asio/bad_alloc
[[      wheel_.cancel(id, [&](pending_timer&& t) { entry.action = std::move(t.action); });
      KESTREL_RETHROW;]]
[[      KESTREL_RETHROW;]])

plant(11 "a timer that no memory is left to wake for sleeps on" detail/timer_dispatcher.hpp
  asio/bad_alloc_firing
[[    KESTREL_CATCH_ALL {
      post_resume(lock);
      KESTREL_RETHROW;
    }]]
[[    KESTREL_CATCH_ALL {
      KESTREL_RETHROW;
    }]])

plant(11 "a service keeps what could not be registered" detail/service_state.hpp asio/service_memory
[[    for (const std::shared_ptr<subscription>& s : added_)
      state_->remove(*s);]]
[[]])

plant(11 "a periodic timer whose callback throws is not filed again" detail/timer_dispatcher.hpp
  fuzz/timer_wheel
[[    KESTREL_CATCH_ALL {
      put_back(id, action, lock);
      KESTREL_RETHROW;]]
[[    KESTREL_CATCH_ALL {
      KESTREL_RETHROW;]])

plant(11 "a timer that no memory is left to postpone has its new deadline all the same" wheel.hpp
  fuzz/wheel
[[    levels_.reserve_entries(1, arena_);
    r.deadline = deadline;]]
[[    r.deadline = deadline;
    levels_.reserve_entries(1, arena_);]])

plant(11 "a wait that no memory is left to send is lost" detail/timer_wait.hpp fuzz/steady_timer
[[    host.arrive(queue, *this);
    this->complete(this->error());]]
[[    host.arrive(queue, *this);
    this->discard();]])

# --- 12: fair to I/O -------------------------------------------------------------------------------

plant(12 "all that is due runs at one go" detail/timer_dispatcher.hpp asio/fairness
[[    for (std::size_t ran = 0; ran != callbacks_per_batch; ++ran) {]]
[[    for (std::size_t ran = 0; ran != 1'000'000'000; ++ran) {]])

# --- 13: lifetimes ---------------------------------------------------------------------------------

plant(13 "a wait begins where the handler of a cancelled one still is" detail/wait_rooms.hpp
  asio/steady_timer
[[    if (sizeof(T) > size || alignof(T) > alignment || is_taken(number))]]
[[    if (sizeof(T) > size || alignof(T) > alignment)]])

plant(13 "a wheel that is destroyed leaves its timers to fire" timer_wheel.hpp asio/lifetimes
[[  ~basic_timer_wheel() { engine_->close(); }]]
[[  ~basic_timer_wheel() {}]])

plant(13 "handlers do not keep what they will call" detail/timer_dispatcher.hpp asio/lifetimes
[[    return std::static_pointer_cast<timer_dispatcher>(this->shared_from_this());]]
[[    return std::shared_ptr<timer_dispatcher>(std::shared_ptr<timer_dispatcher>(), this);]])

plant(13 "memory of handlers goes with the wheel" detail/handler_memory.hpp asio/any_order
[[    return blocks_ == 0;]]
[[    return true;]])

plant(13 "who waits is not told of the end" detail/timer_engine.hpp asio/notices
[[      if (w != nullptr)
        under_lock([&] { return w->abort(); });]]
[[      if (w != nullptr && is_shut_down() == false)
        under_lock([&] { return w->abort(); });]])

plant(13 "a consumer who is behind loses notifications" detail/service_state.hpp asio/service
[[      ++waiting_;
      if (s.count_++ == 0)]]
[[      if (waiting_ == capacity_)
        return;
      ++waiting_;
      if (s.count_++ == 0)]])

plant(13 "a callable that takes another's place is not destroyed" wheel.hpp fuzz/timer_wheel
[[    f(payload);
    r.link = detail::place::of(r) | destruction_flag(payload);]]
[[    f(payload);
    static_cast<void>(r);]])

# --- 14: thread safety -----------------------------------------------------------------------------

plant(14 "cancelling takes no lock" detail/timer_engine.hpp asio/threads
[[  bool cancel(timer_id id) override {
    leftovers left;
    const guard_type guard(mutex_);]]
[[  bool cancel(timer_id id) override {
    leftovers left;]])

# --- 15: bad input ---------------------------------------------------------------------------------

plant(15 "a period of zero is accepted" detail/saturate.hpp asio/periodic
[[  if (ns <= 0)
    throw_error(errc::invalid_interval,]]
[[  if (ns < 0)
    throw_error(errc::invalid_interval,]])

plant(15 "one timer more than the limit is let in" detail/timer_engine.hpp asio/limit
[[    if (wheel_.size() >= limit_)
      require_room(1);]]
[[    if (wheel_.size() > limit_)
      require_room(1);]])

plant(15 "the limit does not count batches" detail/timer_engine.hpp asio/limit
[[    if (n > limit_ - (std::min)(limit_, wheel_.size()))]]
[[    if (n == 1 && n > limit_ - (std::min)(limit_, wheel_.size()))]])

# --- What only some schedules of several threads show ----------------------------------------------

plant(4 "a timer that has begun to fire can be cancelled for a moment" detail/timer_dispatcher.hpp
  schedules/cancel
[[    callback action = end_timer(id, t);
    lock.unlock();
    action.consume]]
[[    lock.unlock();
    callback action(std::move(t.action));
    lock.lock();
    if (wheel_.get(id))
      wheel_.end_claimed(id);
    if (wheel_.empty())
      disarm();
    lock.unlock();
    if (!action)
      return;
    action.consume]])

plant(4 "a slot cancels the callback that has taken its own's place" detail/timer_engine.hpp
  schedules/cancel
[[    if (t == nullptr || !leads_to(*t, link))]]
[[    if (t == nullptr)]])

plant(4 "cancel leaves out the waits that are on their way" detail/context_timers.hpp
  schedules/steady_timer
[[    std::size_t cancelled = abort_sent(queue);]]
[[    std::size_t cancelled = 0;]])

plant(7 "when the last wait ends, the wheel is left waiting for a timer that was cancelled"
  detail/context_timers.hpp schedules/steady_timer
[[    --waiting_;
    withdraw_idle_if_alone();]]
[[    --waiting_;]])

plant(13 "the callback of a timer that was cancelled is prefetched" detail/wheel_levels.hpp
  core/wheel_claim
[[      if (is_current(e, walk_place_, arena.record(e.index)))
        f(]]
[[      f(]])

plant(14 "after the handler of a wait, the batch goes on without the lock" detail/timer_dispatcher.hpp
  asio/steady_timer_sharing
[[    if (!running.lock.owns_lock())
      running.lock.lock();]]
[[]])

plant(13 "run() returns while a wait is being cancelled" detail/timer_wait.hpp
  asio/steady_timer_sharing
[[    return uncounted_work();]]
[[    return std::nullopt;]])

plant(13 "run() returns after a handler that has polled its context" detail/context_timers.hpp
  asio/steady_timer_sharing
[[        batch.work = first->uncounted_work();]]
[[        batch.work.reset();]])

plant(13 "run() returns after a handler that was posted and has polled its context"
  detail/timer_wait.hpp asio/steady_timer_sharing
[[    const auto counted = wait->uncounted_work();]]
[[]])

plant(13 "run() returns while a timer is on its way to another context" detail/timer_dispatcher.hpp
  schedules/wakeups
[[    if (!work_)
      work_.emplace(tracked(*executor_));
    ++deliveries_;]]
[[    ++deliveries_;]])

plant(11 "when an executor refuses a handler, nobody comes for the rest" detail/timer_dispatcher.hpp
  asio/executors
[[      if (engine != nullptr)
        engine->lose_wake();]]
[[]])

plant(11 "when an executor destroys the handler that wakes the wheel, it sleeps on" detail/driver.hpp
  asio/executors
[[      if (owner != nullptr)
        owner->lose_wake();]]
[[]])

plant(12 "callbacks that take long run as many at a time as others" detail/timer_dispatcher.hpp
  asio/fairness
[[    return ran % callbacks_per_look == 0 || is_power_of_two;]]
[[    return ran % callbacks_per_look == 0;]])

plant(13 "a timer whose executor destroys it on the way stays pending" detail/timer_dispatcher.hpp
  schedules/end
[[    if (!sent.lost)
      return;]]
[[    if (true)
      return;]])

plant(13 "a service that ends forgets who waits" detail/service_state.hpp schedules/service
[[      aborted.append(std::move(receivers_));]]
[[]])

plant(13 "a receiver is put in line without another look" detail/service_state.hpp schedules/service
[[      now = receive();
      if (!now)
        return receivers_.push(std::move(op));
    }]]
[[      now = receive();
    }
    if (!now) {
      const mutex_guard lock(mutex_);
      return receivers_.push(std::move(op));
    }]])

plant(13 "a timeout that comes early is lost" detail/timed_operation.hpp schedules/cancel_after
[[      early_.fetch_or(static_cast<unsigned>(type));
      if (change(now, phase::early))
        return;]]
[[      if (change(now, phase::early)) {
        early_.fetch_or(static_cast<unsigned>(type));
        return;
      }]])
