// SPDX-License-Identifier: MIT
//
// RESTinio's HTTP server with its timers on a Kestrel wheel: serves, proves that the timeouts work,
// or compares with the timers that RESTinio has. kestrel_timer_manager.hpp is what to copy.

#include "compare.hpp"
#include "server.hpp"
#include "timeouts.hpp"

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <charconv>
#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

constexpr std::string_view help =
    R"(usage: restinio_server [serve | timeouts | compare] [options]

  serve              an HTTP server on loopback, until Ctrl-C (default)
  timeouts           closes slow, silent and waiting clients in time, and no others: exit status 0
  compare            both kinds of timers in turn, under load by wrk and with idle connections; prints
                     requests per second and the processor time of the server

  --timers WHICH     kestrel (default) or asio, for serve and timeouts
  --port N           for serve (default 8080)
  --threads N        of the server (default 1)
  --check-period MS  how often RESTinio checks each connection for timeouts (default 1000)
  --connections N    of wrk (default 64)
  --idle N           connections that are open and quiet, after wrk (default 2000)
  --seconds N        of each round (default 2)
  --rounds N         with each kind of timers (default 5)
)";

struct options {
  std::string_view command = "serve";
  web::server_settings server;
  web::load load;
};

template <class Number>
void parse(std::string_view text, Number& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  if (error != std::errc{} || end != text.data() + text.size() || to == 0) {
    throw std::invalid_argument{"'" + std::string{text} + "' is no number that will do"};
  }
}

web::backend parse_backend(std::string_view text) {
  if (text != "kestrel" && text != "asio") {
    throw std::invalid_argument{"'" + std::string{text} + "' is neither kestrel nor asio"};
  }
  return text == "kestrel" ? web::backend::kestrel : web::backend::asio;
}

void set(options& o, std::string_view name, std::string_view value) {
  if (name == "--timers") {
    o.server.timers = parse_backend(value);
  } else if (name == "--port") {
    parse(value, o.server.port);
  } else if (name == "--threads") {
    parse(value, o.server.threads);
  } else if (name == "--check-period") {
    unsigned period = 0;
    parse(value, period);
    o.server.check_period = std::chrono::milliseconds{period};
  } else if (name == "--connections") {
    parse(value, o.load.connections);
  } else if (name == "--idle") {
    parse(value, o.load.idle);
  } else if (name == "--seconds") {
    parse(value, o.load.seconds);
  } else if (name == "--rounds") {
    parse(value, o.load.rounds);
  } else {
    throw std::invalid_argument{"there is no option " + std::string{name}};
  }
}

options parse_options(std::span<const char* const> arguments) {
  options o;
  o.server.port = 8080;
  if (!arguments.empty() && arguments[0][0] != '-') {
    o.command = arguments[0];
    arguments = arguments.subspan(1);
  }
  for (; !arguments.empty(); arguments = arguments.subspan(2)) {
    if (arguments.size() == 1) {
      throw std::invalid_argument{std::string{arguments[0]} + " needs a value"};
    }
    set(o, arguments[0], arguments[1]);
  }
  return o;
}

void serve(const web::server_settings& settings) {
  const auto server = web::start_server(settings);
  std::cout << "http://127.0.0.1:" << server->port() << "/ with timers by "
            << web::name_of(settings.timers) << "; Ctrl-C ends it" << std::endl;
  asio::io_context io;
  asio::signal_set signals{io, SIGINT, SIGTERM};
  signals.async_wait([](auto, auto) {});
  io.run();
  std::cout << server->requests() << " requests\n";
}

bool run(options o) {
  if (o.command == "serve") {
    serve(o.server);
    return true;
  }
  if (o.command == "timeouts") {
    return web::timeouts_work(o.server.timers);
  }
  if (o.command == "compare") {
    o.server.port = 0;
    return web::compare(o.server, o.load);
  }
  throw std::invalid_argument{"there is no command " + std::string{o.command}};
}

} // namespace

int main(int argc, char** argv) {
  if (argc > 1 && (argv[1] == std::string_view{"--help"} || argv[1] == std::string_view{"-h"})) {
    std::cout << help;
    return 0;
  }
  try {
    return run(parse_options({argv + 1, argv + argc})) ? 0 : 1;
  } catch (const std::invalid_argument& e) {
    std::cerr << e.what() << "; see --help\n";
    return 2;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
