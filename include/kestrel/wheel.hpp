// SPDX-License-Identifier: MIT
//
// wheel<T>: a two-level hierarchical timing wheel over any payload. Integer time in, due payloads
// out, never early, in deadline order; no clock, no lock, no thread, no Asio. A game server steps
// it from its own loop, pauses it, runs it at double speed. Works without exceptions and without
// RTTI.

#ifndef KESTREL_WHEEL_HPP
#define KESTREL_WHEEL_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/entry_chain.hpp>
#include <kestrel/detail/occupancy.hpp>
#include <kestrel/slot_arena.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/wheel_config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

namespace detail {

struct wheel_test_access;

/// The hot part of a timer: all that cancel, postpone and the walk over a slot need to see.
struct timer_record {
  std::uint64_t deadline;
  std::uint32_t generation;
  std::uint32_t
      link; // where the timer is filed, see wheel::place; the arena's when the slot is free
};

/// A payload type whose values know whether they need a destructor call may say so, which spares
/// `cancel` the payload's cache line.
template <class T>
bool needs_destruction(const T& payload) noexcept {
  if constexpr (std::is_trivially_destructible_v<T>)
    return false;
  else if constexpr (requires {
                       { payload.trivially_discardable() } -> std::same_as<bool>;
                     })
    return !payload.trivially_discardable();
  else
    return true;
}

constexpr std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return b <= std::numeric_limits<std::uint64_t>::max() - a
             ? a + b
             : std::numeric_limits<std::uint64_t>::max();
}

constexpr std::uint64_t saturating_mul(std::uint64_t a, std::uint64_t b) noexcept {
  return b == 0 || a <= std::numeric_limits<std::uint64_t>::max() / b
             ? a * b
             : std::numeric_limits<std::uint64_t>::max();
}

} // namespace detail

/// What `wheel::claim` found.
enum class claim_status {
  due,     ///< a timer that is due was taken out
  nothing, ///< no timer is due any more
  paused,  ///< the budget was spent; call again to go on
};

/// A two-level timing wheel.
///
/// Level 0 has one slot per tick, level 1 one slot per `l1_ticks` ticks. Timers move from level 1
/// to level 0 as soon as level 0 reaches far enough, in the order in which they were scheduled, and
/// keep their exact deadlines all the way: no level costs precision. Those beyond the second level
/// wait in it for another turn.
///
/// Time is counted in units of `1 / granularity` ticks; the default granularity of 1 makes unit and
/// tick the same. A timer fires at the first tick at or after its deadline: up to one tick late,
/// never early. Time is 64 bits wide and saturates at its end.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
/// Complexity: `insert`, `cancel`, `postpone` are O(1) amortised; `advance_to` costs what is due
/// plus the occupied slots passed, however far it goes. Exceptions: `insert`, `postpone` and
/// `reserve` throw `bad_alloc` or what T's constructor throws, and have then changed nothing.
/// Advancing throws only what the callback throws; timers that were due but not yet called are
/// called by the next advance. Reentrancy: the callback of an advance may call everything except
/// the destructor and the move constructor.
///
///     kestrel::wheel<buff> buffs;
///     kestrel::timer_id id = buffs.insert(300, buff{...});
///     buffs.advance(1, [](kestrel::timer_id, buff& b) { b.wear_off(); });
template <class T, class Geometry = static_geometry<>, class Allocator = std::allocator<T>>
class wheel {
  using arena = slot_arena<detail::timer_record, T, Allocator>;
  using record = detail::timer_record;
  using entry_chain = detail::entry_chain;
  using entry = detail::entry;

public:
  using tick_type = std::uint64_t;
  using value_type = T;
  using geometry_type = Geometry;

  /// The end of time: no timer is due then. Deadlines saturate one tick before it.
  static constexpr tick_type never = std::numeric_limits<tick_type>::max();

  /// A wheel at time `start`, a whole number of ticks.
  explicit wheel(const Geometry& geometry = Geometry(), tick_type start = 0,
                 const Allocator& allocator = Allocator())
      : geometry_{geometry},
        arena_(detail::next_first_generation(), allocator),
        pool_(slot_count(), allocator),
        slots_(slot_count(), slot{}, allocator),
        l1_first_(geometry.l1_slots(), never, allocator),
        l0_occupied_(geometry.l0_slots(), allocator),
        l1_occupied_(geometry.l1_slots(), allocator),
        l1_units_{geometry.l1_ticks() * geometry.granularity()},
        look_ahead_{geometry.l0_slots() / geometry.l1_ticks()} {
    for (std::uint32_t number = 0; number != slots_.size(); ++number)
      slots_[number].place = number << place::slot_shift;
    move_to(geometry_.to_ticks(start));
  }

  /// The moved-from wheel is empty; it may be asked for its size, searched and destroyed.
  wheel(wheel&&) noexcept = default;
  wheel& operator=(wheel&&) = delete;

  /// Destroys the pending payloads without calling them.
  ~wheel() { clear(); }

  /// The time last advanced to; inside an advance's callback, the tick that is being fired.
  [[nodiscard]] tick_type now() const noexcept { return time_; }

  /// How many timers are pending.
  [[nodiscard]] std::size_t size() const noexcept { return arena_.size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }

  /// Schedules `payload` for `now() + max(delay, 1)`.
  template <class U = T>
  timer_id insert(tick_type delay, U&& payload) {
    return insert_at(after(delay), std::forward<U>(payload));
  }

  /// Schedules `payload` for an absolute time. One that is not after `now()` is due at once: the
  /// next advance calls it, `advance(0)` too.
  template <class U = T>
  timer_id insert_at(tick_type deadline, U&& payload) {
    reserve_entry();
    const std::uint32_t index = arena_.allocate(std::forward<U>(payload));
    record& r = arena_.record(index);
    r.deadline = std::min(deadline, latest());
    r.link = destruction_flag(index);
    file(index, r);
    return {index, r.generation};
  }

  /// Takes a pending timer out; its payload is destroyed. False if `id` names none.
  bool cancel(timer_id id) noexcept {
    return cancel(id, [](T&&) {});
  }

  /// As above, but first hands the payload to `sink(T&&)`, unless it is trivial to discard. For
  /// owners who must not destroy it just here.
  template <class Sink>
  bool cancel(timer_id id, Sink&& sink) noexcept {
    arena_.prefetch_payload(id.index()); // the next insert writes there
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    const std::uint32_t old = r->link;
    arena_.invalidate(id.index());
    if (old & place::needs_destruction)
      sink(std::move(arena_.payload(id.index())));
    forget(old);
    discard(id.index(), old);
    return true;
  }

  /// Moves a pending timer to `now() + max(delay, 1)`. False if `id` names none.
  bool postpone(timer_id id, tick_type delay) { return postpone_at(id, after(delay)); }

  /// Moves a pending timer to an absolute time. A later one costs a single write; an earlier one
  /// may throw `bad_alloc`, and then the timer stays where it was.
  bool postpone_at(timer_id id, tick_type deadline) {
    record* r = arena_.find(id);
    return r != nullptr && (move(id.index(), *r, deadline), true);
  }

  /// As above, and then lets `update(T&)` change the payload; it must not throw.
  template <class Update>
  bool postpone_at(timer_id id, tick_type deadline, Update&& update) {
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    move(id.index(), *r, deadline);
    update(arena_.payload(id.index()));
    r->link = (r->link & ~place::needs_destruction) | destruction_flag(id.index());
    return true;
  }

  /// The payload of a pending timer, or null. The address holds until the timer fires or is
  /// cancelled.
  [[nodiscard]] T* get(timer_id id) noexcept {
    return arena_.find(id) != nullptr ? &arena_.payload(id.index()) : nullptr;
  }

  /// The deadline of a pending timer, exactly as it was asked for.
  [[nodiscard]] std::optional<tick_type> expiry(timer_id id) const noexcept {
    const record* r = arena_.find(id);
    return r != nullptr ? std::optional{r->deadline} : std::nullopt;
  }

  /// Advances by `n`, calling `f(timer_id, T&)` for each timer that falls due, in deadline order
  /// and, within a tick, in the order of scheduling. The timer is no longer pending when `f` runs,
  /// and `f` may schedule: what falls due within the same advance is called by it.
  template <class F>
  void advance(tick_type n, F&& f) {
    advance_to(detail::saturating_add(time_, n), f);
  }

  /// Advances to time `to`, as `advance` does. Time does not go back: an earlier `to` does nothing.
  template <class F>
  void advance_to(tick_type to, F&& f) {
    std::size_t unlimited = std::numeric_limits<std::size_t>::max();
    for (timer_id id; claim(to, unlimited, id) == claim_status::due;) {
      const claimed_slot timer{*this, id.index()};
      f(id, arena_.payload(id.index()));
    }
    time_ = std::max(time_, to);
  }

  /// The next time at which an advance has work to do: after `now()`, and never later than the
  /// first tick at or after the earliest deadline that is still to come.
  [[nodiscard]] std::optional<tick_type> next_expiry() const noexcept {
    const tick_type next = next_event();
    if (next == never)
      return std::nullopt;
    return std::max(units(next), detail::saturating_add(time_, 1));
  }

  /// Makes room for `n` pending timers in all: until there are more, nothing allocates.
  void reserve(std::size_t n) {
    arena_.reserve(n + (n < arena::max_size ? 1 : 0)); // one may be in its callback
    pool_.reserve_entries(3 * n + compaction_slack * std::min<std::size_t>(n, slots_.size()) + 1);
  }

  /// Cancels every pending timer.
  void clear() noexcept {
    for (std::uint32_t index = 0; !empty() && index != arena_.used(); ++index) {
      if (arena::is_live(arena_.record(index)))
        cancel(arena_.id_of(index));
    }
  }

  /// Bytes held, as far as the allocator was asked for them.
  [[nodiscard]] std::size_t memory_usage() const noexcept {
    return arena_.bytes() + pool_.bytes() + slots_.size() * sizeof(slot) +
           l1_first_.size() * sizeof(tick_type) + slots_.size() / 8;
  }

  /// How many slots the arena has, live or not.
  [[nodiscard]] std::size_t capacity() const noexcept { return arena_.capacity(); }

  /// Entries whose timer was cancelled or moved and that were not yet cleaned away.
  [[nodiscard]] std::size_t stale_entries() const noexcept {
    return entries_ + detached_ - arena_.size();
  }

  // ---- For owners with a clock and a lock of their own, such as timer_wheel.
  // ----------------------

  /// Moves time on to `to`, as far as the next timer that is due, and takes that one out: `id` is
  /// still pending, cancellable and searchable, but will not be claimed again until `rearm`. Looks
  /// at `budget` entries at most and counts it down.
  claim_status claim(tick_type to, std::size_t& budget, timer_id& id) noexcept {
    const tick_type to_tick = std::min(geometry_.to_ticks(to), never - 1);
    while (now_ <= to_tick) {
      while (!walk_.done()) {
        if (budget == 0)
          return claim_status::paused;
        --budget;
        if (take_next(id))
          return claim_status::due;
      }
      if (!start_next_walk(to_tick)) {
        time_ = std::max(time_, to);
        break;
      }
    }
    return claim_status::nothing;
  }

  /// Files a claimed timer again. It cannot fail: the claim kept its place.
  void rearm(timer_id id, tick_type deadline) noexcept {
    record* r = arena_.find(id);
    KESTREL_ASSERT(r != nullptr && is_detached(r->link));
    --detached_;
    r->deadline = std::min(deadline, latest());
    file(id.index(), *r);
  }

  /// Moves time on to `to` if that is a level-1 slot or more ahead and nothing is to do until then.
  /// O(1). A wheel that has slept is told the time before a timer is filed, so that a near deadline
  /// is filed as a near one.
  void skip_to(tick_type to) noexcept {
    if (to < wake_ && to > time_ && to - time_ >= l1_units_) {
      move_to(geometry_.to_ticks(to));
      time_ = to;
    }
  }

  /// A lower bound of the next time with work to do, in O(1). It becomes exact with `next_wake`.
  [[nodiscard]] tick_type wake_hint() const noexcept { return wake_; }

  /// The next time with work to do, which is not after `now()` while work is left; never if none
  /// is.
  tick_type next_wake() noexcept { return wake_ = units(next_event()); }

  /// Asks the memory for what `cancel`, `postpone` and `expiry` of this timer will read.
  void prefetch(timer_id id) const noexcept { arena_.prefetch_record(id.index()); }

  /// Compares every structure with a brute-force recount. O(everything).
  [[nodiscard]] bool check_invariants() const;

private:
  friend struct detail::wheel_test_access;

  static constexpr std::size_t compaction_slack = detail::entry_chunk::capacity;

  /// One slot of either level. An entry in it is valid if the timer's record is filed under this
  /// slot and its present colour. Taking the chain away changes the colour, so that what is filed
  /// again meanwhile, here or elsewhere, is told from what was.
  struct slot {
    entry_chain chain;
    std::uint32_t live = 0;  // how many timers are filed here
    std::uint32_t place = 0; // the slot's number and colour, as a timer's record notes them
  };

  /// Where a timer is filed, in one word: slot number, colour, and whether its payload needs a
  /// destructor call, which is kept along.
  struct place {
    static constexpr std::uint32_t needs_destruction = 1;
    static constexpr std::uint32_t detached = ~needs_destruction; // claimed, filed nowhere
    static constexpr std::uint32_t next_colour = 2;               // added; there are three colours
    static constexpr std::uint32_t last_colour = 2 * next_colour;
    static constexpr std::uint32_t slot_shift = 3;
  };

  // Keeps a fired timer's payload alive during its callback, though its id is stale already.
  struct claimed_slot {
    claimed_slot(wheel& owner, std::uint32_t index) noexcept : wheel_{owner}, index_{index} {
      wheel_.arena_.invalidate(index);
    }
    ~claimed_slot() {
      --wheel_.detached_;
      wheel_.discard(index_, wheel_.arena_.record(index_).link);
    }
    claimed_slot(const claimed_slot&) = delete;
    claimed_slot& operator=(const claimed_slot&) = delete;

    wheel& wheel_;
    std::uint32_t index_;
  };

  // -- Arithmetic

  tick_type after(tick_type delay) const noexcept {
    return detail::saturating_add(time_, std::max<tick_type>(delay, 1));
  }

  tick_type latest() const noexcept { return never - geometry_.granularity(); }

  tick_type units(tick_type tick) const noexcept {
    return detail::saturating_mul(tick, geometry_.granularity());
  }

  /// The first tick at or after a time.
  tick_type tick_of(tick_type time) const noexcept {
    return geometry_.to_ticks(time + (geometry_.granularity() - 1));
  }

  /// The level-1 tick that the first tick at or after a time belongs to.
  tick_type l1_tick_of(tick_type time) const noexcept {
    return geometry_.to_l1_ticks(time + (geometry_.granularity() - 1));
  }

  std::size_t slot_count() const noexcept {
    return static_cast<std::size_t>(geometry_.l0_slots() + geometry_.l1_slots());
  }

  std::uint32_t l0_slot(tick_type tick) const noexcept {
    return static_cast<std::uint32_t>(tick & (geometry_.l0_slots() - 1));
  }

  std::uint32_t l1_slot(tick_type l1_tick) const noexcept {
    return static_cast<std::uint32_t>(l1_tick & (geometry_.l1_slots() - 1));
  }

  /// The tick at which a level-1 slot comes down: when the whole of it fits into level 0.
  tick_type comes_down_at(tick_type l1_tick) const noexcept {
    return l1_tick == never ? never : (l1_tick + 1 - look_ahead_) * geometry_.l1_ticks();
  }

  // -- Places

  std::uint32_t place_of(std::uint32_t number) const noexcept { return slots_[number].place; }

  static bool is_detached(std::uint32_t link) noexcept {
    return (link & ~place::needs_destruction) == place::detached;
  }

  static bool is_at(const record& r, std::uint32_t where) noexcept {
    return (r.link & ~place::needs_destruction) == where;
  }

  bool is_current(const entry& e, std::uint32_t where) const noexcept {
    const record& r = arena_.record(e.index);
    return (r.generation == e.generation) & is_at(r, where);
  }

  // -- Filing

  std::uint32_t destruction_flag(std::uint32_t index) noexcept {
    return detail::needs_destruction(arena_.payload(index)) ? place::needs_destruction : 0;
  }

  void move(std::uint32_t index, record& r, tick_type deadline) {
    if (deadline >= r.deadline || is_detached(r.link)) {
      r.deadline = std::min(deadline, latest()); // the entry finds out when its slot comes up
      return;
    }
    reserve_entry();
    const std::uint32_t old = r.link;
    r.deadline = deadline;
    file(index, r);
    forget(old);
  }

  void reserve_entry() { pool_.reserve_entries(entries_ + detached_ + 1); }

  /// Files a timer where its deadline belongs. While a slot is coming down, what belongs into that
  /// slot comes down behind it: those who were there first stay first.
  void file(std::uint32_t index, record& r) noexcept {
    if (walk_comes_down_ && r.deadline > l0_last_ &&
        l0_count() + l1_slot(l1_tick_of(r.deadline)) == walk_place_ >> place::slot_shift) {
      walk_.append(pool_, {index, r.generation});
      ++entries_;
      r.link = walk_place_ | (r.link & place::needs_destruction);
    } else {
      file(index, r, l0_last_);
    }
  }

  /// Appends an entry for the timer to its slot; `l0_last` is the last time whose
  /// timers level 0 may hold.
  void file(std::uint32_t index, record& r, tick_type l0_last) noexcept {
    if (r.deadline <= l0_last) {
      const tick_type tick = std::max(tick_of(r.deadline), now_);
      if (r.deadline < wake_)
        wake_ = std::min(wake_, units(tick));
      if (append(l0_slot(tick), index, r))
        l0_occupied_.set(l0_slot(tick));
    } else {
      const tick_type l1_tick = l1_tick_of(r.deadline);
      const std::uint32_t number = l1_slot(l1_tick);
      l1_first_[number] = std::min(l1_first_[number], l1_tick);
      if (l1_tick < l1_next_) {
        l1_next_ = l1_tick;
        wake_ = std::min(wake_, units(comes_down_at(l1_tick)));
      }
      if (append(l0_count() + number, index, r))
        l1_occupied_.set(number);
    }
  }

  std::uint32_t l0_count() const noexcept {
    return static_cast<std::uint32_t>(geometry_.l0_slots());
  }

  /// True if the slot was empty.
  bool append(std::uint32_t number, std::uint32_t index, record& r) noexcept {
    slot& s = slots_[number];
    pool_.append(s.chain, {index, r.generation});
    ++entries_;
    r.link = s.place | (r.link & place::needs_destruction);
    return s.live++ == 0;
  }

  /// The timer that was filed at `old` is not there any more. Its entry stays until most of the
  /// slot's are stale: then they are cleaned away, which costs each of them O(1).
  void forget(std::uint32_t old) noexcept {
    if (is_detached(old)) {
      --detached_;
      return;
    }
    const std::uint32_t number = old >> place::slot_shift;
    slot& s = slots_[number];
    if (s.place != (old & ~place::needs_destruction))
      return; // it was in the chain that is being walked
    if (--s.live == 0)
      drop(number);
    else if (s.chain.size > 2 * std::size_t{s.live} + compaction_slack)
      compact(number);
  }

  void drop(std::uint32_t number) noexcept {
    entries_ -= slots_[number].chain.size;
    entry_chain chain = take_chain(number);
    pool_.release(chain);
  }

  void compact(std::uint32_t number) noexcept {
    slot& s = slots_[number];
    const std::uint32_t here = place_of(number);
    filter(s, [&](const entry& e) { return is_current(e, here); });
    if (s.chain.size == s.live)
      return;
    // A timer that left this slot and came back has two valid entries: the first one stays.
    change_colour(number);
    const std::uint32_t now = place_of(number);
    filter(s, [&](const entry& e) {
      if (!is_current(e, here))
        return false;
      record& r = arena_.record(e.index);
      r.link = now | (r.link & place::needs_destruction);
      return true;
    });
    KESTREL_ASSERT(s.chain.size == s.live);
  }

  template <class Keep>
  void filter(slot& s, Keep&& keep) noexcept {
    entries_ -= s.chain.size;
    pool_.filter(s.chain, keep, [this](std::uint32_t i) { arena_.prefetch_record(i); });
    entries_ += s.chain.size;
  }

  /// Afterwards, no entry that was filed here before is valid: neither in the slot's chain nor in
  /// the one that was taken from it and is being walked.
  void change_colour(std::uint32_t number) noexcept {
    std::uint32_t& p = slots_[number].place;
    do
      p = (p & place::last_colour) == place::last_colour ? p - place::last_colour
                                                         : p + place::next_colour;
    while (p == walk_place_);
  }

  entry_chain take_chain(std::uint32_t number) noexcept {
    slot& s = slots_[number];
    change_colour(number);
    s.live = 0;
    if (number < l0_count()) {
      l0_occupied_.clear(number);
    } else {
      const std::uint32_t l1_number = number - l0_count();
      l1_occupied_.clear(l1_number);
      if (std::exchange(l1_first_[l1_number], never) == l1_next_)
        l1_next_ = find_l1_next();
    }
    return std::exchange(s.chain, entry_chain{});
  }

  tick_type find_l1_next() const noexcept {
    tick_type next = never;
    for (std::size_t i = l1_occupied_.find_from(0); i != l1_occupied_.none;
         i = l1_occupied_.find_from(i + 1))
      next = std::min(next, l1_first_[i]);
    return next;
  }

  void discard(std::uint32_t index, std::uint32_t link) noexcept {
    if (link & place::needs_destruction)
      arena_.destroy_payload(index);
    arena_.reclaim(index);
  }

  // -- Time

  /// The next tick with work to do: a level-0 slot to fire, or a level-1 slot to bring down.
  tick_type next_event() const noexcept {
    if (!walk_.done())
      return now_;
    return std::min(next_l0_event(), comes_down_at(l1_next_));
  }

  tick_type next_l0_event() const noexcept {
    const std::uint32_t here = l0_slot(now_);
    const std::size_t found = l0_occupied_.find_cyclic(here);
    if (found == l0_occupied_.none)
      return never;
    return now_ + l0_slot(static_cast<tick_type>(found) - here);
  }

  /// Level 0 reaches to the end of the last level-1 slot that came down, and therefore a timer is
  /// filed there only when all that were scheduled before it for the same tick are there already.
  void move_to(tick_type tick) noexcept {
    now_ = tick;
    boundary_ = units(tick);
    time_ = std::max(time_, boundary_);
    const tick_type l1_now = geometry_.to_l1_ticks(boundary_);
    const tick_type reach = comes_down_at(l1_next_) == tick ? look_ahead_ - 1 : look_ahead_;
    l0_last_ = last_time_before(detail::saturating_add(l1_now, reach));
  }

  /// The last time whose timers are due before a level-1 tick begins.
  tick_type last_time_before(tick_type l1_tick) const noexcept {
    const tick_type begin = detail::saturating_mul(l1_tick, l1_units_);
    return begin == never ? never : begin - geometry_.granularity();
  }

  /// Moves to the next tick with work, if that is no later than `to`, else to `to`.
  bool start_next_walk(tick_type to) noexcept {
    const tick_type l1_event = comes_down_at(l1_next_);
    const tick_type event = std::min(next_l0_event(), l1_event);
    if (event > to) {
      move_to(to);
      return false;
    }
    move_to(event);
    walk_comes_down_ = event == l1_event;
    const std::uint32_t number = walk_comes_down_ ? l0_count() + l1_slot(l1_next_) : l0_slot(event);
    if (walk_comes_down_)
      walk_last_ = last_time_before(l1_next_ + 1);
    walk_place_ = place_of(number);
    walk_ = detail::entry_walk{take_chain(number)};
    return true;
  }

  /// Looks at the next entry of the walk: skips a stale one, files one that is not due yet.
  bool take_next(timer_id& id) noexcept {
    const entry e = walk_.pop(pool_, [this](std::uint32_t i) {
      arena_.prefetch_record(i);
      arena_.prefetch_payload(i);
    });
    --entries_;
    const bool comes_down = walk_comes_down_;
    walk_comes_down_ = comes_down && !walk_.done();
    if (!is_current(e, walk_place_))
      return false;
    record& r = arena_.record(e.index);
    if (comes_down || r.deadline > boundary_) {
      file(e.index, r, comes_down ? walk_last_ : l0_last_);
      return false;
    }
    r.link |= place::detached;
    ++detached_;
    id = {e.index, e.generation};
    return true;
  }

  Geometry geometry_;
  arena arena_;
  detail::entry_pool<Allocator> pool_;
  std::vector<slot, typename std::allocator_traits<Allocator>::template rebind_alloc<slot>> slots_;
  // Per level-1 slot, a lower bound of the level-1 ticks in it: slots whose timers all wait for a
  // later turn are not looked at before.
  std::vector<tick_type,
              typename std::allocator_traits<Allocator>::template rebind_alloc<tick_type>>
      l1_first_;
  detail::occupancy<Allocator> l0_occupied_;
  detail::occupancy<Allocator> l1_occupied_;
  tick_type l1_units_;        // the length of a level-1 slot
  tick_type look_ahead_;      // how many level-1 slots level 0 holds
  tick_type now_ = 0;         // the tick that was reached
  tick_type boundary_ = 0;    // the same in units
  tick_type time_ = 0;        // the time that was reached, in units
  tick_type l0_last_ = 0;     // the last time whose timers level 0 may hold
  tick_type l1_next_ = never; // the least of l1_first_
  tick_type wake_ = never;    // see wake_hint
  std::size_t entries_ = 0;   // in all chains and the walk
  std::size_t detached_ = 0;  // timers that were claimed and not yet filed again or dropped
  // The chain that is being brought down or fired. One at a time, in as many steps as it takes.
  detail::entry_walk walk_;
  std::uint32_t walk_place_ = place::detached;
  bool walk_comes_down_ = false; // from level 1, and is not done
  tick_type walk_last_ = 0;
};

KESTREL_END_NAMESPACE

#include <kestrel/detail/wheel_invariants.hpp>

#endif // KESTREL_WHEEL_HPP
