// SPDX-License-Identifier: MIT
//
// A program with the single headers: the one for the wheel, the one for everything, and, since some
// library it uses may have the folder, a header from there. KESTREL_ASSERT is its own.

#include <cstdio>
#include <cstdlib>

int checks = 0;
#define KESTREL_ASSERT(condition) ((condition) ? static_cast<void>(++checks) : std::abort())

#include "kestrel_wheel.hpp"

#include "kestrel.hpp"

#include <kestrel/timer_wheel.hpp>

int main() {
  kestrel::wheel<int> game;
  game.insert(1, 42);
  int payload = 0;
  game.advance(1, [&](kestrel::timer_id, int& p) { payload = p; });

  asio::io_context io;
  kestrel::testing::virtual_time time{io};
  kestrel::timer_wheel wheel{io};
  bool fired = false;
  wheel.schedule_after(std::chrono::hours(1), [&] { fired = true; });
  time.advance(std::chrono::hours(1));

  const bool good = payload == 42 && fired && checks != 0;
  std::puts(good ? "kestrel " KESTREL_VERSION_STRING : "it does not work");
  return good ? 0 : 1;
}
