// SPDX-License-Identifier: MIT
//
// wheel_levels::check_invariants: every count, bitmap and bound compared with a recount.

#ifndef KESTREL_DETAIL_WHEEL_INVARIANTS_HPP
#define KESTREL_DETAIL_WHEEL_INVARIANTS_HPP

#include <kestrel/detail/wheel_levels.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Arena, class Geometry, class Allocator>
bool wheel_levels<Arena, Geometry, Allocator>::check_invariants(const Arena& arena) const {
  if (boundary_ != units(now_) || time_ < boundary_)
    return false;

  // Each pending timer has exactly one place: in a slot, in the walk, or with its claimer.
  constexpr auto nowhere = (std::numeric_limits<std::size_t>::max)();
  std::vector<std::size_t> filed_in(arena.used(), nowhere);
  std::size_t filed = 0;
  const auto file = [&](std::uint32_t index, std::size_t where) {
    if (filed_in[index] == nowhere) {
      filed_in[index] = where;
      ++filed;
    }
    return filed_in[index] == where;
  };
  std::size_t entries = walk_.left();
  walk_.for_each([&](entry e) {
    if (is_current(e, walk_place_, arena.record(e.index)))
      file(e.index, slots_.size());
  });

  const std::vector<std::uint32_t> stale = stale_by_slot();
  tick_type l1_next = never;
  for (std::uint32_t number = 0; number != slots_.size(); ++number) {
    const slot& s = slots_[number];
    const bool level0 = number < l0_count();
    const std::size_t filed_before = filed;
    bool placed_well = true;
    for_each_entry(s.chain, [&](entry e) {
      if (!is_current(e, s.place, arena.record(e.index)))
        return;
      placed_well = file(e.index, number) && placed_well;
      // An entry is looked at no later than its timer is due; what is already due is due now.
      const tick_type tick = (std::max)(tick_of(arena.record(e.index).deadline), now_);
      const tick_type looked_at = level0 ? now_ + l0_slot(number - l0_slot(now_))
                                         : comes_down_at(l1_first_[number - l0_count()]);
      placed_well = placed_well && looked_at <= tick && looked_at >= now_;
    });
    entries += s.chain.size;
    const bool occupied =
        level0 ? l0_occupied_.test(number) : l1_occupied_.test(number - l0_count());
    if (!placed_well || filed - filed_before != s.chain.size - stale[number] ||
        occupied != (s.chain.size != 0) || (occupied && s.stale == s.chain.size))
      return false;
    if (!level0) {
      if ((l1_first_[number - l0_count()] == never) != (s.chain.size == 0))
        return false;
      l1_next = (std::min)(l1_next, l1_first_[number - l0_count()]);
    }
  }

  std::size_t claimed = 0;
  for (std::uint32_t index = 0; index != arena.used(); ++index) {
    const record& r = arena.record(index);
    if (!Arena::is_live(r))
      continue;
    if (place::is_claimed(r.link))
      ++claimed;
    else if (filed_in[index] == nowhere)
      return false;
  }
  return entries + claimed_ == entries_ && l1_next == l1_next_ && claimed <= claimed_ &&
         filed + claimed == arena.size() && wake_ <= units(next_event());
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WHEEL_INVARIANTS_HPP
