// SPDX-License-Identifier: MIT
//
// Parses the command line, --name value or --name=value, and holds the text of --help.

#include "options.hpp"

#include "../arguments.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace demo {

namespace {

using command_line::arguments;

backend parse_backend(arguments& args) {
  const std::string_view text = args.value();
  if (text == "kestrel") {
    return backend::kestrel;
  }
  if (text == "asio") {
    return backend::asio;
  }
  args.reject(text, "is neither kestrel nor asio");
}

fault parse_fault(arguments& args) {
  const std::string_view text = args.value();
  if (text == "none") {
    return fault::none;
  }
  if (text == "early") {
    return fault::early;
  }
  if (text == "lost") {
    return fault::lost;
  }
  if (text == "stuck") {
    return fault::stuck;
  }
  if (text == "twice") {
    return fault::twice;
  }
  if (text == "after-cancel") {
    return fault::after_cancel;
  }
  args.reject(text, "is none of early, lost, stuck, twice, after-cancel and none");
}

} // namespace

options parse_options(int argc, const char* const* argv) {
  options o;
  arguments args{argc, argv};
  while (const auto option = args.next_option()) {
    if (*option == "--timers") {
      o.timers = parse_backend(args);
    } else if (*option == "--connections") {
      o.connections = static_cast<std::size_t>(args.integer(1, 1'000'000));
    } else if (*option == "--seconds") {
      o.seconds = std::chrono::seconds{args.integer(1, 86'400)};
    } else if (*option == "--threads") {
      o.threads = static_cast<unsigned>(args.integer(1, 256));
    } else if (*option == "--idle") {
      o.idle = args.milliseconds_value(1, 3'600'000);
    } else if (*option == "--deadline") {
      o.deadline = args.milliseconds_value(1, 3'600'000);
    } else if (*option == "--heartbeat") {
      o.heartbeat = args.milliseconds_value(1, 3'600'000);
    } else if (*option == "--pause") {
      args.milliseconds_range(o.pause_min, o.pause_max);
    } else if (*option == "--seed") {
      o.seed = args.integer(0, std::numeric_limits<std::uint64_t>::max());
    } else if (*option == "--fault") {
      o.planted = parse_fault(args);
    } else if (*option == "--ascii") {
      o.ascii = true;
    } else if (*option == "--help" || *option == "-h") {
      o.help = true;
    } else {
      throw usage_error{"there is no option " + std::string{*option}};
    }
  }
  return o;
}

std::string help_text() {
  return
      R"(usage: kestrel_demo [options]

An echo server and its clients, in one process, on real sockets of the loopback device. Every
connection has three timers: an idle timeout that each message postpones, a deadline for the request
in hand that is usually cancelled, and a periodic heartbeat. The clients chat, fall silent, answer
too late, vanish and come back. All the while an auditor keeps books of every timer by
std::chrono::steady_clock, and does not ask the library.

  --timers WHICH     kestrel: all timers on one kestrel::timer_wheel (default)
                     asio: one asio::steady_timer per timer, for comparison
  --connections N    connections at a time (default 5000); fewer if descriptors do not suffice,
                     since each connection needs two in this process
  --seconds N        how long the clients keep it up (default 20); Ctrl-C ends it early
  --threads N        threads of the server (default 1); from two on each connection has a strand.
                     The clients have one thread more, and an io_context of their own
  --idle MS          silence after which the server closes a connection (default 3000)
  --deadline MS      time for a request, first byte to reply sent (default 500)
  --heartbeat MS     interval of the heartbeats (default 1000)
  --pause LOW:HIGH   what a client waits before its next message, in ms (default 50:500)
  --seed N           seed of the clients' dice (default 1)
  --fault WHICH      self-test of the audit: spoils one timer in fifty before it reaches the
                     library. early: fires 25 ms before its time; lost: is never scheduled;
                     stuck: is set an hour too late; twice: its callback runs two times;
                     after-cancel: says that it was cancelled, and runs. The verdict has to be
                     bad then
  --ascii            draws with ASCII characters only
  --help             this text

In the report, "late" is measured from the moment before the timer was scheduled or postponed, plus
its delay, to the start of its callback. "lost" is a timer that was due and did not run, although
the server was alive for more than a second afterwards, or although its io_context ran out of work.

Exit status: 0 if the timers kept every promise, 1 if one fired early, was lost, ran twice or ran
after a cancel that had succeeded, or if the run itself went wrong, 2 for a bad command line.
)";
}

} // namespace demo
