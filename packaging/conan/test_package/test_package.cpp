// SPDX-License-Identifier: MIT
//
// The part that every variant of the package has.

#include <kestrel/wheel.hpp>

#include <cstdio>

int main() {
  kestrel::wheel<int> wheel;
  wheel.insert(1, 42);
  int fired = 0;
  wheel.advance(1, [&](kestrel::timer_id, int& payload) { fired = payload; });
  std::puts("kestrel " KESTREL_VERSION_STRING);
  return fired == 42 ? 0 : 1;
}
