// SPDX-License-Identifier: MIT
//
// Timers in a game loop: no Asio, no clock, no exceptions, no RTTI.

#include <kestrel/wheel.hpp>

#include <cstdio>

int main() {
  kestrel::wheel<const char*> buffs;
  const kestrel::timer_id haste = buffs.insert(60, "haste"); // 60 steps from now
  buffs.insert(40, "shield");
  buffs.postpone(haste, 90);
  const auto over = [](kestrel::timer_id, const char* what) { std::printf("%s is over\n", what); };
  for (int frame = 0; frame != 100; ++frame)
    buffs.advance(1, over); // none while the game is paused
}
