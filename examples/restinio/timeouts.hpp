// SPDX-License-Identifier: MIT
//
// Whether the timeouts of a server work, seen from outside, through plain sockets.

#ifndef KESTREL_EXAMPLES_RESTINIO_TIMEOUTS_HPP
#define KESTREL_EXAMPLES_RESTINIO_TIMEOUTS_HPP

#include "server.hpp"

namespace web {

// Says what it sees. False if a connection was closed too early, or not at all.
bool timeouts_work(backend timers);

} // namespace web

#endif // KESTREL_EXAMPLES_RESTINIO_TIMEOUTS_HPP
