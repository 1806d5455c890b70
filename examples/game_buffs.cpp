// SPDX-License-Identifier: MIT
//
// Buffs in a game that simulates in fixed steps of 50 ms: the game loop steps the wheel, so that a
// paused game pauses the buffs, and at double speed a frame takes two steps. No Asio, no clock, no
// exceptions, no RTTI. The frames do not sleep here: the program is over at once, and is the same
// every time.

#include "told.hpp"

#include <kestrel/timer_id.hpp>
#include <kestrel/wheel.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <iostream>
#include <optional>
#include <ratio>
#include <vector>

using namespace std::chrono_literals;

namespace {

using told::check;

// Simulated time, 20 steps a second. Durations that are no whole number of steps do not convert.
using steps = std::chrono::duration<std::uint64_t, std::ratio<1, 20>>;

enum player : std::size_t { ada, bran, player_count };
enum effect : std::size_t { haste, shield, poison, exhaustion, effect_count };

constexpr std::array<const char*, player_count> player_names{"Ada", "Bran"};
constexpr std::array<const char*, effect_count> effect_names{"haste", "shield", "poison",
                                                             "exhaustion"};

// What the wheel keeps for each timer and hands back when it is due.
struct buff {
  player who;
  effect what;
};

// A buff that wore off, and when.
struct ending {
  std::uint64_t step;
  player who;
  effect what;

  friend bool operator==(const ending&, const ending&) = default;
};

class game {
public:
  // Each player has each effect once at most: from here on, the wheel allocates nothing.
  game() { buffs_.reserve(std::size_t{player_count} * effect_count); }

  // The effect lasts that long from now, whether the player has it already or not. The id of a buff
  // that is over names nothing any more, so that `ids_` needs no tidying.
  void give(player who, effect what, steps length) {
    kestrel::timer_id& id = ids_[who][what];
    if (!buffs_.postpone(id, length.count())) {
      id = buffs_.insert(length.count(), buff{who, what});
    }
  }

  // Adds to what is left of it. False if the player does not have it.
  bool extend(player who, effect what, steps more) {
    const kestrel::timer_id id = ids_[who][what];
    const auto end = buffs_.expiry(id);
    return end && buffs_.postpone_at(id, *end + more.count());
  }

  // True if there was something to dispel; then it does not wear off either.
  bool dispel(player who, effect what) { return buffs_.cancel(ids_[who][what]); }

  // What a bar over the player's head shows.
  std::optional<steps> remaining(player who, effect what) const {
    const auto end = buffs_.expiry(ids_[who][what]);
    return end ? std::optional{steps{*end - buffs_.now()}} : std::nullopt;
  }

  std::uint64_t step() const { return buffs_.now(); }
  bool nobody_has_any() const { return buffs_.empty(); }
  const std::vector<ending>& endings() const { return endings_; }

  // One frame, in which the simulation takes that many steps: none while the game is paused.
  void frame(std::uint64_t speed) {
    if (speed > 0) {
      buffs_.advance(speed, [this](kestrel::timer_id, const buff& b) { wear_off(b); });
    }
  }

private:
  // step() is the one in which the buff ends, also when a frame takes several, and what is given
  // here counts from there.
  void wear_off(const buff& b) {
    endings_.push_back({step(), b.who, b.what});
    std::cout << "       step " << std::setw(3) << step() << "  " << player_names[b.who] << "'s "
              << effect_names[b.what] << " wears off\n";
    if (b.what == haste) {
      give(b.who, exhaustion, 1s);
    }
  }

  kestrel::wheel<buff> buffs_;
  std::array<std::array<kestrel::timer_id, effect_count>, player_count> ids_{};
  std::vector<ending> endings_; // what the program checks at the end
};

void print_bars(const game& g, unsigned frame, std::uint64_t speed) {
  constexpr std::array signs{"||", "> ", ">>"};
  std::cout << "frame " << std::setw(3) << frame << "  " << signs[speed];
  for (const player who : {ada, bran}) {
    for (const effect what : {haste, shield, poison, exhaustion}) {
      if (const auto left = g.remaining(who, what)) {
        std::cout << "  " << player_names[who] << ' ' << effect_names[what] << ' '
                  << std::chrono::duration<double>(*left).count() << " s";
      }
    }
  }
  std::cout << '\n';
}

} // namespace

int main() {
  std::cout << std::fixed << std::setprecision(2);
  game g;
  std::uint64_t speed = 1;
  std::optional<steps> when_paused;

  for (unsigned frame = 0; frame < 100; ++frame) {
    switch (frame) { // what the players do
    case 0:
      g.give(ada, haste, 3s);
      g.give(ada, shield, 2s);
      g.give(bran, shield, std::chrono::ceil<steps>(480ms));
      g.give(bran, poison, 5s);
      break;
    case 15:
      std::cout << "       Ada's shield is extended by 1.25 s\n";
      check(g.extend(ada, shield, steps{25}), "a shield can be extended");
      check(!g.extend(bran, shield, steps{25}), "one that wore off cannot");
      break;
    case 21:
      std::cout << "       Ada drinks another potion of haste: 3 s from now\n";
      g.give(ada, haste, 3s);
      break;
    case 30:
      std::cout << "       paused\n";
      speed = 0;
      when_paused = g.remaining(ada, haste);
      break;
    case 50:
      std::cout << "       resumed\n";
      speed = 1;
      check(g.remaining(ada, haste) == when_paused, "a pause costs no haste");
      break;
    case 60:
      std::cout << "       double speed\n";
      speed = 2;
      break;
    case 82:
      std::cout << "       Bran's poison is dispelled\n";
      check(g.dispel(bran, poison), "the poison was still at work");
      check(!g.dispel(bran, poison), "and is no more");
      break;
    }
    if (frame % 10 == 0) {
      print_bars(g, frame, speed);
    }
    g.frame(speed);
  }

  // Haste and exhaustion ended between two frames, in steps of their own.
  const std::vector<ending> expected{
      {10, bran, shield},    // 480 ms, rounded up to steps
      {65, ada, shield},     // 40 + 25
      {81, ada, haste},      // 21 + 60
      {101, ada, exhaustion} // 81 + 20
  };
  check(g.endings() == expected, "every buff ended in its step, and nothing else did");
  check(g.step() == 120, "100 frames: 40 steps, a pause of 20 frames, 80 steps at double speed");
  check(g.nobody_has_any(), "nothing is left");

  std::cout << (told::all_true ? "every buff ended in the step it should\n" : "this went wrong\n");
  return told::all_true ? 0 : 1;
}
