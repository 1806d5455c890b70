// SPDX-License-Identifier: MIT
//
// wheel::check_invariants: every count, bitmap and bound of the wheel compared with a recount.

#ifndef KESTREL_DETAIL_WHEEL_INVARIANTS_HPP
#define KESTREL_DETAIL_WHEEL_INVARIANTS_HPP

#include <kestrel/wheel.hpp>

#include <set>

KESTREL_BEGIN_NAMESPACE

template <class T, class Geometry, class Allocator>
bool wheel<T, Geometry, Allocator>::check_invariants() const {
  if (!arena_.check_invariants() || boundary_ != units(now_) || time_ < boundary_)
    return false;

  // Each pending timer has exactly one place: in a slot, in the walk, or with its claimer.
  std::set<std::uint32_t> filed;
  std::size_t entries = walk_.left();
  walk_.for_each([&](entry e) {
    if (is_current(e, walk_place_))
      filed.insert(e.index);
  });

  tick_type l1_next = never;
  for (std::uint32_t number = 0; number != slots_.size(); ++number) {
    const slot& s = slots_[number];
    const bool level0 = number < l0_count();
    std::set<std::uint32_t> live;
    bool placed_well = true;
    detail::for_each_entry(s.chain, [&](entry e) {
      if (!is_current(e, place_of(number)))
        return;
      live.insert(e.index);
      // An entry is looked at no later than its timer is due; what is already due is due now.
      const tick_type tick = std::max(tick_of(arena_.record(e.index).deadline), now_);
      const tick_type looked_at = level0 ? now_ + l0_slot(number - l0_slot(now_))
                                         : comes_down_at(l1_first_[number - l0_count()]);
      placed_well = placed_well && looked_at <= tick && looked_at >= now_;
    });
    entries += s.chain.size;
    const bool occupied =
        level0 ? l0_occupied_.test(number) : l1_occupied_.test(number - l0_count());
    if (!placed_well || live.size() != s.live || occupied != (s.chain.size != 0) ||
        (s.live == 0) != (s.chain.size == 0))
      return false;
    if (!level0) {
      if ((l1_first_[number - l0_count()] == never) != (s.chain.size == 0))
        return false;
      l1_next = std::min(l1_next, l1_first_[number - l0_count()]);
    }
    for (std::uint32_t index : live) {
      if (!filed.insert(index).second)
        return false;
    }
  }

  std::size_t detached = 0;
  for (std::uint32_t index = 0; index != arena_.used(); ++index) {
    const record& r = arena_.record(index);
    if (!arena::is_live(r))
      continue;
    if (is_detached(r.link))
      ++detached;
    else if (!filed.contains(index))
      return false;
  }
  return entries == entries_ && l1_next == l1_next_ && detached <= detached_ &&
         filed.size() + detached == arena_.size() && wake_ <= units(next_event());
}

KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WHEEL_INVARIANTS_HPP
