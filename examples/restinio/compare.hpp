// SPDX-License-Identifier: MIT
//
// Both kinds of timers under load by wrk, an HTTP benchmarking tool.

#ifndef KESTREL_EXAMPLES_RESTINIO_COMPARE_HPP
#define KESTREL_EXAMPLES_RESTINIO_COMPARE_HPP

#include "server.hpp"

namespace web {

struct load {
  std::size_t connections = 64; // busy ones
  std::size_t idle = 2000;      // afterwards, without wrk
  unsigned seconds = 2;         // of each round
  unsigned rounds = 5;          // with each kind of timers, in turn
};

// Prints a table of medians. False if wrk failed; where there is none it says so.
bool compare(server_settings settings, const load& how);

} // namespace web

#endif // KESTREL_EXAMPLES_RESTINIO_COMPARE_HPP
