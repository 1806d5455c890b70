// SPDX-License-Identifier: MIT
//
// The command line of the demo: every knob with its default, and the parser. Bad input is answered
// with a message that names the option, before anything is started.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_OPTIONS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_OPTIONS_HPP

#include "../arguments.hpp"
#include "faults.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace demo {

enum class backend { kestrel, asio };

struct options {
  backend timers = backend::kestrel;
  std::size_t connections = 5000;
  std::chrono::seconds seconds{20};
  unsigned threads = 1;
  std::chrono::milliseconds idle{3000};
  std::chrono::milliseconds deadline{500};
  std::chrono::milliseconds heartbeat{1000};
  std::chrono::milliseconds pause_min{50};
  std::chrono::milliseconds pause_max{500};
  std::uint64_t seed = 1;
  fault planted = fault::none;
  bool ascii = false;
  bool help = false;
};

using command_line::usage_error;

// Throws usage_error.
options parse_options(int argc, const char* const* argv);

std::string help_text();

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_OPTIONS_HPP
