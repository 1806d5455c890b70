// SPDX-License-Identifier: MIT
//
// slot_arena: stable storage for timers, in pages that hold the hot records apart from the cold
// payloads. Every slot carries a generation, so that a timer_id whose timer is gone is recognised.
// Allocate, release and look up are O(1); memory follows the largest number of live slots, until
// what is free at its end is given back.

#ifndef KESTREL_SLOT_ARENA_HPP
#define KESTREL_SLOT_ARENA_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/page_table.hpp>
#include <kestrel/detail/prefetch.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>

#include <algorithm>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// What the arena needs of a hot record: room for the generation, which it owns, and for a link
/// that chains the free slots, which the record may use as it likes while its slot is live.
template <class Record>
concept arena_record = std::is_trivially_copyable_v<Record> && requires(Record r) {
  { r.generation } -> std::same_as<std::uint32_t&>;
  { r.link } -> std::same_as<std::uint32_t&>;
};

namespace detail {

/// Where a new arena's generations begin. Steps of the golden ratio keep any number of arenas as
/// far apart as they can be, so that an id of one is unknown to the others.
inline std::uint32_t next_first_generation() noexcept {
  static std::atomic<std::uint32_t> step{0};
  return step.fetch_add(0x9E3779B9u, std::memory_order_relaxed);
}

/// The most slots that an arena can have, and as many as it has room for if not told otherwise.
inline constexpr std::size_t max_timers = std::size_t{1} << 30;

inline void require_at_most(std::size_t most, std::size_t timers) {
  if (timers > most)
    throw_error(errc::too_many_timers, "timers = " + std::to_string(timers));
}

} // namespace detail

/// A generational arena of `Payload`s, each with a `Record` beside it in a dense array of its own.
///
/// A slot's generation is odd while the slot is live and even while it is free. A slot whose
/// generations have all been used is never used again: ids do not alias, not even then. Nor do they
/// after slots were given back: those that come in their place begin where the others had got to.
///
/// Thread safety: distinct objects safe, shared objects unsafe.
/// Complexity: O(1), but for shrinking and what says otherwise; growing moves nothing.
/// Exceptions: what makes room or payloads gives the strong guarantee; nothing else throws.
template <arena_record Record, class Payload, class Allocator = std::allocator<Payload>,
          std::size_t MaxSize = detail::max_timers>
class slot_arena {
  static constexpr std::uint32_t page_bits = 9;
  static constexpr std::uint32_t page_size = 1u << page_bits;
  static constexpr std::size_t max_growth = 256; // pages at a time, unless more are reserved
  static constexpr std::uint32_t no_slot = ~std::uint32_t{0};
  static constexpr std::size_t least_page_alignment = alignof(std::max_align_t);

  // Apart, so that a walk over records finds nothing else in its cache lines and cache sets.
  struct record_page {
    alignas(64) Record at[page_size];
  };
  struct payload_page {
    alignas(Payload) std::byte at[page_size][sizeof(Payload)];
  };

  template <class Page>
  using page_table = detail::page_table<Page, Allocator>;

  using slot_set_allocator = typename std::allocator_traits<Allocator>::template rebind_alloc<bool>;

public:
  /// Which slots, by their numbers.
  using slot_set = std::vector<bool, slot_set_allocator>;

  /// A slot that is live.
  struct slot {
    std::uint32_t index; ///< its number
    Record& record;      ///< its hot part
    Payload& payload;    ///< its cold part
  };

  /// The most slots an arena can have.
  static constexpr std::size_t max_size = MaxSize;
  static_assert(max_size % page_size == 0 && max_size <= detail::max_timers);

  /// An arena without memory, whose slots begin with that generation, rounded down to an even one.
  explicit slot_arena(std::uint32_t first_generation = detail::next_first_generation(),
                      const Allocator& allocator = Allocator())
      : records_(allocator),
        payloads_(allocator),
        first_generation_{first_generation & ~1u},
        fresh_generation_{first_generation_} {}

  /// The one moved from is empty, and its ids are known here.
  slot_arena(slot_arena&& other) noexcept
      : records_(std::move(other.records_)),
        payloads_(std::move(other.payloads_)),
        first_generation_{other.first_generation_},
        fresh_generation_{other.fresh_generation_},
        used_{std::exchange(other.used_, 0)},
        free_{std::exchange(other.free_, no_slot)},
        size_{std::exchange(other.size_, 0)} {}

  /// The owner has released every slot: the arena itself does not know which payloads are alive.
  ~slot_arena() = default;

  /// How many slots are live.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// How many there is memory for.
  [[nodiscard]] std::size_t capacity() const noexcept { return pages() * page_size; }
  /// What the generation of a slot is before its first use.
  [[nodiscard]] std::uint32_t first_generation() const noexcept { return first_generation_; }

  /// One past the highest index ever used.
  [[nodiscard]] std::uint32_t used() const noexcept { return used_; }

  /// The memory that it holds.
  [[nodiscard]] std::size_t bytes() const noexcept { return records_.bytes() + payloads_.bytes(); }

  /// Makes room for `n` live slots in all. Throws `bad_alloc`, or `errc::too_many_timers`.
  void reserve(std::size_t n) {
    detail::require_at_most(max_size, n);
    if (capacity() < n)
      add_pages((n - capacity() + page_size - 1) / page_size);
  }

  /// Which slots are free, for `shrink_to_fit`. O(capacity).
  [[nodiscard]] slot_set free_slots() const {
    slot_set free(used_, false, slot_set_allocator(records_.get_allocator()));
    for (std::uint32_t i = free_; i != no_slot; i = record(i).link)
      free[i] = true;
    return free;
  }

  /// Gives back the pages at the end that have free slots only, as far as what they were allocated
  /// with does; the rest will be used from its beginning. Nobody asks for the record of a slot that
  /// was free, unless by an id. O(capacity).
  void shrink_to_fit(const slot_set& free) noexcept {
    std::uint32_t kept = (used_ + page_size - 1) >> page_bits;
    while (kept != 0 && give_up_page(kept - 1, free))
      --kept;
    used_ = (std::min)(used_, kept << page_bits);
    free_ = no_slot;
    for (std::uint32_t i = used_; i != 0; --i) {
      if (free[i - 1])
        record(i - 1).link = std::exchange(free_, i - 1);
    }
    records_.shrink_to(kept);
    payloads_.shrink_to(kept);
  }

  /// A live slot whose payload was made from `args`. Its record holds the generation and is
  /// otherwise unspecified.
  template <class... Args>
  slot allocate(Args&&... args) {
    struct give_back {
      ~give_back() {
        if (index != no_slot)
          arena.undo_take(index);
      }
      slot_arena& arena;
      std::uint32_t index;
    } taken{*this, take().index()};
    const slot made = occupy(taken.index, std::forward<Args>(args)...);
    taken.index = no_slot;
    return made;
  }

  /// Sets a slot aside. The id is what `occupy` will make live, and until then names nothing.
  KESTREL_ALWAYS_INLINE timer_id take() {
    if (free_ != no_slot) {
      const std::uint32_t index = free_;
      free_ = record(index).link;
      prefetch_record(free_); // the next call reads it, and writes its payload
      prefetch_payload(free_);
      return {index, record(index).generation + 1};
    }
    if (used_ == capacity())
      grow();
    Record& r = *std::construct_at(&record(used_));
    r.generation = fresh_generation_;
    return {used_++, fresh_generation_ + 1};
  }

  /// Takes a slot back that was set aside and not occupied. Its id will never name anything.
  void untake(std::uint32_t index) noexcept {
    record(index).generation += 2;
    reclaim(index);
  }

  /// Makes a slot that was set aside live. If the payload's constructor throws, it still is.
  template <class... Args>
  slot occupy(std::uint32_t index, Args&&... args) {
    Record& r = record(index);
    KESTREL_ASSERT(!is_live(r));
    Payload& p = *::new (payload_address(index)) Payload(std::forward<Args>(args)...);
    ++r.generation;
    ++size_;
    return {index, r, p};
  }

  /// Makes the id of a live slot, known by its record, stale. Its payload lives on until `reclaim`.
  void invalidate(Record& r) noexcept {
    KESTREL_ASSERT(is_live(r));
    ++r.generation;
    --size_;
  }

  /// Takes back an invalidated slot whose payload needs no destructor call, or had it.
  void reclaim(std::uint32_t index) noexcept {
    Record& r = record(index);
    if (r.generation != first_generation_) // else every one was used: this slot is retired
      r.link = std::exchange(free_, index);
  }

  /// Ends the life of a payload, for `reclaim`.
  void destroy_payload(std::uint32_t index) noexcept { payload(index).~Payload(); }

  /// The live slot that `id` names, or null.
  [[nodiscard]] KESTREL_ALWAYS_INLINE Record* find(timer_id id) noexcept {
    if (id.index() >= used_)
      return nullptr;
    Record& r = record(id.index());
    return r.generation == id.generation() && is_live(r) ? &r : nullptr;
  }

  /// @overload
  [[nodiscard]] const Record* find(timer_id id) const noexcept {
    return const_cast<slot_arena*>(this)->find(id);
  }

  /// Whether the slot of this record is live.
  [[nodiscard]] static bool is_live(const Record& r) noexcept { return (r.generation & 1u) != 0; }

  /// The record of a slot, `index < used()`.
  [[nodiscard]] Record& record(std::uint32_t index) noexcept {
    return records_[index >> page_bits].at[index % page_size];
  }

  /// @overload
  [[nodiscard]] const Record& record(std::uint32_t index) const noexcept {
    return const_cast<slot_arena*>(this)->record(index);
  }

  /// The payload of a slot that is live, or invalidated and not yet reclaimed.
  [[nodiscard]] Payload& payload(std::uint32_t index) noexcept {
    return *std::launder(static_cast<Payload*>(payload_address(index)));
  }

  /// The id of a live slot.
  [[nodiscard]] timer_id id_of(std::uint32_t index) const noexcept {
    return {index, record(index).generation};
  }

  /// Asks the memory for a slot's record ahead of its use. Any index is safe.
  void prefetch_record(std::uint32_t index) const noexcept {
    if (index < used_)
      detail::prefetch_line(&record(index));
  }

  /// The same for its payload: the lines of its first and its last byte.
  void prefetch_payload(std::uint32_t index) const noexcept {
    if (index >= used_)
      return;
    if constexpr (least_page_alignment % sizeof(Payload) == 0)
      detail::prefetch_line(payload_address(index));
    else
      detail::prefetch_ends(payload_address(index), sizeof(Payload));
  }

  /// Walks every slot; for tests and debug builds. O(capacity).
  [[nodiscard]] bool check_invariants() const noexcept {
    std::size_t live = 0;
    for (std::uint32_t i = 0; i != used_; ++i)
      live += is_live(record(i)) ? 1u : 0u;
    std::size_t free = 0;
    for (std::uint32_t i = free_; i != no_slot; i = record(i).link) {
      if (i >= used_ || is_live(record(i)) || ++free > used_)
        return false;
    }
    return live == size_ && live + free <= used_ && used_ <= capacity();
  }

private:
  /// Unless one of its slots is in use, or too many of their generations would be lost with it.
  bool give_up_page(std::uint32_t page, const slot_set& free) noexcept {
    constexpr std::uint32_t most_lost = 1u << 31;
    std::uint32_t lost = fresh_generation_ - first_generation_;
    for (std::uint32_t i = page << page_bits, end = (std::min)(i + page_size, used_); i != end;
         ++i) {
      if (!free[i])
        return false;
      lost = (std::max)(lost, record(i).generation - first_generation_);
    }
    if (lost > most_lost)
      return false;
    fresh_generation_ = first_generation_ + lost;
    return true;
  }

  /// As if the slot had never been taken: nobody knows its id.
  void undo_take(std::uint32_t index) noexcept {
    Record& r = record(index);
    if (index + 1 == used_ && r.generation == fresh_generation_)
      --used_;
    else
      r.link = std::exchange(free_, index);
  }

  KESTREL_COLD void grow() {
    detail::require_at_most(max_size, used_ + std::size_t{1});
    add_pages(std::clamp<std::size_t>(pages() / 8, 1,
                                      (std::min)(max_growth, max_size / page_size - pages())));
  }

  /// Of both kinds: one may have more, after a failure to grow or where shrinking left them.
  std::size_t pages() const noexcept { return (std::min)(records_.size(), payloads_.size()); }

  void add_pages(std::size_t n) {
    const std::size_t enough = pages() + n;
    records_.grow_to(enough);
    payloads_.grow_to(enough);
  }

  void* payload_address(std::uint32_t index) const noexcept {
    return payloads_[index >> page_bits].at[index % page_size];
  }

  page_table<record_page> records_;
  page_table<payload_page> payloads_;
  std::uint32_t first_generation_; // even: what a slot's generation is before its first use
  std::uint32_t fresh_generation_; // the same for the next one: after all of those given back
  std::uint32_t used_ = 0;
  std::uint32_t free_ = no_slot;
  std::size_t size_ = 0;
};

KESTREL_END_NAMESPACE

#endif // KESTREL_SLOT_ARENA_HPP
