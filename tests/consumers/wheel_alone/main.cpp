// SPDX-License-Identifier: MIT
//
// A program that has no Asio.

#include <kestrel/timer_id.hpp>
#include <kestrel/wheel.hpp>

#include <cstdio>

#ifdef ASIO_STANDALONE
#error "kestrel::wheel must not pass on anything of Asio's"
#endif

int main() {
  kestrel::timer_id id{};
  std::puts("kestrel " KESTREL_VERSION_STRING);
  return id == kestrel::timer_id{} ? 0 : 1;
}
