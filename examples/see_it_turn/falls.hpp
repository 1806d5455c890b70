// SPDX-License-Identifier: MIT
//
// Timers that come down: once a second the wheel moves one slot of level 1 into the hundred slots
// of level 0 that are its ticks. It does so at once; here they take a while, to be seen.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_FALLS_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_FALLS_HPP

#include <kestrel/wheel_config.hpp>
#include <kestrel/wheel_occupancy.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

namespace turn {

class falls {
public:
  using seconds = std::chrono::duration<double>; // since the beginning

  explicit falls(const kestrel::wheel_config& config)
      : l1_ticks_{static_cast<std::size_t>(config.l1_tick / config.l0_tick)},
        l0_slots_{config.l0_slots},
        l1_slots_{config.l1_slots} {}

  // The slot of level 1 that comes down next, as the hand stands.
  std::size_t next(const kestrel::wheel_occupancy& slots) const {
    return (slots.l1.hand + l0_slots_ / l1_ticks_) % l1_slots_;
  }

  // More often than level 0 turns round.
  void look(const kestrel::wheel_occupancy& slots, seconds time) {
    while (!drops_.empty() && drops_.front().end <= time) {
      drops_.pop_front();
    }
    tick_ += (slots.l0.hand + l0_slots_ - tick_ % l0_slots_) % l0_slots_;
    const std::size_t down = tick_ / l1_ticks_ + l0_slots_ / l1_ticks_; // all before this one
    for (; down_ < down; ++down_) {
      drop(down_, time);
    }
    timers_ = slots.l1.timers;
  }

  // Calls `f(slot of level 1, slot of level 0, part of the way)`.
  template <class F>
  void for_each(seconds time, F f) const {
    for (const auto& d : drops_) {
      if (d.begin <= time) {
        f(d.from, d.to, (time - d.begin) / (d.end - d.begin));
      }
    }
  }

private:
  struct a_drop {
    std::size_t from;
    std::size_t to;
    seconds begin;
    seconds end;
  };

  // One for every so many timers that there were when last looked at.
  void drop(std::size_t l1_tick, seconds time) {
    const std::size_t from = l1_tick % l1_slots_;
    if (timers_.empty() || timers_[from] == 0) {
      return;
    }
    const std::size_t most = *std::max_element(timers_.begin(), timers_.end());
    const std::size_t n = 6 + 60 * timers_[from] / most;
    for (std::size_t i = 0; i != n; ++i) {
      const std::size_t tick = l1_tick * l1_ticks_ + random_() % l1_ticks_;
      const seconds begin = time + spread * (static_cast<double>(i) / static_cast<double>(n));
      drops_.push_back({from, tick % l0_slots_, begin, begin + fall});
    }
  }

  static constexpr seconds spread{0.45}; // between the first and the last one of a slot
  static constexpr seconds fall{0.5};

  std::size_t l1_ticks_;
  std::size_t l0_slots_;
  std::size_t l1_slots_;
  std::size_t tick_ = 0;
  std::size_t down_ = 0; // the level-1 ticks that have come down
  std::vector<std::uint32_t> timers_;
  std::deque<a_drop> drops_;
  std::minstd_rand random_;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_FALLS_HPP
