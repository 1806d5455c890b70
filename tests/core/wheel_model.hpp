// SPDX-License-Identifier: MIT
//
// A model of wheel<T> to compare it with, step by step. It keeps its timers sorted by the time at
// which they must fire and knows nothing of ticks, slots or levels. Bytes decode to operations, so
// that run_operations serves random tests and a fuzzer alike; a mismatch throws model_mismatch.

#ifndef KESTREL_TESTS_WHEEL_MODEL_HPP
#define KESTREL_TESTS_WHEEL_MODEL_HPP

#include <kestrel/wheel.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
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

/// Reads numbers from bytes; zeros once they are used up, which decode to harmless operations.
class byte_reader {
public:
  explicit byte_reader(std::span<const std::byte> bytes) : bytes_{bytes} {}

  [[nodiscard]] bool done() const { return bytes_.empty(); }

  std::uint64_t number(std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i != width; ++i)
      value = (value << 8) | next();
    return value;
  }

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : number(2) % limit; }

private:
  std::uint64_t next() {
    if (bytes_.empty())
      return 0;
    const std::byte b = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return std::to_integer<std::uint64_t>(b);
  }

  std::span<const std::byte> bytes_;
};

/// A payload that is counted while it lives and cannot be copied.
class counted_key {
public:
  counted_key(std::size_t key, std::size_t& alive) : key_{key}, alive_{&alive} { ++alive; }
  counted_key(counted_key&& other) noexcept
      : key_{other.key_}, alive_{std::exchange(other.alive_, nullptr)} {}
  counted_key& operator=(counted_key&&) = delete;
  ~counted_key() {
    if (alive_ != nullptr)
      --*alive_;
  }

  [[nodiscard]] std::size_t key() const { return key_; }

private:
  std::size_t key_;
  std::size_t* alive_;
};

template <class Geometry>
class wheel_model {
  using wheel_type = kestrel::wheel<counted_key, Geometry>;
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
        now_{start - start % geometry.granularity()},
        wheel_(geometry, now_) {}

  void run() {
    compare();
    for (; !in_.done(); ++step_) {
      operation();
      compare();
    }
    check(wheel_.check_invariants(), "invariants at the end");
    wheel_.clear();
    check(wheel_.empty() && alive_ == 0, "clear destroys every payload");
  }

private:
  void check(bool condition, const char* what) const {
    if (!condition)
      throw model_mismatch(std::string(what) + ", step " + std::to_string(step_));
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
      return advance(0);
    case 13:
    case 14:
      return claims();
    default:
      return rare();
    }
  }

  void rare() {
    switch (in_.number(1) % 8) {
    case 0: {
      const time delay = distance();
      const kestrel::timer_id id = wheel_.insert(delay, counted_key(~std::size_t{0}, alive_));
      check(wheel_.cancel(id) && !wheel_.cancel(id), "insert and cancel of an unrelated timer");
      return;
    }
    case 1:
      return wheel_.reserve(in_.number(1));
    case 2:
      if (in_.number(1) % 8 == 0)
        clear();
      return;
    case 3:
      check(wheel_.wake_hint() <= wheel_.next_wake(), "wake_hint is a lower bound");
      check(wheel_.wake_hint() == wheel_.next_wake(), "next_wake makes wake_hint exact");
      return;
    case 6: {
      const time to = std::min(add(now_, distance()), latest_);
      const time before = now_;
      const time hint = wheel_.wake_hint();
      wheel_.skip_to(to);
      now_ = wheel_.now();
      check(now_ == before || (now_ == to && to > before && to < hint), "skip_to skips no work");
      return;
    }
    case 4: // the clock stepped back
      return advance_to(now_ - std::min(now_, distance()), 0);
    case 5:
      check(!wheel_.cancel(kestrel::timer_id{}), "the default id names nothing");
      check(!wheel_.postpone(kestrel::timer_id::from_value(in_.number(8) & ~(1ull << 32)), 1),
            "an id of an even generation names nothing");
      return;
    default: // to just before there is something to do: nothing may fire
      if (const std::optional<time> next = wheel_.next_expiry(); next && first_due() > now_) {
        wheel_.advance_to(*next - 1, [&](kestrel::timer_id, counted_key&) {
          check(false, "nothing fires before next_expiry");
        });
        finished(*next - 1);
      }
    }
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
    const std::size_t key = timers_.size();
    add(wheel_.insert(delay, counted_key(key, alive_)), after(delay));
  }

  void insert_at() {
    const time deadline = around_now();
    const std::size_t key = timers_.size();
    add(wheel_.insert_at(deadline, counted_key(key, alive_)), deadline);
  }

  void cancel() {
    if (timer* t = any_timer()) {
      check(wheel_.cancel(t->id) == (t->is != state::gone), "cancel tells the truth");
      leave(*t, state::gone);
    }
  }

  void postpone() {
    if (timer* t = any_timer()) {
      const time delay = distance();
      check(wheel_.postpone(t->id, delay) == (t->is != state::gone), "postpone tells the truth");
      moved(*t, after(delay));
    }
  }

  void postpone_at() {
    if (timer* t = any_timer()) {
      const time deadline = around_now();
      check(wheel_.postpone_at(t->id, deadline) == (t->is != state::gone),
            "postpone_at tells the truth");
      moved(*t, deadline);
    }
  }

  void clear() {
    wheel_.clear();
    for (timer& t : timers_)
      leave(t, state::gone);
  }

  void advance(int depth) {
    const std::optional<time> next = wheel_.next_expiry();
    const bool exactly = in_.number(1) % 4 == 0;
    advance_to(exactly && next ? *next : add(now_, distance()), depth);
  }

  void advance_to(time to, int depth) {
    to = std::min(to, latest_);
    try {
      wheel_.advance_to(to, [&](kestrel::timer_id id, counted_key& payload) {
        timer& t = found(id, payload);
        fires(t, to);
        check(wheel_.now() == now_, "now() in a callback is the time that is being fired");
        leave(t, state::gone);
        check(!wheel_.cancel(id) && !wheel_.postpone(id, 1) && wheel_.get(id) == nullptr,
              "a timer whose callback has begun is not pending");
        mid_tick_ = true;
        callback(depth);
      });
    } catch (const thrown_by_callback&) {
      return;
    }
    finished(to);
  }

  void callback(int depth) {
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
      if (depth < 2)
        advance(depth + 1);
      return;
    case 7:
      if (in_.number(1) % 8 == 0)
        clear();
      return;
    case 8:
      throw thrown_by_callback{};
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
      switch (wheel_.claim(to, budget, id)) {
      case kestrel::claim_status::nothing:
        return finished(to);
      case kestrel::claim_status::paused:
        check(budget == 0, "a claim pauses when its budget is spent");
        check(wheel_.now() >= now_ && wheel_.now() <= std::max(now_, to), "a paused claim's time");
        now_ = wheel_.now();
        check(first_due() >= now_ - now_ % granularity_, "time moves past no pending timer");
        mid_tick_ = true;
        return;
      case kestrel::claim_status::due:
        check(budget < before, "a claim costs budget");
        counted_key* payload = wheel_.get(id);
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
      check(wheel_.postpone(t.id, 7), "a claimed timer can be postponed");
      return rearm(t, t.deadline);
    }
    case 3:
    case 4:
      return rearm(t, after(distance()));
    case 5:
      return rearm(t, around_now());
    default: {
      std::size_t sunk = 0;
      const std::size_t alive = alive_;
      check(wheel_.cancel(t.id, [&](counted_key&& payload) { sunk += payload.key() + 1; }),
            "a claimed timer can be cancelled");
      check(&t == &timers_[sunk - 1], "cancel hands its own payload to the sink");
      check(alive_ == alive - 1, "and destroys it");
      t.is = state::gone;
    }
    }
  }

  void rearm(timer& t, time deadline) {
    wheel_.rearm(t.id, deadline);
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
    if (t.deadline < now_ - now_ % granularity_) {
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
    mid_tick_ = mid_tick_ && to < wheel_.now(); // the clock stepped back: the rest has to wait
    check(first_due() > to || to < now_ - now_ % granularity_,
          "nothing that is due is left behind");
  }

  void compare() {
    const std::size_t pending = in_order_.size() + postponed_.size();
    std::size_t claimed = 0;
    if (check_every_step_ || step_ % 32 == 0) {
      claimed = static_cast<std::size_t>(std::count_if(
          timers_.begin(), timers_.end(), [](const timer& t) { return t.is == state::claimed; }));
      check(wheel_.size() == pending + claimed, "size");
      check(wheel_.check_invariants(), "invariants");
    }
    check(wheel_.now() == now_, "now");
    check(alive_ == wheel_.size(), "a payload lives as long as its timer");
    const std::optional<time> next = wheel_.next_expiry();
    if (pending != 0) {
      check(next.has_value() || first_due() == never, "next_expiry knows that a timer is pending");
      check(!next || now_ == never || *next > now_, "next_expiry is after now");
      check(!next || *next <= std::max(first_due(), add(now_, 1)), "next_expiry is not too late");
      check(wheel_.wake_hint() <= first_due(), "wake_hint is not too late");
    } else if (!mid_tick_) {
      check(!next.has_value(), "without timers there is no next expiry");
    }
    if (!timers_.empty()) {
      const timer& t = timers_[step_ % timers_.size()];
      const std::optional<time> deadline = wheel_.expiry(t.id);
      check(deadline.has_value() == (t.is != state::gone), "expiry knows who is pending");
      check(!deadline || *deadline == t.deadline, "expiry is what was asked for");
      const counted_key* payload = wheel_.get(t.id);
      check((payload != nullptr) == (t.is != state::gone), "get knows who is pending");
      check(payload == nullptr || payload->key() == step_ % timers_.size(), "get");
    }
  }

  /// A deadline holds until the next whole multiple of the granularity; the past is due at once.
  time must_fire_at(time deadline) const {
    const time rest = deadline % granularity_;
    const time whole = rest == 0 ? deadline : add(deadline, granularity_ - rest);
    return std::max(whole, now_ - now_ % granularity_);
  }

  time first_due() const {
    time first = never;
    if (!in_order_.empty())
      first = in_order_.begin()->first;
    if (!postponed_.empty())
      first = std::min(first, postponed_.begin()->first);
    return first;
  }

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

  byte_reader& in_;
  time granularity_;
  time level1_;
  time turn_;
  bool check_every_step_;
  time latest_; // where deadlines saturate
  time now_;
  std::size_t alive_ = 0;
  wheel_type wheel_;
  std::vector<timer> timers_;
  std::unordered_map<std::uint64_t, std::size_t> by_id_;
  std::set<order> in_order_;  // those that keep the order in which they were scheduled
  std::set<order> postponed_; // those that may come after their tick-mates
  std::uint64_t next_place_ = 1ull << 32;
  std::uint64_t next_overdue_ = 0; // before all others
  std::size_t step_ = 0;
  bool mid_tick_ = false; // the last advance or claim left work behind
};

/// Runs the operations that `bytes` decode to on a wheel and its model; geometry and start time
/// come first. Throws model_mismatch when the two disagree.
inline void run_operations(std::span<const std::byte> bytes) {
  using kestrel::dynamic_geometry;
  using kestrel::static_geometry;

  byte_reader in(bytes);
  const std::uint64_t geometry = in.number(1) % 12;
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
  default:
    return run(dynamic_geometry(kestrel::wheel_config::network_timeouts()), false);
  }
}

} // namespace kestrel_tests

#endif // KESTREL_TESTS_WHEEL_MODEL_HPP
