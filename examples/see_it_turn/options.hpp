// SPDX-License-Identifier: MIT
//
// The command line of the program.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_OPTIONS_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_OPTIONS_HPP

#include "../arguments.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

namespace turn {

struct options {
  std::size_t timers = 100'000;
  std::uint64_t resets_per_second = 200'000;
  std::optional<std::chrono::seconds> seconds;
  std::uint64_t frames = std::numeric_limits<std::uint64_t>::max();
  std::string svg; // a file, or none
  bool plain = false;
  bool help = false;
};

// Throws usage_error.
inline options parse_options(int argc, const char* const* argv) {
  options o;
  command_line::arguments args{argc, argv};
  while (const auto option = args.next_option()) {
    if (*option == "--timers") {
      o.timers = static_cast<std::size_t>(args.integer(1, 10'000'000));
    } else if (*option == "--resets-per-second") {
      o.resets_per_second = args.integer(0, 100'000'000);
    } else if (*option == "--seconds") {
      o.seconds = std::chrono::seconds{args.integer(1, 86'400)};
    } else if (*option == "--frames") {
      o.frames = args.integer(1, o.frames);
    } else if (*option == "--svg") {
      o.svg = args.value();
    } else if (*option == "--plain") {
      o.plain = true;
    } else if (*option == "--help" || *option == "-h") {
      o.help = true;
    } else {
      throw command_line::usage_error{"there is no option " + std::string{*option}};
    }
  }
  return o;
}

inline constexpr char help_text[] =
    R"(usage: see_it_turn [options]

A timer wheel under the load of a busy server, live. Each connection has an idle timeout, which each
of its messages postpones; some messages begin a request, whose deadline the next one cancels. One
in five is silent. Now and then, a crowd reconnects.

  --timers N              connections (default 100000)
  --resets-per-second N   messages (default 200000); what takes too long is left undone
  --seconds N             how long (default: until q or Ctrl-C; 5 if there is no terminal)
  --frames N              how many pictures at most
  --plain                 without colours
  --svg FILE              writes the last picture to FILE
  --help                  this text

While it runs, + and - double and halve the messages, and q ends it. Without a terminal, it prints
the last picture. Ends with status 1 if a callback ran before its time.
)";

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_OPTIONS_HPP
