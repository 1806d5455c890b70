// SPDX-License-Identifier: MIT
//
// The clients: thousands of connections with habits of their own. They chat, fall silent until the
// server hangs up, answer too late, or vanish in the middle of a message; those that are gone come
// back as somebody else. They run on a thread and an io_context of their own and use none of the
// timers under test.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_CLIENTS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_CLIENTS_HPP

#include "options.hpp"

#include <asio/ip/tcp.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace demo {

struct client_counters {
  std::atomic<std::uint64_t> open{0};
  std::atomic<std::uint64_t> connect_errors{0};
  std::atomic<std::uint64_t> wrong_echoes{0};
};

// All clients of a run.
class client_swarm {
public:
  client_swarm(const options& settings, std::vector<asio::ip::tcp::endpoint> servers);
  ~client_swarm();

  client_swarm(const client_swarm&) = delete;
  client_swarm& operator=(const client_swarm&) = delete;

  // Runs the clients on the calling thread until stop() has been called and all have said goodbye.
  void run();

  // Callable from any thread.
  void stop();

  const client_counters& counters() const;

private:
  class impl;
  std::unique_ptr<impl> impl_;
};

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_CLIENTS_HPP
