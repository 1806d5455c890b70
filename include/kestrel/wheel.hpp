// SPDX-License-Identifier: MIT
//
// wheel<T>: a two-level hierarchical timing wheel over any payload. Integer time in, due payloads
// out, never early, in deadline order; no clock, no lock, no thread, no Asio. A game server steps
// it from its own loop, pauses it, runs it at double speed. Works without exceptions and without
// RTTI.

#ifndef KESTREL_WHEEL_HPP
#define KESTREL_WHEEL_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/timer_record.hpp>
#include <kestrel/detail/wheel_levels.hpp>
#include <kestrel/slot_arena.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/wheel_config.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE

namespace detail {

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

} // namespace detail

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
/// plus the occupied slots passed and what was cancelled in them, however far it goes. Exceptions:
/// `insert`, `postpone` and `reserve` throw `bad_alloc` or what T's constructor throws, and have
/// then changed nothing; what was cancelled may have been cleaned away.
/// Advancing throws only what the callback throws; timers that were due but not yet called are
/// called by the next advance. Reentrancy: the callback of an advance may call everything except
/// the destructor and the move constructor.
///
///     kestrel::wheel<buff> buffs;
///     kestrel::timer_id id = buffs.insert(300, buff{...});
///     buffs.advance(1, [](kestrel::timer_id, buff& b) { b.wear_off(); });
template <class T, class Geometry = static_geometry<>, class Allocator = std::allocator<T>>
class wheel {
  friend struct detail::aging;

  using arena = slot_arena<detail::timer_record, T, Allocator>;
  using record = detail::timer_record;

public:
  ///@{
  /// What it is made of; time is a number of ticks, or of units.
  using tick_type = std::uint64_t;
  using value_type = T;
  using geometry_type = Geometry;
  ///@}

  /// The end of time: no timer is due then. Deadlines saturate one tick before it.
  static constexpr tick_type never = detail::never;

  /// A wheel at time `start`, a whole number of ticks.
  explicit wheel(const Geometry& geometry = Geometry(), tick_type start = 0,
                 const Allocator& allocator = Allocator())
      : arena_(detail::next_first_generation(), allocator), levels_(geometry, start, allocator) {}

  /// The moved-from wheel is empty, without slots; it may be asked for its size, searched and
  /// destroyed.
  wheel(wheel&&) noexcept = default;
  wheel& operator=(wheel&&) = delete;

  /// Destroys the pending payloads without calling them.
  ~wheel() {
    while (!empty()) // a payload's destructor may schedule
      clear();
  }

  /// The time last advanced to; inside an advance's callback, the tick that is being fired.
  [[nodiscard]] tick_type now() const noexcept { return levels_.time(); }

  /// How many timers are pending.
  [[nodiscard]] std::size_t size() const noexcept { return arena_.size(); }
  /// Whether none is pending.
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// How many slots there are, and how long they last.
  [[nodiscard]] const Geometry& geometry() const noexcept { return levels_.geometry(); }

  /// Schedules `payload` for `now() + max(delay, 1)`.
  template <class U = T>
  timer_id insert(tick_type delay, U&& payload) {
    return insert_at(after(delay), std::forward<U>(payload));
  }

  /// Schedules `payload` for an absolute time. One that is not after the last tick is due at once:
  /// the next advance calls it, `advance(0)` too.
  template <class U = T>
  timer_id insert_at(tick_type deadline, U&& payload) {
    levels_.reserve_entries(1, arena_);
    const typename arena::slot made = arena_.allocate(std::forward<U>(payload));
    file_first(made, deadline);
    return {made.index, made.record.generation};
  }

  /// Takes a pending timer out; its payload is destroyed. False if `id` names none.
  bool cancel(timer_id id) noexcept {
    return cancel(id, [](T&&) {});
  }

  /// As above, but first hands the payload to `sink(T&&)`, unless it is trivial to discard. For
  /// owners who must not destroy it just here.
  template <class Sink>
  bool cancel(timer_id id, Sink&& sink) noexcept {
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    const std::uint32_t old = r->link;
    arena_.invalidate(*r);
    if (must_be_destroyed(old))
      sink(std::move(arena_.payload(id.index())));
    levels_.forget(old);
    discard(id.index(), old);
    return true;
  }

  /// Moves a pending timer to `now() + max(delay, 1)`. False if `id` names none.
  bool postpone(timer_id id, tick_type delay) { return postpone_at(id, after(delay)); }

  /// Moves a pending timer to an absolute time. A later one costs a single write; an earlier one
  /// may throw `bad_alloc`, and then the timer stays where it was.
  bool postpone_at(timer_id id, tick_type deadline) {
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    move(id.index(), *r, deadline);
    return true;
  }

  /// As above, and then lets `update(T&)` change the payload; it must not throw.
  template <class Update>
  bool postpone_at(timer_id id, tick_type deadline, Update&& update) {
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    move(id.index(), *r, deadline);
    change(id.index(), *r, update);
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
    advance_to(detail::saturating_add(now(), n), f);
  }

  /// Advances to time `to`, as `advance` does. Time does not go back: an earlier `to` does nothing.
  template <class F>
  void advance_to(tick_type to, F&& f) {
    std::size_t unlimited = (std::numeric_limits<std::size_t>::max)();
    for (timer_id id; claim(to, unlimited, id) == claim_status::due;) {
      const claimed_slot timer{*this, id.index()};
      f(id, arena_.payload(id.index()));
    }
  }

  /// The next time at which an advance has work to do: after `now()`, and never later than the
  /// first tick at or after the earliest deadline that is still to come. It settles what was
  /// cancelled: not for two threads at once.
  [[nodiscard]] std::optional<tick_type> next_expiry() const noexcept {
    const tick_type next = levels_.next_work();
    if (next == never)
      return std::nullopt;
    return (std::max)(next, detail::saturating_add(now(), 1));
  }

  /// Makes room for `n` pending timers in all: until there are more, nothing allocates.
  void reserve(std::size_t n) {
    arena_.reserve(n + (n < arena::max_size ? 1 : 0)); // one may be in its callback
    levels_.reserve(n);
  }

  /// Gives back memory that is not needed for what is pending: after a burst of timers, all that it
  /// took, if those that remain were there before it. Payloads stay where they are, and so only
  /// what is free behind the last of them can go; what one `reserve` or step of growth got goes as
  /// a whole. O(capacity); meanwhile, it needs a little more. Strong guarantee.
  void shrink_to_fit() {
    const auto free = arena_.free_slots();
    levels_.shrink_to_fit(arena_);
    arena_.shrink_to_fit(free);
  }

  /// Cancels every timer that is pending when it is called.
  void clear() noexcept {
    clear_if([](const T&) { return true; });
  }

  /// Bytes held, as far as the allocator was asked for them.
  [[nodiscard]] std::size_t memory_usage() const noexcept {
    return arena_.bytes() + levels_.bytes();
  }

  /// How many slots the arena has, live or not.
  [[nodiscard]] std::size_t capacity() const noexcept { return arena_.capacity(); }

  /// Entries whose timer was cancelled or moved and that were not yet cleaned away.
  [[nodiscard]] std::size_t stale_entries() const noexcept {
    return levels_.entries() - arena_.size();
  }

  /// How many timers each slot holds. O(slots). Throws `bad_alloc`.
  [[nodiscard]] wheel_occupancy occupancy() const { return levels_.picture(); }

  // ---- For owners with a clock and a lock of their own, such as timer_wheel

  /// Sets a slot aside for a timer to come. Its id names none before `insert_at(id, ...)`.
  timer_id allocate() { return arena_.take(); }

  /// Gives back a slot that was set aside and not used.
  void deallocate(timer_id slot) noexcept { arena_.untake(slot.index()); }

  /// Makes room for the entries of `n` more timers: until then, inserting into slots that were set
  /// aside throws only what T's constructor throws.
  void reserve_more(std::size_t n) { levels_.reserve_entries(n, arena_); }

  /// Schedules `payload` in a slot that was set aside, for which there is room.
  template <class U = T>
  void insert_at(timer_id slot, tick_type deadline, U&& payload) {
    file_first(arena_.occupy(slot.index(), std::forward<U>(payload)), deadline);
  }

  /// Lets `change(T&)` change the payload of a pending timer; it must not throw.
  template <class Change>
  bool update(timer_id id, Change&& change) noexcept {
    record* r = arena_.find(id);
    if (r == nullptr)
      return false;
    this->change(id.index(), *r, change);
    return true;
  }

  /// Cancels those of the pending timers for whose payload `which(const T&)` holds.
  template <class Which>
  void clear_if(Which&& which) noexcept {
    for (std::uint32_t index = 0; !empty() && index != arena_.used(); ++index) {
      if (arena::is_live(arena_.record(index)) && which(std::as_const(arena_.payload(index))))
        cancel(arena_.id_of(index));
    }
  }

  /// Moves time on to `to`, as far as the next timer that is due, and takes that one out: `id` is
  /// still pending, cancellable and searchable, but will not be claimed again until `rearm`. Looks
  /// at `budget` entries at most and counts it down.
  claim_status claim(tick_type to, std::size_t& budget, timer_id& id) noexcept {
    return levels_.claim(to, budget, id, arena_);
  }

  /// Calls `f(const T&)` for those of the next `n` timers of the slot that was begun for which that
  /// was not done before; for 15 at most. A hint: not all of them may be due.
  template <class F>
  void preview(std::uint32_t n, F&& f) {
    levels_.preview(n, arena_, f);
  }

  /// Whether any timer is out.
  [[nodiscard]] bool has_claims() const noexcept { return levels_.has_claims(); }

  /// The number of the claim under which a timer is out, or 0 if it is not. Numbers come again
  /// after 2^30 claims.
  [[nodiscard]] std::uint32_t claim_of(timer_id id) const noexcept {
    const record* r = arena_.find(id);
    return r != nullptr && detail::place::is_claimed(r->link)
               ? (r->link & ~detail::place::claimed) >> detail::place::claim_shift
               : 0;
  }

  /// The payload of a claimed timer.
  [[nodiscard]] T& claimed_payload(timer_id id) noexcept {
    KESTREL_ASSERT(claim_of(id) != 0);
    return arena_.payload(id.index());
  }

  /// The deadline of a claimed timer.
  [[nodiscard]] tick_type claimed_deadline(timer_id id) const noexcept {
    KESTREL_ASSERT(claim_of(id) != 0);
    return arena_.record(id.index()).deadline;
  }

  /// Ends a claimed timer: it is not pending any more, and its payload is destroyed.
  KESTREL_ALWAYS_INLINE void end_claimed(timer_id id) noexcept {
    record& r = arena_.record(id.index());
    arena_.invalidate(r);
    levels_.forget_claimed();
    discard(id.index(), r.link);
  }

  /// Files a claimed timer again. It cannot fail: the claim kept its place.
  void rearm(timer_id id, tick_type deadline) noexcept {
    record* r = arena_.find(id);
    KESTREL_ASSERT(r != nullptr);
    r->deadline = (std::min)(deadline, levels_.latest());
    levels_.file_claimed(id.index(), *r);
  }

  /// Moves time on to `to` if that is a level-1 slot or more ahead and nothing is to do until then.
  /// O(1). A wheel that has slept is told the time before a timer is filed, so that a near deadline
  /// is filed as a near one.
  void skip_to(tick_type to) noexcept { levels_.skip_to(to); }

  /// A lower bound of the next time with work to do, in O(1). It becomes exact with `next_wake`.
  [[nodiscard]] tick_type wake_hint() const noexcept { return levels_.wake_hint(); }

  /// The next time with work to do, which is not after `now()` while work is left; never if none
  /// is.
  tick_type next_wake() noexcept { return levels_.next_wake(); }

  /// Asks the memory for what `cancel`, `postpone` and `expiry` of this timer will read.
  void prefetch(timer_id id) const noexcept { arena_.prefetch_record(id.index()); }

  /// The same, and the payload: to cancel a timer may destroy that, and the next one takes its
  /// place.
  void prefetch_all(timer_id id) const noexcept {
    prefetch(id);
    arena_.prefetch_payload(id.index());
  }

  /// Compares every structure with a brute-force recount. O(everything).
  [[nodiscard]] bool check_invariants() const {
    // one way: what is compared differs only if there is a bug
    return arena_.check_invariants() && levels_.check_invariants(arena_);
  }

private:
  // Keeps a fired timer's payload alive during its callback, though its id is stale already.
  struct claimed_slot {
    claimed_slot(wheel& owner, std::uint32_t index) noexcept : wheel_{owner}, index_{index} {
      wheel_.arena_.invalidate(wheel_.arena_.record(index));
    }
    ~claimed_slot() {
      wheel_.levels_.forget_claimed();
      wheel_.discard(index_, wheel_.arena_.record(index_).link);
    }
    claimed_slot(const claimed_slot&) = delete;
    claimed_slot& operator=(const claimed_slot&) = delete;

    wheel& wheel_;
    std::uint32_t index_;
  };

  tick_type after(tick_type delay) const noexcept {
    return detail::saturating_add(now(), std::max<tick_type>(delay, 1));
  }

  static std::uint32_t destruction_flag(const T& payload) noexcept {
    return detail::needs_destruction(payload) ? detail::place::needs_destruction : 0;
  }

  KESTREL_ALWAYS_INLINE void file_first(const typename arena::slot& made,
                                        tick_type deadline) noexcept {
    made.record.deadline = (std::min)(deadline, levels_.latest());
    levels_.file_first(made.index, made.record, destruction_flag(made.payload));
  }

  static bool must_be_destroyed(std::uint32_t link) noexcept {
    return !std::is_trivially_destructible_v<T> && (link & detail::place::needs_destruction) != 0;
  }

  template <class Change>
  void change(std::uint32_t index, record& r, Change&& f) noexcept {
    T& payload = arena_.payload(index);
    f(payload);
    r.link = detail::place::of(r) | destruction_flag(payload);
  }

  void move(std::uint32_t index, record& r, tick_type deadline) {
    if (deadline >= r.deadline || detail::place::is_claimed(r.link)) {
      r.deadline = (std::min)(deadline, levels_.latest()); // its entry will see to the rest
      return;
    }
    levels_.reserve_entries(1, arena_);
    r.deadline = deadline;
    levels_.file_earlier(index, r);
  }

  KESTREL_ALWAYS_INLINE void discard(std::uint32_t index, std::uint32_t link) noexcept {
    if (must_be_destroyed(link))
      arena_.destroy_payload(index);
    arena_.reclaim(index);
  }

  arena arena_;
  mutable detail::wheel_levels<arena, Geometry, Allocator> levels_; // settles when it is asked
};

KESTREL_END_NAMESPACE

#endif // KESTREL_WHEEL_HPP
