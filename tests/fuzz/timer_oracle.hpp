// SPDX-License-Identifier: MIT
//
// timer_oracle: what a wheel of timers owes its users, in nanoseconds. It is told what was asked of
// the wheel and what the wheel did, and keeps the timers sorted by when they have to fire. Of slots
// and levels it knows nothing.

#ifndef KESTREL_TESTS_TIMER_ORACLE_HPP
#define KESTREL_TESTS_TIMER_ORACLE_HPP

#include <kestrel/missed_periods.hpp>
#include <kestrel/timer_id.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <utility>

namespace kestrel_tests {

struct broken_promise : std::logic_error {
  using std::logic_error::logic_error;
};

class timer_oracle {
public:
  using ns = std::int64_t; // since the epoch of the clock
  static constexpr ns latest = std::numeric_limits<ns>::max();
  static constexpr std::size_t none = ~std::size_t{0};

  enum class state { pending, running, gone };

  /// Those that are due at the same tick fire in the order of scheduling, unless they were
  /// postponed or were over when they were scheduled. Those with executors of their own are a class
  /// apart.
  enum class order { of_scheduling, of_ticks, any };

  struct timer {
    kestrel::timer_id id;
    ns deadline = 0;
    ns interval = 0; // 0: fires once
    kestrel::missed_periods policy = kestrel::missed_periods::skip;
    std::size_t callable = none; // of those that were made
    bool own_executor = false;
    state is = state::pending;
    bool cancelled = false;
    std::uint64_t fired = 0; // callbacks that have ended
    order in = order::of_scheduling;
    ns due = 0; // the first tick at or after the deadline
    std::uint64_t place = 0;
    bool was_postponed = false; // and may keep a place that it had before

    [[nodiscard]] bool periodic() const { return interval != 0; }
  };

  struct counts {
    std::uint64_t scheduled = 0;
    std::uint64_t fired = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t postponed = 0;
    std::uint64_t missed = 0;
  };

  /// A wheel that is made at time `epoch`.
  timer_oracle(ns epoch, ns tick) : epoch_{epoch}, tick_{tick}, last_time_{epoch}, shown_{epoch} {}

  [[nodiscard]] std::size_t pending() const { return pending_; }
  [[nodiscard]] const counts& count() const { return counts_; }
  [[nodiscard]] std::deque<timer>& timers() { return timers_; }
  [[nodiscard]] ns tick() const { return tick_; }
  [[nodiscard]] ns epoch() const { return epoch_; }
  [[nodiscard]] ns latest_seen() const { return latest_seen_; }

  static void check(bool condition, const char* what) {
    if (!condition)
      throw broken_promise(what);
  }

  // ---- Time

  /// The latest tick that is not after `time`.
  [[nodiscard]] ns tick_before(ns time) const {
    return epoch_ + std::max<ns>(time - epoch_, 0) / tick_ * tick_;
  }

  [[nodiscard]] ns tick_after(ns time) const {
    const ns before = tick_before(time);
    return before >= time ? before : before > latest - tick_ ? latest : before + tick_;
  }

  static ns add(ns time, ns delay) { return time > latest - delay ? latest : time + delay; }

  /// What is due a delay from now. A timer that fires once and has none is due as of the last tick.
  [[nodiscard]] ns deadline_after(ns now, ns delay, bool periodic) const {
    if (delay > 0)
      return add(now, delay);
    return periodic ? now : tick_before(now);
  }

  /// The clock shows `time`. If that is less than before, timers whose ticks the wheel has passed
  /// fire when the clock has made up for it, in any order.
  void time_is(ns time) {
    if (time < last_time_)
      lose_order();
    last_time_ = time;
    latest_seen_ = std::max(latest_seen_, time);
    shown_ = std::max(shown_, time);
  }

  /// No handler is under way that may have looked at the clock before.
  void looks_anew() { shown_ = last_time_; }

  /// Those that are pending may fire in any order.
  void lose_order() {
    for (timer& t : timers_) {
      if (t.is == state::pending)
        enlist(t, order::any);
    }
  }

  // ---- What was asked of the wheel, and what it answered

  std::size_t scheduled(kestrel::timer_id id, std::size_t callable, bool own_executor, ns deadline,
                        ns interval = 0,
                        kestrel::missed_periods policy = kestrel::missed_periods::skip) {
    check(static_cast<bool>(id), "an id is no default-made one");
    check(ids_.insert(id.value()).second, "an id is never issued twice");
    timer& t = timers_.emplace_back();
    t.id = id;
    t.deadline = std::max(deadline, epoch_);
    t.interval = interval;
    t.policy = policy;
    t.callable = callable;
    t.own_executor = own_executor;
    ++pending_;
    ++counts_.scheduled;
    enlist(t, order::of_scheduling);
    return timers_.size() - 1;
  }

  /// Before the wheel is asked, since destructors may do anything. Tells what it must answer.
  bool cancels(timer& t) {
    if (t.is == state::gone)
      return false;
    gone(t);
    t.cancelled = true;
    ++counts_.cancelled;
    return true;
  }

  void postponed(timer& t, ns deadline) {
    check(t.is != state::gone, "postpone tells the truth");
    t.deadline = std::max(deadline, epoch_);
    ++counts_.postponed;
    t.was_postponed = true;
    if (t.is == state::pending)
      enlist(t, order::of_ticks);
  }

  void replaced(timer& t, std::size_t callable, bool own_executor) {
    delist(t);
    t.callable = callable;
    t.own_executor = own_executor;
    if (t.is == state::pending)
      enlist(t, t.in);
  }

  /// All that are pending, with the wheel.
  void ended() {
    for (timer& t : timers_) {
      if (t.is != state::gone)
        gone(t);
    }
    has_ended_ = true;
  }

  [[nodiscard]] bool has_ended() const { return has_ended_; }

  // ---- What the wheel did

  void begins(timer& t, kestrel::timer_id id, std::uint64_t missed, ns now) {
    check(!has_ended_, "nothing fires after the end of the wheel");
    check(t.is != state::running, "a periodic timer does not overlap itself");
    check(t.is == state::pending, "a timer fires once, and not after cancel returned true");
    check(t.id == id, "a callback is told its own id");
    // A handler that runs several looks at the clock first. One of them may set that back.
    check((t.own_executor ? now : shown_) >= t.deadline, "never early");
    check_order(t);
    ++counts_.fired;
    if (!t.periodic()) {
      check(missed == 0, "a timer that fires once misses nothing");
      return gone(t);
    }
    const auto late = static_cast<std::uint64_t>(std::max<ns>(now - t.deadline, 0) / t.interval);
    const bool catches_up = t.policy == kestrel::missed_periods::catch_up;
    check(missed == (catches_up ? 0 : late), "the missed periods are told");
    counts_.missed += missed;
    delist(t);
    t.is = state::running;
    if (t.policy == kestrel::missed_periods::delay)
      t.deadline = add(now, t.interval);
    else
      t.deadline = add(t.deadline, (static_cast<ns>(missed) + 1) * t.interval);
  }

  void ends(timer& t) {
    ++t.fired;
    if (t.is != state::running)
      return;
    t.is = state::pending;
    enlist(t, t.was_postponed ? order::of_ticks : order::of_scheduling);
  }

  /// The wheel was given the time to do all that is due.
  void settled(ns now) {
    if (now < latest_seen_)
      return; // it waits until the clock has made up for its step back
    for (const lists& of : lists_) {
      const bool late = (!of.in_order.empty() && of.in_order.begin()->first <= now) ||
                        (!of.by_tick.empty() && *of.by_tick.begin() <= now) ||
                        (!of.in_any_order.empty() && *of.in_any_order.begin() <= now);
      check(!late, "at most one tick late");
    }
  }

private:
  struct lists {
    std::set<std::pair<ns, std::uint64_t>> in_order;
    std::multiset<ns> by_tick;
    std::multiset<ns> in_any_order;
  };

  void gone(timer& t) {
    delist(t);
    t.is = state::gone;
    --pending_;
  }

  lists& of(const timer& t) { return lists_[t.own_executor ? 1 : 0]; }

  void enlist(timer& t, order in) {
    delist(t);
    t.due = tick_after(t.deadline);
    t.place = ++last_place_;
    t.in = t.due < tick_before(latest_seen_) ? order::any : in;
    if (t.in == order::of_scheduling)
      of(t).in_order.emplace(t.due, t.place);
    else if (t.in == order::of_ticks)
      of(t).by_tick.insert(t.due);
    else
      of(t).in_any_order.insert(t.due);
  }

  void delist(timer& t) {
    if (t.place == 0)
      return;
    if (t.in == order::of_scheduling) {
      of(t).in_order.erase({t.due, t.place});
    } else {
      std::multiset<ns>& list = t.in == order::of_ticks ? of(t).by_tick : of(t).in_any_order;
      list.erase(list.find(t.due));
    }
    t.place = 0;
  }

  void check_order(const timer& t) {
    if (t.in == order::any)
      return;
    const lists& mates = of(t);
    check(mates.by_tick.empty() || *mates.by_tick.begin() >= t.due, "in the order of ticks");
    if (mates.in_order.empty())
      return;
    const auto& first = *mates.in_order.begin();
    check(first.first >= t.due, "in the order of ticks");
    check(t.in != order::of_scheduling || first.second == t.place, "in the order of scheduling");
  }

  ns epoch_;
  ns tick_;
  ns last_time_;
  ns shown_; // the latest time that handlers under way may have seen
  ns latest_seen_ = 0;
  std::deque<timer> timers_;
  std::array<lists, 2> lists_; // on the wheel's executor, and on others
  std::unordered_set<std::uint64_t> ids_;
  std::uint64_t last_place_ = 0;
  std::size_t pending_ = 0;
  counts counts_;
  bool has_ended_ = false;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_TIMER_ORACLE_HPP
