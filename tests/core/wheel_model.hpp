// SPDX-License-Identifier: MIT
//
// A model of wheel<T> to compare it with, step by step. It keeps its timers sorted by the time at
// which they must fire and knows nothing of ticks, slots or levels. Bytes decode to operations, so
// that run_operations serves random tests and a fuzzer alike; a mismatch throws model_mismatch.

#ifndef KESTREL_TESTS_WHEEL_MODEL_HPP
#define KESTREL_TESTS_WHEEL_MODEL_HPP

#include "aging.hpp"
#include "byte_reader.hpp"
#include "wheel_support.hpp"

#include <kestrel/wheel.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kestrel_tests {

struct model_mismatch : std::logic_error {
  using std::logic_error::logic_error;
};

/// Is told of the payloads that are made and destroyed.
class payload_owner {
public:
  [[nodiscard]] std::size_t alive() const { return alive_; }

protected:
  ~payload_owner() = default;

  virtual void destroyed(std::size_t key) noexcept = 0;

private:
  friend class counted_key;

  std::size_t alive_ = 0;
};

/// A payload that is counted while it lives and cannot be copied.
class counted_key {
public:
  counted_key(std::size_t key, payload_owner& owner) : key_{key}, owner_{&owner} {
    ++owner_->alive_;
  }
  counted_key(counted_key&& other) noexcept
      : key_{other.key_}, owner_{std::exchange(other.owner_, nullptr)} {}
  counted_key& operator=(counted_key&&) = delete;
  ~counted_key() {
    if (owner_ == nullptr)
      return;
    --owner_->alive_;
    owner_->destroyed(key_);
  }

  [[nodiscard]] std::size_t key() const { return key_; }

private:
  std::size_t key_;
  payload_owner* owner_;
};

/// A payload that cannot be made.
struct refused_key {
  struct refusal {};
  operator counted_key() const { throw refusal{}; }
};

template <class Geometry>
class wheel_model final : public payload_owner {
  using wheel_type = kestrel::wheel<counted_key, Geometry, ledger_allocator<counted_key>>;
  using time = std::uint64_t;
  using order = std::pair<time, std::uint64_t>; // when it must fire, when it was scheduled

  static constexpr time never = wheel_type::never;

  enum class state { pending, claimed, gone };

  struct timer {
    kestrel::timer_id id;
    state is = state::pending;
    time deadline = 0;
    order place;
    bool postponed = false;
    bool acts = false; // when its payload is destroyed
  };

  struct thrown_by_callback {};

public:
  wheel_model(const Geometry& geometry, time start, bool check_every_step, byte_reader& in)
      : in_{in},
        granularity_{geometry.granularity()},
        level1_{geometry.l1_ticks() * geometry.granularity()},
        turn_{geometry.l1_slots() * geometry.l1_ticks() * geometry.granularity()},
        check_every_step_{check_every_step},
        latest_{never - geometry.granularity()},
        now_{whole_ticks(std::min(start, latest_))},
        geometry_{geometry},
        wheel_{make_wheel()} {}

  wheel_model(const wheel_model&) = delete;
  wheel_model& operator=(const wheel_model&) = delete;

  ~wheel_model() {
    depth_ = max_depth; // destructors do nothing any more
    delete wheel_;
  }

  void run() {
    compare();
    for (; !in_.done(); ++step_) {
      operation();
      compare();
    }
    check(wheel_->check_invariants(), "invariants at the end");
    clear();
    check(wheel_->empty() && alive() == 0, "clear destroys every payload");
    remake();
    check(failure_.empty(), failure_.c_str());
  }

private:
  void check(bool condition, const char* what) const {
    if (!condition)
      throw model_mismatch(std::string(what) + ", step " + std::to_string(step_));
  }

  wheel_type* make_wheel() {
    return new wheel_type(geometry_, now_, ledger_allocator<counted_key>(book_));
  }

  // ---- The operations

  void operation() {
    switch (in_.number(1) % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
      return insert();
    case 4:
      return insert_at();
    case 5:
    case 6:
      return cancel();
    case 7:
    case 8:
    case 9:
      return postpone();
    case 10:
      return postpone_at();
    case 11:
    case 12:
      return advance();
    case 13:
    case 14:
      return claims();
    default:
      return rare();
    }
  }

  void rare() {
    switch (in_.number(1) % 16) {
    case 0: {
      const time delay = distance();
      attempt([&] {
        const kestrel::timer_id id = wheel_->insert(delay, counted_key(~std::size_t{0}, *this));
        check(wheel_->cancel(id) && !wheel_->cancel(id), "insert and cancel of an unrelated timer");
      });
      return;
    }
    case 1: {
      const std::size_t n = in_.number(1) * (in_.number(1) % 16);
      attempt([&] { wheel_->reserve(n); });
      return;
    }
    case 2:
      if (in_.number(1) % 8 == 0)
        clear();
      return;
    case 3:
      check(wheel_->wake_hint() <= wheel_->next_wake(), "wake_hint is a lower bound");
      check(wheel_->wake_hint() == wheel_->next_wake(), "next_wake makes wake_hint exact");
      return;
    case 6: {
      const time to = std::min(add(now_, distance()), latest_);
      const time before = now_;
      const time hint = wheel_->wake_hint();
      wheel_->skip_to(to);
      now_ = wheel_->now();
      check(now_ == before || (now_ == to && to > before && to < hint), "skip_to skips no work");
      return;
    }
    case 4: // the clock stepped back
      return advance_to(now_ - std::min(now_, distance()));
    case 5:
      check(!wheel_->cancel(kestrel::timer_id{}), "the default id names nothing");
      check(!wheel_->postpone(kestrel::timer_id::from_value(in_.number(8) & ~(1ull << 32)), 1),
            "an id of an even generation names nothing");
      return;
    case 7:
      if (aside_.empty() && depth_ == 0)
        kestrel::detail::aging::leave(*wheel_, 1 + static_cast<std::uint32_t>(in_.number(1) % 4));
      return;
    case 8:
      return refuse();
    case 9:
    case 10:
      return two_steps();
    case 11:
      return update();
    case 12:
      memory_is_short_ = in_.number(1) % 2 == 1;
      return;
    case 13:
      if (in_.number(1) % 8 == 0)
        remake();
      return;
    case 14:
      return shrink();
    default: // to just before there is something to do: nothing may fire
      if (const std::optional<time> next = wheel_->next_expiry(); next && first_due() > now_) {
        wheel_->advance_to(*next - 1, [&](kestrel::timer_id, counted_key&) {
          check(false, "nothing fires before next_expiry");
        });
        finished(*next - 1);
      }
    }
  }

  /// Runs an operation on the wheel for which there may be no memory. False if there was none, and
  /// then nothing has changed.
  template <class Operation>
  bool attempt(Operation&& operation) {
    if (!memory_is_short_)
      return operation(), true;
    const std::size_t size = wheel_->size();
    const std::optional<time> next = wheel_->next_expiry();
    const std::size_t stale = wheel_->stale_entries();
    const std::size_t payloads = alive();
    try {
      book_.until_failure = in_.number(1) % 4;
      operation();
      book_.until_failure = ledger::no_failure;
      return true;
    } catch (const std::bad_alloc&) {
      book_.until_failure = ledger::no_failure;
      check(wheel_->size() == size && wheel_->stale_entries() <= stale && alive() == payloads,
            "what fails for want of memory changes nothing");
      check(still_awaits(next, stale), "what fails for want of memory leaves what is due next");
      return false;
    }
  }

  /// Stale entries may have been cleaned away, and be awaited no more.
  [[nodiscard]] bool still_awaits(std::optional<time> next, std::size_t stale) const {
    const std::optional<time> is = wheel_->next_expiry();
    return is == next || (next && (!is || *is > *next) && wheel_->stale_entries() < stale);
  }

  void shrink() {
    attempt([&] { wheel_->shrink_to_fit(); });
  }

  void refuse() {
    const time delay = distance();
    const std::size_t size = wheel_->size();
    const std::optional<time> next = wheel_->next_expiry();
    const std::size_t stale = wheel_->stale_entries();
    try {
      attempt([&] {
        wheel_->insert(delay, refused_key{});
        check(false, "what a payload throws comes out of insert");
      });
    } catch (const refused_key::refusal&) {
      book_.until_failure = ledger::no_failure;
    }
    check(wheel_->size() == size && still_awaits(next, stale),
          "a payload that throws changes nothing");
  }

  /// Sets slots aside, uses them, and gives them back.
  void two_steps() {
    if (aside_.empty() || in_.number(1) % 2 == 0) {
      attempt([&] {
        const kestrel::timer_id slot = wheel_->allocate();
        check(wheel_->get(slot) == nullptr && !wheel_->cancel(slot),
              "a slot that is set aside is no timer");
        check(by_id_.emplace(slot.value(), no_timer).second, "an id is never issued twice");
        aside_.push_back(slot);
      });
      return;
    }
    const kestrel::timer_id slot = aside_.back();
    if (in_.number(1) % 4 == 0) {
      wheel_->deallocate(slot);
      aside_.pop_back();
      return;
    }
    const time deadline = around_now();
    if (!attempt([&] { wheel_->reserve_more(1); }))
      return;
    book_.until_failure = 0;
    wheel_->insert_at(slot, deadline, counted_key(timers_.size(), *this));
    book_.until_failure = ledger::no_failure;
    aside_.pop_back();
    by_id_.erase(slot.value());
    add(slot, deadline);
  }

  void update() {
    if (timer* t = any_timer()) {
      std::size_t key = no_timer;
      const auto read = [&](const counted_key& payload) { key = payload.key(); };
      if (in_.number(1) % 2 == 0) {
        check(wheel_->update(t->id, read) == (t->is != state::gone), "update tells the truth");
      } else {
        const time deadline = around_now();
        bool is = false;
        if (attempt([&] { is = wheel_->postpone_at(t->id, deadline, read); })) {
          check(is == (t->is != state::gone), "postpone_at with an update tells the truth");
          moved(*t, deadline);
        } else {
          check(key == no_timer, "nothing is updated unless the timer was moved");
          return;
        }
      }
      check((key != no_timer) == (t->is != state::gone), "what is pending is updated");
      check(key == no_timer || &timers_[key] == t, "a timer's own payload is updated");
    }
  }

  /// The wheel is destroyed with timers in it, and there is a new one.
  void remake() {
    destroying_ = true;
    clearing_ = true;
    delete wheel_; // payloads' destructors may still schedule
    clearing_ = false;
    destroying_ = false;
    aside_.clear();
    mid_tick_ = false;
    now_ = whole_ticks(now_);
    wheel_ = make_wheel();
    check(alive() == 0 && book_.live != 0, "a wheel destroys its payloads");
  }

  // ---- What destructors do

  void destroyed(std::size_t key) noexcept override {
    if (key >= timers_.size())
      return; // was never inserted
    timer& t = timers_[key];
    if (clearing_)
      leave(t, state::gone);
    if (!t.acts || depth_ == max_depth)
      return;
    ++depth_;
    try {
      check(t.is == state::gone, "a payload outlives its timer");
      act_of_destructor();
    } catch (const model_mismatch& m) {
      failure_ = m.what();
    }
    --depth_;
  }

  void act_of_destructor() {
    const std::uint64_t act = in_.number(1) % 8;
    if (act == 0)
      return;
    if (act <= 3)
      return insert();
    if (act <= 5)
      return cancel();
    if (destroying_)
      return;
    if (act == 6)
      return postpone();
    advance();
  }

  time distance() {
    const std::uint64_t kind = in_.number(1);
    const time ticks = [&]() -> time {
      switch (kind % 8) {
      case 0:
      case 1:
        return in_.below(12);
      case 2:
        return in_.number(1);
      case 3:
        return in_.number(2);
      case 4:
        return in_.below(20) * (level1_ / granularity_) + in_.below(3);
      case 5:
        return in_.below(4) * (turn_ / granularity_) + in_.below(3);
      case 6: // to the tick in which the next level-1 slot begins, or beside it
        return level1_ / granularity_ - now_ / granularity_ % (level1_ / granularity_) +
               in_.below(3) - 1;
      default:
        return kind > 248 ? in_.number(8) : in_.number(1) * in_.number(1);
      }
    }();
    // Seldom in between two ticks, as far as there is something in between.
    const time odd = kind & 0x40 ? in_.below(2 * granularity_) : 0;
    return ticks > latest_ / granularity_ ? never : ticks * granularity_ + odd;
  }

  void insert() {
    const time delay = distance();
    kestrel::timer_id id;
    if (attempt([&] { id = wheel_->insert(delay, counted_key(timers_.size(), *this)); }))
      add(id, after(delay));
  }

  void insert_at() {
    const time deadline = around_now();
    kestrel::timer_id id;
    if (attempt([&] { id = wheel_->insert_at(deadline, counted_key(timers_.size(), *this)); }))
      add(id, deadline);
  }

  void cancel() {
    if (timer* t = any_timer()) {
      const bool pending = t->is != state::gone;
      leave(*t, state::gone); // before the payload's destructor does something
      check(wheel_->cancel(t->id) == pending, "cancel tells the truth");
    }
  }

  void postpone() {
    if (timer* t = any_timer()) {
      const time delay = distance();
      bool is = false;
      if (!attempt([&] { is = wheel_->postpone(t->id, delay); }))
        return;
      check(is == (t->is != state::gone), "postpone tells the truth");
      moved(*t, after(delay));
    }
  }

  void postpone_at() {
    if (timer* t = any_timer()) {
      const time deadline = around_now();
      bool is = false;
      if (!attempt([&] { is = wheel_->postpone_at(t->id, deadline); }))
        return;
      check(is == (t->is != state::gone), "postpone_at tells the truth");
      moved(*t, deadline);
    }
  }

  void clear() {
    const std::size_t before = timers_.size();
    const bool outer = std::exchange(clearing_, true);
    wheel_->clear();
    clearing_ = outer;
    for (std::size_t i = 0; i != before; ++i)
      check(timers_[i].is == state::gone, "clear cancels all that was pending");
  }

  void advance() {
    const std::optional<time> next = wheel_->next_expiry();
    const bool exactly = in_.number(1) % 4 == 0;
    advance_to(exactly && next ? *next : add(now_, distance()));
  }

  void advance_to(time to) {
    to = std::min(to, latest_);
    try {
      wheel_->advance_to(to, [&](kestrel::timer_id id, counted_key& payload) {
        timer& t = found(id, payload);
        fires(t, to);
        check(wheel_->now() == now_, "now() in a callback is the time that is being fired");
        leave(t, state::gone);
        check(!wheel_->cancel(id) && !wheel_->postpone(id, 1) && wheel_->get(id) == nullptr,
              "a timer whose callback has begun is not pending");
        mid_tick_ = true;
        const nesting inside(*this);
        callback();
      });
    } catch (const thrown_by_callback&) {
      return;
    }
    finished(to);
  }

  struct nesting {
    explicit nesting(wheel_model& m) : model{m} { ++model.depth_; }
    ~nesting() { --model.depth_; }
    wheel_model& model;
  };

  void callback() {
    switch (in_.number(1) % 16) {
    case 1:
    case 2:
      return insert();
    case 3:
      return insert_at();
    case 4:
      return cancel();
    case 5:
      return postpone();
    case 6:
      if (depth_ < max_depth)
        advance();
      return;
    case 7:
      if (in_.number(1) % 8 == 0)
        clear();
      return;
    case 8:
      throw thrown_by_callback{};
    case 9:
      return shrink();
    default:
      return;
    }
  }

  /// What an owner does that claims timers one by one, on a budget.
  void claims() {
    const time to = std::min(in_.number(1) % 8 == 0 ? now_ - std::min<time>(now_, in_.number(1))
                                                    : add(now_, distance()),
                             latest_);
    std::size_t budget = in_.number(1) % 16;
    for (;;) {
      const std::size_t before = budget;
      kestrel::timer_id id;
      switch (wheel_->claim(to, budget, id)) {
      case kestrel::claim_status::nothing:
        return finished(to);
      case kestrel::claim_status::paused:
        check(budget == 0, "a claim pauses when its budget is spent");
        check(wheel_->now() >= now_ && wheel_->now() <= std::max(now_, to),
              "a paused claim's time");
        now_ = wheel_->now();
        check(first_due() >= whole_ticks(now_), "time moves past no pending timer");
        mid_tick_ = true;
        return;
      case kestrel::claim_status::due:
        check(budget < before, "a claim costs budget");
        counted_key* payload = wheel_->get(id);
        check(payload != nullptr, "a claimed timer is pending");
        timer& t = found(id, *payload);
        fires(t, to);
        mid_tick_ = true;
        leave(t, state::claimed);
        claimed(t);
      }
    }
  }

  void claimed(timer& t) {
    switch (in_.number(1) % 8) {
    case 0:
    case 1:
      return; // to be finished later, if ever
    case 2: {
      moved(t, after(7));
      check(wheel_->postpone(t.id, 7), "a claimed timer can be postponed");
      return rearm(t, t.deadline);
    }
    case 3:
    case 4:
      return rearm(t, after(distance()));
    case 5:
      return rearm(t, around_now());
    default: {
      std::size_t sunk = 0;
      leave(t, state::gone);
      check(wheel_->cancel(t.id, [&](counted_key&& payload) { sunk += payload.key() + 1; }),
            "a claimed timer can be cancelled");
      check(&t == &timers_[sunk - 1], "cancel hands its own payload to the sink");
    }
    }
  }

  void rearm(timer& t, time deadline) {
    wheel_->rearm(t.id, deadline);
    t.is = state::pending;
    t.deadline = std::min(deadline, latest_);
    // Once postponed, a timer keeps its first place among its tick-mates, or has a later one.
    if (!t.postponed)
      t.place.second = next_place_++;
    enlist(t);
  }

  // ---- The model

  void add(kestrel::timer_id id, time deadline) {
    timer t;
    t.id = id;
    t.deadline = std::min(deadline, latest_);
    t.place.second = next_place_++;
    t.acts = in_.number(1) % 16 == 1;
    enlist(t);
    check(by_id_.emplace(id.value(), timers_.size()).second, "an id is never issued twice");
    timers_.push_back(t);
  }

  void moved(timer& t, time deadline) {
    if (t.is == state::gone)
      return;
    leave(t, t.is);
    t.deadline = std::min(deadline, latest_);
    t.postponed = true;
    if (t.is == state::pending)
      enlist(t);
  }

  void enlist(timer& t) {
    t.place.first = must_fire_at(t.deadline);
    if (t.deadline < whole_ticks(now_)) {
      // Overdue already: nothing is said about its order among those that are due just now.
      t.postponed = true;
      t.place.second = next_overdue_++;
    }
    (t.postponed ? postponed_ : in_order_).insert(t.place);
  }

  void leave(timer& t, state next) {
    if (t.is == state::pending)
      (t.postponed ? postponed_ : in_order_).erase(t.place);
    t.is = next;
  }

  timer& found(kestrel::timer_id id, const counted_key& payload) {
    const auto i = by_id_.find(id.value());
    check(i != by_id_.end(), "what fires was scheduled");
    check(i->second == payload.key(), "a timer keeps its payload");
    return timers_[i->second];
  }

  /// `t` is about to fire in an advance to `to`.
  void fires(const timer& t, time to) {
    check(t.is == state::pending, "a timer fires once, and not after cancel returned true");
    now_ = std::max(now_, t.place.first);
    check(t.deadline <= now_ && t.place.first <= to, "never early");
    check(t.place.first == first_due(), "in deadline order");
    const order* mate = in_order_.empty() ? nullptr : &*in_order_.begin();
    if (t.postponed)
      check(mate == nullptr || *mate > t.place, "a postponed timer does not overtake");
    else
      check(*mate == t.place, "and in the order of scheduling");
  }

  void finished(time to) {
    now_ = std::max(now_, to);
    mid_tick_ = mid_tick_ && to < wheel_->now(); // the clock stepped back: the rest has to wait
    check(first_due() > to || to < whole_ticks(now_), "nothing that is due is left behind");
  }

  void compare() {
    check(failure_.empty(), failure_.c_str());
    const std::size_t pending = in_order_.size() + postponed_.size();
    std::size_t claimed = 0;
    if (check_every_step_ || step_ % 32 == 0) {
      claimed = static_cast<std::size_t>(std::count_if(
          timers_.begin(), timers_.end(), [](const timer& t) { return t.is == state::claimed; }));
      check(wheel_->size() == pending + claimed, "size");
      check(wheel_->check_invariants(), "invariants");
    }
    check(wheel_->now() == now_, "now");
    check(alive() == wheel_->size(), "a payload lives as long as its timer");
    const std::optional<time> next = wheel_->next_expiry();
    if (pending != 0) {
      check(next.has_value() || first_due() == never, "next_expiry knows that a timer is pending");
      check(!next || now_ == never || *next > now_, "next_expiry is after now");
      check(!next || *next <= std::max(first_due(), add(now_, 1)), "next_expiry is not too late");
      check(wheel_->wake_hint() <= first_due(), "wake_hint is not too late");
    } else if (!mid_tick_) {
      check(!next.has_value(), "without timers there is no next expiry");
    }
    if (!timers_.empty()) {
      const timer& t = timers_[step_ % timers_.size()];
      const std::optional<time> deadline = wheel_->expiry(t.id);
      check(deadline.has_value() == (t.is != state::gone), "expiry knows who is pending");
      check(!deadline || *deadline == t.deadline, "expiry is what was asked for");
      const counted_key* payload = wheel_->get(t.id);
      check((payload != nullptr) == (t.is != state::gone), "get knows who is pending");
      check(payload == nullptr || payload->key() == step_ % timers_.size(), "get");
    }
  }

  /// A deadline holds until the next whole multiple of the granularity; the past is due at once.
  time must_fire_at(time deadline) const {
    const time rest = deadline % granularity_;
    const time whole = rest == 0 ? deadline : add(deadline, granularity_ - rest);
    return std::max(whole, whole_ticks(now_));
  }

  time first_due() const {
    time first = never;
    if (!in_order_.empty())
      first = in_order_.begin()->first;
    if (!postponed_.empty())
      first = std::min(first, postponed_.begin()->first);
    return first;
  }

  time whole_ticks(time t) const { return t - t % granularity_; }

  static time add(time a, time b) { return b > never - a ? never : a + b; }
  time after(time delay) const { return add(now_, std::max<time>(delay, 1)); }

  time around_now() {
    const std::uint64_t direction = in_.number(1) % 4;
    const time d = distance();
    return direction == 0 ? now_ - std::min(now_, d) : direction == 1 ? now_ : add(now_, d);
  }

  /// One of the last few timers, more likely pending, or any.
  timer* any_timer() {
    if (timers_.empty())
      return nullptr;
    const std::uint64_t pick = in_.number(2);
    const std::size_t range =
        pick & 0x8000 ? timers_.size() : std::min<std::size_t>(timers_.size(), 12);
    return &timers_[timers_.size() - 1 - (pick & 0x7fff) % range];
  }

  static constexpr int max_depth = 2;
  static constexpr std::size_t no_timer = ~std::size_t{0};

  byte_reader& in_;
  time granularity_;
  time level1_;
  time turn_;
  bool check_every_step_;
  time latest_; // where deadlines saturate
  time now_;
  Geometry geometry_;
  ledger book_;
  wheel_type* wheel_;
  std::deque<timer> timers_;
  std::unordered_map<std::uint64_t, std::size_t> by_id_;
  std::set<order> in_order_;  // those that keep the order in which they were scheduled
  std::set<order> postponed_; // those that may come after their tick-mates
  std::uint64_t next_place_ = 1ull << 32;
  std::uint64_t next_overdue_ = 0; // before all others
  std::size_t step_ = 0;
  bool mid_tick_ = false; // the last advance or claim left work behind
  int depth_ = 0;         // of callbacks and destructors within each other
  bool memory_is_short_ = false;
  bool clearing_ = false;                // whose payload is destroyed is gone
  bool destroying_ = false;              // the wheel
  std::vector<kestrel::timer_id> aside_; // slots without a timer
  std::string failure_;                  // of a destructor, which must not throw
};

/// Runs the operations that `bytes` decode to on a wheel and its model; geometry and start time
/// come first. Throws model_mismatch when the two disagree.
inline void run_operations(std::span<const std::byte> bytes) {
  using kestrel::dynamic_geometry;
  using kestrel::static_geometry;

  byte_reader in(bytes);
  const std::uint64_t geometry = in.number(1) % 13;
  constexpr std::uint64_t end = ~std::uint64_t{0};
  const std::array<std::uint64_t, 8> starts{0,
                                            in.number(1),
                                            in.number(4),
                                            (1ull << 32) - 100 - in.number(1),
                                            (1ull << 63) - 100 - in.number(1),
                                            end - (1ull << 24),
                                            end - 700 - in.number(1),
                                            in.number(8)};
  const std::uint64_t start = starts[in.number(1) % starts.size()];
  const auto run = [&](const auto& g, bool small) { wheel_model(g, start, small, in).run(); };

  switch (geometry) {
  case 0:
    return run(static_geometry<>{}, false);
  case 1:
    return run(static_geometry<4, 4, 2>{}, true);
  case 2:
    return run(static_geometry<4, 2, 4>{}, true);
  case 3:
    return run(static_geometry<1, 1, 1>{}, true);
  case 4:
    return run(static_geometry<8, 2, 3>{}, true);
  case 5:
    return run(static_geometry<512, 64, 100, 10>{}, false);
  case 6:
    return run(static_geometry<4, 4, 2, 7>{}, true);
  case 7:
    return run(static_geometry<16, 1, 5, 1000>{}, true);
  case 8:
    return run(dynamic_geometry::in_ticks(8, 4, 8), true);
  case 9:
    return run(dynamic_geometry::in_ticks(64, 4, 10), true);
  case 10:
    return run(dynamic_geometry::in_ticks(128, 128, 1), false);
  case 11:
    return run(dynamic_geometry(kestrel::wheel_config::heartbeats()), false);
  default:
    return run(dynamic_geometry(kestrel::wheel_config::network_timeouts()), false);
  }
}

} // namespace kestrel_tests

#endif // KESTREL_TESTS_WHEEL_MODEL_HPP
