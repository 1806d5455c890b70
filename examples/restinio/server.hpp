// SPDX-License-Identifier: MIT
//
// An HTTP server by RESTinio, with its timers on a Kestrel wheel or as RESTinio has them. It says
// hello to whoever asks, and never answers those who ask for /never.

#ifndef KESTREL_EXAMPLES_RESTINIO_SERVER_HPP
#define KESTREL_EXAMPLES_RESTINIO_SERVER_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace web {

enum class backend { kestrel, asio };

constexpr std::string_view name_of(backend timers) {
  return timers == backend::kestrel ? "kestrel" : "asio";
}

struct server_settings {
  backend timers = backend::kestrel;
  std::uint16_t port = 0; // 0: one that is free
  std::size_t threads = 1;
  std::chrono::milliseconds check_period{1000};
  std::chrono::milliseconds request_timeout{
      60'000}; // from the end of a response to a whole request
  std::chrono::milliseconds handling_timeout{10'000};
};

// Listens on loopback from its making to its end, on threads of its own.
class server {
public:
  virtual ~server() = default;

  virtual std::uint16_t port() const = 0;

  // How many it has had.
  virtual std::uint64_t requests() const = 0;
};

std::unique_ptr<server> start_server(const server_settings& settings);

} // namespace web

#endif // KESTREL_EXAMPLES_RESTINIO_SERVER_HPP
