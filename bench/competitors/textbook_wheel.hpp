// SPDX-License-Identifier: MIT
//
// A two-level timing wheel as textbooks have it: each slot is a doubly linked list of timers, a
// cancelled timer is unlinked, a postponed one linked elsewhere, and time goes on tick by tick. Its
// geometry, ids and arena are those of kestrel::wheel, so that only the algorithm differs.

#ifndef KESTREL_BENCH_COMPETITORS_TEXTBOOK_WHEEL_HPP
#define KESTREL_BENCH_COMPETITORS_TEXTBOOK_WHEEL_HPP

#include <kestrel/slot_arena.hpp>
#include <kestrel/timer_id.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace kestrel_bench {

template <class T>
class textbook_wheel {
public:
  textbook_wheel() {
    for (links& slot : slots_)
      slot.next = slot.previous = &slot;
  }
  textbook_wheel(const textbook_wheel&) = delete;
  textbook_wheel& operator=(const textbook_wheel&) = delete;

  void reserve(std::size_t n) { arena_.reserve(n); }

  kestrel::timer_id insert(std::uint64_t delay, const T& payload) {
    const auto made = arena_.allocate(payload);
    made.record.link = made.index;
    link(made.record, now_ + std::max<std::uint64_t>(delay, 1));
    return {made.index, made.record.generation};
  }

  bool cancel(kestrel::timer_id id) {
    record* const r = arena_.find(id);
    if (r == nullptr)
      return false;
    unlink(*r);
    arena_.invalidate(*r);
    arena_.reclaim(id.index());
    return true;
  }

  bool postpone(kestrel::timer_id id, std::uint64_t delay) {
    record* const r = arena_.find(id);
    if (r == nullptr)
      return false;
    unlink(*r);
    link(*r, now_ + std::max<std::uint64_t>(delay, 1));
    return true;
  }

  template <class F>
  void advance(std::uint64_t n, F&& f) {
    for (const std::uint64_t end = now_ + n; now_ != end;) {
      ++now_;
      if (now_ % l1_ticks == 0)
        come_down(slots_[l0_slots + now_ / l1_ticks % l1_slots]);
      for (links& slot = slots_[now_ % l0_slots]; slot.next != &slot;)
        fire(static_cast<record&>(*slot.next), f);
    }
  }

private:
  static constexpr std::size_t l0_slots = 512; // of one tick
  static constexpr std::size_t l1_slots = 64;
  static constexpr std::uint64_t l1_ticks = 100;

  struct links {
    links* next;
    links* previous;
  };
  struct record : links {
    std::uint64_t deadline;
    std::uint32_t generation;
    std::uint32_t link; // the arena's while the slot is free; its index while it is not
  };

  void link(record& r, std::uint64_t deadline) {
    r.deadline = deadline;
    links& slot = slots_[deadline - now_ < l0_slots ? deadline % l0_slots
                                                    : l0_slots + deadline / l1_ticks % l1_slots];
    r.previous = slot.previous;
    r.next = &slot;
    slot.previous->next = &r;
    slot.previous = &r;
  }

  static void unlink(links& r) {
    r.previous->next = r.next;
    r.next->previous = r.previous;
  }

  /// Those for a later turn are linked into the same slot again.
  void come_down(links& slot) {
    const links* const last = slot.previous;
    for (bool done = last == &slot; !done;) {
      record& r = static_cast<record&>(*slot.next);
      done = &r == last;
      unlink(r);
      link(r, r.deadline);
    }
  }

  template <class F>
  void fire(record& r, F&& f) {
    const kestrel::timer_id id{r.link, r.generation};
    unlink(r);
    arena_.invalidate(r);
    f(id, arena_.payload(id.index()));
    arena_.reclaim(id.index());
  }

  kestrel::slot_arena<record, T> arena_;
  std::array<links, l0_slots + l1_slots> slots_;
  std::uint64_t now_ = 0;
};

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_TEXTBOOK_WHEEL_HPP
