// SPDX-License-Identifier: MIT
//
// wheel_levels: the two levels of a wheel, their slots, and the way of timers through them. It
// files entries, brings level 1 down, walks the slot that is due, and cleans away what is stale. Of
// the timers it sees the records only.

#ifndef KESTREL_DETAIL_WHEEL_LEVELS_HPP
#define KESTREL_DETAIL_WHEEL_LEVELS_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/entry_chain.hpp>
#include <kestrel/detail/occupancy.hpp>
#include <kestrel/detail/timer_record.hpp>
#include <kestrel/detail/vacated_places.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// What `wheel::claim` found.
enum class claim_status {
  due,     ///< a timer that is due was taken out
  nothing, ///< no timer is due any more
  paused,  ///< the budget was spent; call again to go on
};

namespace detail {

/// Tests define it.
struct aging;

/// Times are in units, `granularity` of them to a tick; ticks and level-1 ticks are named as such.
/// `Arena` is the slot_arena that holds the records; the caller passes the same one each time.
template <class Arena, class Geometry, class Allocator>
class wheel_levels {
  friend aging;

  using tick_type = std::uint64_t;
  using record = timer_record;

public:
  wheel_levels(const Geometry& geometry, tick_type start, const Allocator& allocator)
      : geometry_{geometry},
        pool_(slot_count(), allocator),
        slots_(slot_count(), slot{}, allocator),
        l1_first_(l1_count(), never, allocator),
        l0_occupied_(l0_count(), allocator),
        l1_occupied_(l1_count(), allocator),
        l1_units_{geometry.l1_ticks() * geometry.granularity()},
        look_ahead_{geometry.l0_slots() / geometry.l1_ticks()} {
    for (std::uint32_t number = 0; number != slots_.size(); ++number)
      slots_[number].place = number << place::slot_shift;
    move_to(geometry_.to_ticks(start));
  }

  [[nodiscard]] const Geometry& geometry() const noexcept { return geometry_; }

  [[nodiscard]] tick_type time() const noexcept { return time_; }

  /// The largest deadline there is.
  [[nodiscard]] tick_type latest() const noexcept { return never - geometry_.granularity(); }

  /// All entries, valid or stale, and those that claimed timers will need again.
  [[nodiscard]] std::size_t entries() const noexcept { return entries_; }

  /// Whether timers are claimed that will need theirs again.
  [[nodiscard]] bool has_claims() const noexcept { return claimed_ != 0; }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return pool_.bytes() + slots_.size() * sizeof(slot) + l1_first_.size() * sizeof(tick_type) +
           slots_.size() / 8;
  }

  /// See wheel::occupancy.
  [[nodiscard]] wheel_occupancy picture() const {
    wheel_occupancy seen{{{}, l0_slot(now_)}, {{}, l1_slot(geometry_.to_l1_ticks(boundary_))}};
    const std::vector<std::uint32_t> stale = stale_by_slot();
    for (std::uint32_t number = 0; number != slots_.size(); ++number) {
      auto& level = number < l0_count() ? seen.l0 : seen.l1;
      level.timers.push_back(slots_[number].chain.size - stale[number]);
    }
    return seen;
  }

  /// Room for `n` more entries, so that `file` need not allocate. Strong guarantee.
  KESTREL_ALWAYS_INLINE void reserve_entries(std::size_t n, Arena& arena) {
    if (entries_ + n > pool_.entry_limit())
      make_room(n, arena);
  }

  /// Room for all entries that `n` timers can have. As many again may be stale before any are
  /// cleaned away, and as many are reserved by a batch, which cannot know yet whose entries it
  /// makes stale. One more is for the timer that is in its callback.
  void reserve(std::size_t n) { pool_.reserve_entries(3 * n + 1); }

  /// Moves the entries that are valid into memory that is no larger than it has to be, and drops
  /// the others. Strong guarantee.
  void shrink_to_fit(Arena& arena) {
    settle();
    for (std::uint32_t number = 0; number != slots_.size(); ++number) {
      if (slots_[number].stale != 0)
        clean(number, arena);
    }
    clean_walk(arena);
    entry_pool<Allocator> pool = pool_.another();
    pool.reserve_entries(entries_);

    const auto moved = [&](const auto& from) {
      entry_chain to;
      for_each_entry(from, [&](const entry& e) { pool.append(to, e); });
      return to;
    };
    for (slot& s : slots_)
      s.chain = moved(s.chain);
    walk_ = entry_walk{moved(walk_)};
    walk_.look_ahead(prefetch_timer(arena));
    pool_.swap(pool);
  }

  // -- Filing

  /// Files a timer that was filed nowhere before; `flags` are those of its place.
  KESTREL_ALWAYS_INLINE void file_first(std::uint32_t index, record& r,
                                        std::uint32_t flags) noexcept {
    const home h = home_of(r);
    append(h, index, r);
    r.link = h.place | flags;
  }

  /// Files a timer where its deadline belongs, unless it is there.
  void file(std::uint32_t index, record& r) noexcept { file(home_of(r), index, r); }

  /// Files a timer that was filed before and whose deadline is earlier now.
  void file_earlier(std::uint32_t index, record& r) noexcept {
    const std::uint32_t old = r.link;
    file(index, r);
    if (r.link != old)
      forget(old);
  }

  /// The timer that was filed at `old` is not there any more. Its entry stays, and is stale. It is
  /// counted later, with others: `old` comes from the timer's record, and as long as that is on its
  /// way from the memory, no count could be read for another timer, since it might be the same one.
  KESTREL_ALWAYS_INLINE void forget(std::uint32_t old) noexcept {
    if (place::is_claimed(old)) {
      forget_claimed();
      return;
    }
    if (vacated_.full())
      settle();
    vacated_.push(old & ~place::needs_destruction);
  }

  /// A claimed timer will not be filed again.
  void forget_claimed() noexcept {
    --claimed_;
    --entries_;
  }

  /// A claimed timer is filed again, in the room that its claim left.
  void file_claimed(std::uint32_t index, record& r) noexcept {
    KESTREL_ASSERT(place::is_claimed(r.link));
    forget_claimed();
    file(index, r);
  }

  // -- Time

  /// See wheel::claim.
  claim_status claim(tick_type to, std::size_t& budget, timer_id& id, Arena& arena) noexcept {
    while (boundary_ <= to) {
      while (!walk_.done()) {
        if (budget == 0)
          return claim_status::paused;
        --budget;
        if (take_next(id, arena))
          return claim_status::due;
      }
      if (!start_next_walk((std::min)(geometry_.to_ticks(to), never - 1), arena)) {
        reach(to);
        break;
      }
    }
    return claim_status::nothing;
  }

  /// See wheel::preview.
  template <class F>
  void preview(std::uint32_t n, Arena& arena, F&& f) {
    walk_.preview(n, [&](const entry& e) {
      if (is_current(e, walk_place_, arena.record(e.index)))
        f(std::as_const(arena.payload(e.index)));
    });
  }

  /// See wheel::skip_to.
  void skip_to(tick_type to) noexcept {
    if (to >= skip_from_ && to < wake_) {
      move_to(geometry_.to_ticks(to));
      reach(to);
    }
  }

  /// A lower bound of the next time with work to do. It becomes exact with `next_wake`.
  [[nodiscard]] tick_type wake_hint() const noexcept { return wake_; }

  tick_type next_wake() noexcept { return wake_ = next_work(); }

  /// The next time with work to do, which is not after `time()` while work is left.
  [[nodiscard]] tick_type next_work() noexcept {
    settle();
    return units(next_event());
  }

  /// See wheel::check_invariants.
  [[nodiscard]] bool check_invariants(const Arena& arena) const;

private:
  /// One slot of either level. An entry in it is valid if the timer's record is filed under this
  /// slot and its present colour. Taking the chain away or cleaning it changes the colour, so that
  /// what is filed again meanwhile, here or elsewhere, is told from what was.
  struct slot {
    entry_chain chain;
    std::uint32_t stale = 0; // how many of its entries are, as far as they were counted
    std::uint32_t place = 0; // the slot's number and colour, as a timer's record notes them
  };

  template <class U>
  using vector =
      std::vector<U, typename std::allocator_traits<Allocator>::template rebind_alloc<U>>;

  tick_type units(tick_type tick) const noexcept {
    return saturating_mul(tick, geometry_.granularity());
  }

  /// The first tick at or after a time.
  tick_type tick_of(tick_type time) const noexcept {
    return geometry_.to_ticks(time + (geometry_.granularity() - 1));
  }

  /// The level-1 tick that the first tick at or after a time belongs to.
  tick_type l1_tick_of(tick_type time) const noexcept {
    return geometry_.to_l1_ticks(time + (geometry_.granularity() - 1));
  }

  std::size_t slot_count() const noexcept { return std::size_t{l0_count()} + l1_count(); }

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

  std::uint32_t l0_count() const noexcept {
    return static_cast<std::uint32_t>(geometry_.l0_slots());
  }

  std::uint32_t l1_count() const noexcept {
    return static_cast<std::uint32_t>(geometry_.l1_slots());
  }

  /// Whether a timer is where an entry at `where` says; `r` is its record.
  static bool is_current(const entry& e, std::uint32_t where, const record& r) noexcept {
    return (r.generation == e.generation) & (place::of(r) == where);
  }

  /// Where a timer belongs.
  struct home {
    entry_chain& chain;
    std::uint32_t place;
  };

  /// While a slot is coming down, what belongs into that slot comes down behind it: those who were
  /// there first stay first.
  KESTREL_ALWAYS_INLINE home home_of(const record& r) noexcept {
    if (walk_comes_down_ && r.deadline > l0_last_ &&
        l0_count() + l1_slot(l1_tick_of(r.deadline)) == walk_place_ >> place::slot_shift)
      return {walk_.rest(), walk_place_};
    return home_of(r, l0_last_);
  }

  /// As far as slots go; `l0_last` is the last time whose timers level 0 may hold.
  KESTREL_ALWAYS_INLINE home home_of(const record& r, tick_type l0_last) noexcept {
    const std::uint32_t number = r.deadline <= l0_last ? l0_number(r) : l1_number(r);
    slot& s = slots_[number];
    if (s.chain.size == 0)
      mark_occupied(number);
    return {s.chain, s.place};
  }

  KESTREL_ALWAYS_INLINE void append(const home& h, std::uint32_t index, const record& r) noexcept {
    pool_.append(h.chain, {index, r.generation});
    ++entries_;
  }

  void file(const home& h, std::uint32_t index, record& r) noexcept {
    if (place::of(r) == h.place)
      return;
    append(h, index, r);
    place::set(r, h.place);
  }

  std::uint32_t l0_number(const record& r) noexcept {
    const tick_type tick = (std::max)(tick_of(r.deadline), now_);
    if (r.deadline < wake_)
      wake_ = (std::min)(wake_, units(tick));
    return l0_slot(tick);
  }

  std::uint32_t l1_number(const record& r) noexcept {
    const tick_type l1_tick = l1_tick_of(r.deadline);
    const std::uint32_t number = l1_slot(l1_tick);
    if (l1_tick < l1_first_[number]) {
      l1_first_[number] = l1_tick;
      if (l1_tick < l1_next_) {
        l1_next_ = l1_tick;
        wake_ = (std::min)(wake_, units(comes_down_at(l1_tick)));
      }
    }
    return l0_count() + number;
  }

  void mark_occupied(std::uint32_t number) noexcept {
    if (number < l0_count())
      l0_occupied_.set(number);
    else
      l1_occupied_.set(number - l0_count());
  }

  void drop(std::uint32_t number) noexcept {
    entries_ -= slots_[number].chain.size;
    entry_chain chain = take_chain(number);
    pool_.release(chain);
  }

  /// Of each slot, those that are not counted yet included.
  std::vector<std::uint32_t> stale_by_slot() const {
    std::vector<std::uint32_t> stale;
    for (const slot& s : slots_)
      stale.push_back(s.stale);
    for (const std::uint32_t old : vacated_) {
      const std::uint32_t number = old >> place::slot_shift;
      stale[number] += slots_[number].place == old ? 1u : 0u;
    }
    return stale;
  }

  /// Counts the entries whose timers have left. A slot without any other is emptied at once.
  void settle() noexcept {
    for (const std::uint32_t old : vacated_) {
      const std::uint32_t number = old >> place::slot_shift;
      slot& s = slots_[number];
      if (s.place == old && ++s.stale == s.chain.size) // else it is gone, or in the walk
        drop(number);
    }
    vacated_.clear();
  }

  /// Cleans away stale entries as long as they are the most, and gets more memory if that is not
  /// enough: what is cleaned away paid for that when it was filed. If more than half of all are
  /// stale, so are half of some slot's, or of the walk's.
  KESTREL_COLD void make_room(std::size_t n, Arena& arena) {
    settle();
    while (entries_ + n > pool_.entry_limit() && entries_ > 2 * arena.size() &&
           clean_something(arena)) {
    }
    pool_.reserve_entries(entries_ + n);
  }

  /// Slots take turns, and then the walk has its own. False if nothing was worth it.
  bool clean_something(Arena& arena) noexcept {
    return clean_slot_from(clean_from_, arena) || clean_slot_from(0, arena) || clean_walk(arena);
  }

  /// The first slot at or after `number` of whose entries half or more are stale, if there is one.
  bool clean_slot_from(std::uint32_t number, Arena& arena) noexcept {
    for (number = find_occupied(number); number != slots_.size();
         number = find_occupied(number + 1)) {
      if (2 * std::size_t{slots_[number].stale} >= slots_[number].chain.size) {
        clean(number, arena);
        clean_from_ = number + 1;
        return true;
      }
    }
    return false;
  }

  /// The first slot at or after `number` that has entries.
  std::uint32_t find_occupied(std::uint32_t number) const noexcept {
    if (number < l0_count()) {
      if (const std::size_t i = l0_occupied_.find_from(number); i != l0_occupied_.none)
        return static_cast<std::uint32_t>(i);
      number = l0_count();
    }
    const std::size_t i = l1_occupied_.find_from(number - l0_count());
    return i != l1_occupied_.none ? l0_count() + static_cast<std::uint32_t>(i)
                                  : static_cast<std::uint32_t>(slots_.size());
  }

  void clean(std::uint32_t number, Arena& arena) noexcept {
    slot& s = slots_[number];
    const std::uint32_t old = std::exchange(s.place, unused_colour(number));
    entries_ -= s.chain.size;
    pool_.filter(s.chain, 0, recolour(old, s.place, arena), prefetch_record(arena));
    entries_ += s.chain.size;
    s.stale = 0;
  }

  /// False if nothing was stale in it.
  bool clean_walk(Arena& arena) noexcept {
    if (walk_.done())
      return false;
    const std::uint32_t old =
        std::exchange(walk_place_, unused_colour(walk_place_ >> place::slot_shift));
    const std::uint32_t before = walk_.left();
    walk_.filter(pool_, recolour(old, walk_place_, arena), prefetch_record(arena));
    walk_.look_ahead(prefetch_timer(arena));
    entries_ -= before - walk_.left();
    walk_comes_down_ = walk_comes_down_ && !walk_.done();
    return walk_.left() != before;
  }

  /// Whether an entry is valid; then its timer is filed at `now` instead of `old`, so that another
  /// entry of a timer that left a slot and came back is not. Without a branch: which are valid is
  /// unpredictable.
  static auto recolour(std::uint32_t old, std::uint32_t now, Arena& arena) noexcept {
    return [=, &arena](const entry& e) {
      record& r = arena.record(e.index);
      const bool valid = is_current(e, old, r);
      r.link ^= valid ? old ^ now : 0;
      return valid;
    };
  }

  static auto prefetch_record(const Arena& arena) noexcept {
    return [&arena](std::uint32_t index) { arena.prefetch_record(index); };
  }

  /// A colour of the slot with which no timer is filed, neither there nor in the walk.
  std::uint32_t unused_colour(std::uint32_t number) const noexcept {
    std::uint32_t p = slots_[number].place;
    do
      p = (p & place::last_colour) == place::last_colour ? p - place::last_colour
                                                         : p + place::next_colour;
    while (p == walk_place_);
    return p;
  }

  /// Afterwards, no entry that was filed here before is valid, unless in the walk.
  entry_chain take_chain(std::uint32_t number) noexcept {
    slot& s = slots_[number];
    s.place = unused_colour(number);
    s.stale = 0;
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

  /// From the first slot that has not come down on, slots are in the order of this turn: the first
  /// one that has timers for it is the answer, and those before it wait for a later turn.
  tick_type find_l1_next() const noexcept {
    const tick_type begin = geometry_.to_l1_ticks(boundary_) + look_ahead_ - 1;
    tick_type next = never;
    for (std::size_t i = l1_occupied_.find_cyclic(l1_slot(begin)), first = i;
         i != l1_occupied_.none;) {
      next = (std::min)(next, l1_first_[i]);
      if (l1_first_[i] - begin < geometry_.l1_slots())
        return next;
      i = l1_occupied_.find_cyclic(i + 1);
      if (i == first)
        break;
    }
    return next;
  }

  /// The next tick with work to do: a level-0 slot to fire, or a level-1 slot to bring down.
  tick_type next_event() const noexcept {
    if (!walk_.done())
      return now_;
    return (std::min)(next_l0_event(), comes_down_at(l1_next_));
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
    reach(boundary_);
    const tick_type l1_now = geometry_.to_l1_ticks(boundary_);
    const tick_type held = comes_down_at(l1_next_) == tick ? look_ahead_ - 1 : look_ahead_;
    l0_last_ = last_time_before(saturating_add(l1_now, held));
  }

  void reach(tick_type time) noexcept {
    time_ = (std::max)(time_, time);
    skip_from_ = saturating_add(time_, l1_units_);
  }

  /// The last time whose timers are due before a level-1 tick begins.
  tick_type last_time_before(tick_type l1_tick) const noexcept {
    const tick_type begin = saturating_mul(l1_tick, l1_units_);
    return begin == never ? never : begin - geometry_.granularity();
  }

  /// What the walk will read of a timer.
  auto prefetch_timer(const Arena& arena) const noexcept {
    return [this, &arena](std::uint32_t index) {
      arena.prefetch_record(index);
      if (!walk_comes_down_)
        arena.prefetch_payload(index);
    };
  }

  /// Moves to the next tick with work, if that is no later than `to`, else to `to`.
  bool start_next_walk(tick_type to, const Arena& arena) noexcept {
    settle();
    const tick_type l1_event = comes_down_at(l1_next_);
    const tick_type event = (std::min)(next_l0_event(), l1_event);
    if (event > to) {
      move_to(to);
      return false;
    }
    move_to(event);
    walk_comes_down_ = event == l1_event;
    const std::uint32_t number = walk_comes_down_ ? l0_count() + l1_slot(l1_next_) : l0_slot(event);
    if (walk_comes_down_)
      walk_last_ = last_time_before(l1_next_ + 1);
    walk_place_ = slots_[number].place;
    walk_ = entry_walk{take_chain(number)};
    walk_.look_ahead(prefetch_timer(arena));
    return true;
  }

  /// Looks at the next entry of the walk: skips a stale one, files one that is not due yet.
  bool take_next(timer_id& id, Arena& arena) noexcept {
    const entry e = walk_.pop(pool_, prefetch_timer(arena));
    const bool comes_down = walk_comes_down_;
    walk_comes_down_ = comes_down && !walk_.done();
    record& r = arena.record(e.index);
    const bool valid = is_current(e, walk_place_, r);
    if (valid && !comes_down && r.deadline <= boundary_) {
      claims_ = claims_ % place::max_claim + 1;
      place::set(r, place::claimed | (claims_ << place::claim_shift));
      ++claimed_;
      id = {e.index, e.generation};
      return true;
    }
    --entries_;
    if (valid)
      file(home_of(r, comes_down ? walk_last_ : l0_last_), e.index, r);
    return false;
  }

  Geometry geometry_;
  entry_pool<Allocator> pool_;
  vector<slot> slots_; // level 0, then level 1
  // Per level-1 slot, a lower bound of the level-1 ticks in it: slots whose timers all wait for a
  // later turn are not looked at before.
  vector<tick_type> l1_first_;
  occupancy<Allocator> l0_occupied_;
  occupancy<Allocator> l1_occupied_;
  tick_type l1_units_;           // the length of a level-1 slot
  tick_type look_ahead_;         // how many level-1 slots level 0 holds
  tick_type now_ = 0;            // the tick that was reached
  tick_type boundary_ = 0;       // the same in units
  tick_type time_ = 0;           // the time that was reached, in units
  tick_type skip_from_ = 0;      // the first time that is worth skipping to
  tick_type l0_last_ = 0;        // the last time whose timers level 0 may hold
  tick_type l1_next_ = never;    // the least of l1_first_
  tick_type wake_ = never;       // see wake_hint
  std::size_t entries_ = 0;      // in all chains and the walk, and one for each claimed timer
  std::uint32_t claims_ = 0;     // the number of the last claim
  std::size_t claimed_ = 0;      // timers that were claimed and not yet filed again or dropped
  vacated_places vacated_;       // not yet counted in their slots
  std::uint32_t clean_from_ = 0; // the slot whose turn it is
  // The chain that is being brought down or fired. One at a time, in as many steps as it takes.
  entry_walk walk_;
  std::uint32_t walk_place_ = place::claimed; // no slot's
  bool walk_comes_down_ = false;              // from level 1, and is not done
  tick_type walk_last_ = 0;
};

} // namespace detail
KESTREL_END_NAMESPACE

#include <kestrel/detail/wheel_invariants.hpp>

#endif // KESTREL_DETAIL_WHEEL_LEVELS_HPP
