// SPDX-License-Identifier: MIT
//
// What a wheel has done and holds, served to Prometheus: `exposition` writes `stats()` in the text
// format that it scrapes, `serve` answers GET /metrics.
//
//     prometheus          scrapes itself twice, checks what it got, and ends
//     prometheus 9464     serves http://127.0.0.1:9464/metrics until Ctrl-C
//
// All timers that there are to count are those of an imitated server's clients.

#include "told.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/lateness_histogram.hpp>
#include <kestrel/timer_wheel.hpp>
#include <kestrel/timer_wheel_stats.hpp>

#include <asio/io_context.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read.hpp>
#include <asio/read_until.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>
#endif

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

using told::check;

// ---- The text format

class exposition {
public:
  explicit exposition(const kestrel::timer_wheel_stats& s) {
    gauge("kestrel_timers_live", "Timers that are pending.", s.live);
    counter("kestrel_timers_scheduled_total", "Timers that were scheduled.", s.scheduled);
    counter("kestrel_timers_fired_total", "Callbacks that were started.", s.fired);
    counter("kestrel_timers_cancelled_total", "Timers that were cancelled.", s.cancelled);
    counter("kestrel_timers_postponed_total", "Postponements.", s.postponed);
    counter("kestrel_missed_periods_total", "Periods left out by a late loop.", s.missed_periods);
    counter("kestrel_wakeups_total", "Times that the wheel woke.", s.wakeups);
    gauge("kestrel_stale_entries", "Entries of cancelled or moved timers.", s.stale_entries);
    gauge("kestrel_timers_capacity", "Timers that there is room for.", s.capacity);
    gauge("kestrel_memory_bytes", "Bytes of records, payloads and slots.", s.memory);
    histogram("kestrel_lateness_seconds", "Start of callbacks after their deadlines.", s.lateness);
  }

  std::string text() const { return out_.str(); }

private:
  void head(std::string_view name, std::string_view help, std::string_view type) {
    out_ << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
  }

  void gauge(std::string_view name, std::string_view help, std::size_t value) {
    head(name, help, "gauge");
    out_ << name << ' ' << value << '\n';
  }

  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    head(name, help, "counter");
    out_ << name << ' ' << value << '\n';
  }

  // Prometheus has buckets that count all that is not greater, hence those before them too.
  void histogram(std::string_view name, std::string_view help,
                 const kestrel::lateness_histogram& lateness) {
    head(name, help, "histogram");
    std::uint64_t total = 0;
    for (std::size_t b = 0; b != kestrel::lateness_histogram::buckets - 1; ++b) {
      total += lateness.counts[b];
      out_ << name << "_bucket{le=\"" << in_seconds(lateness.upper_bound(b)) << "\"} " << total
           << '\n';
    }
    out_ << name << "_bucket{le=\"+Inf\"} " << lateness.count() << '\n';
    out_ << name << "_sum " << in_seconds(lateness.sum) << '\n';
    out_ << name << "_count " << lateness.count() << '\n';
  }

  static std::string in_seconds(std::chrono::nanoseconds time) {
    std::ostringstream text;
    text << time / 1s << '.' << std::setw(9) << std::setfill('0') << (time % 1s).count();
    return text.str();
  }

  std::ostringstream out_;
};

#if defined(ASIO_HAS_CO_AWAIT)

using asio::ip::tcp;

// ---- The server

std::string response(std::string_view status, std::string_view body) {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8"
         "\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + std::string(body);
}

std::string answer_to(std::string_view request, const kestrel::timer_wheel& wheel) {
  if (request.substr(0, request.find(' ')) != "GET") {
    return response("405 Method Not Allowed", "GET will do\n");
  }
  const std::string_view target = request.substr(4, request.find_first_of(" ?", 4) - 4);
  if (target != "/metrics") {
    return response("404 Not Found", "see /metrics\n");
  }
  return response("200 OK", exposition(wheel.stats()).text());
}

constexpr auto patience = 5s; // with a client that asks for nothing
constexpr std::size_t longest_request = 8192;

asio::awaitable<void> answer(tcp::socket socket, const kestrel::timer_wheel& wheel) {
  std::string request;
  asio::error_code error;
  co_await asio::async_read_until(
      socket, asio::dynamic_buffer(request, longest_request), "\r\n\r\n",
      kestrel::cancel_after(patience, asio::redirect_error(asio::use_awaitable, error)));
  if (!error) {
    co_await asio::async_write(
        socket, asio::buffer(answer_to(request, wheel)),
        kestrel::cancel_after(patience, asio::redirect_error(asio::use_awaitable, error)));
  }
}

asio::awaitable<void> serve(tcp::acceptor& acceptor, const kestrel::timer_wheel& wheel) {
  for (;;) {
    asio::error_code error;
    tcp::socket socket =
        co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) {
      co_return;
    }
    if (!error) {
      asio::co_spawn(acceptor.get_executor(), answer(std::move(socket), wheel), asio::detached);
    }
  }
}

// ---- Something to count

// Clients with a timeout each: some are heard of again and again, some go, some fall silent.
class imitated_clients {
public:
  explicit imitated_clients(kestrel::timer_wheel& wheel) : wheel_{wheel}, timeouts_(1000) {
    beat_ = wheel_.schedule_every(20ms, 20ms, [this] { something_happens(); });
  }

  void stop() {
    wheel_.cancel(beat_);
    wheel_.cancel(timeouts_);
  }

private:
  void something_happens() {
    for (int i = 0; i != 200; ++i) {
      kestrel::timer_id& timeout = timeouts_[random_() % timeouts_.size()];
      const std::chrono::milliseconds delay(50 + random_() % 400);
      const bool goes = random_() % 8 == 0 && wheel_.cancel(timeout);
      if (goes || !wheel_.postpone(timeout, delay)) {
        timeout = wheel_.schedule_after(delay, [] {});
      }
    }
  }

  kestrel::timer_wheel& wheel_;
  std::vector<kestrel::timer_id> timeouts_;
  kestrel::timer_id beat_;
  std::minstd_rand random_;
};

// ---- A client that looks at what it gets as closely as Prometheus does

asio::awaitable<std::string> get(const tcp::endpoint server, std::string_view target) {
  tcp::socket socket(co_await asio::this_coro::executor);
  co_await socket.async_connect(server, asio::use_awaitable);
  const std::string request = "GET " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
  co_await asio::async_write(socket, asio::buffer(request), asio::use_awaitable);
  std::string reply;
  asio::error_code end;
  co_await asio::async_read(socket, asio::dynamic_buffer(reply),
                            asio::redirect_error(asio::use_awaitable, end));
  check(end == asio::error::eof, "the server closes when it has answered");
  co_return reply;
}

using samples = std::map<std::string, double>;

// The metric that a sample belongs to.
std::string family_of(const std::string& sample, const std::map<std::string, std::string>& types) {
  std::string name = sample.substr(0, sample.find('{'));
  for (const std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (name.ends_with(suffix)) {
      const std::string family = name.substr(0, name.size() - suffix.size());
      if (const auto found = types.find(family); found != types.end()) {
        check(found->second == "histogram", "only histograms have such samples");
        return family;
      }
    }
  }
  return name;
}

samples parse(std::istream& text) {
  samples all;
  std::set<std::string> helped;
  std::map<std::string, std::string> types;
  for (std::string line; std::getline(text, line);) {
    std::istringstream words(line);
    std::string first, second, name, type;
    words >> first >> second;
    if (first == "#") {
      words >> name >> type;
      if (second == "TYPE") {
        types[name] = type;
      } else {
        helped.insert(name);
      }
      continue;
    }
    const std::string family = family_of(first, types);
    check(helped.contains(family) && types.contains(family), "each metric is introduced");
    check(types[family] != "counter" || family.ends_with("_total"), "counters are called so");
    check(all.emplace(first, std::stod(second)).second, "no sample comes twice");
  }
  return all;
}

samples parse_response(const std::string& reply) {
  std::istringstream in(reply);
  std::string line;
  std::getline(in, line);
  check(line == "HTTP/1.1 200 OK\r", "there are metrics");
  bool typed = false;
  while (std::getline(in, line) && line != "\r") {
    typed = typed || line == "Content-Type: text/plain; version=0.0.4; charset=utf-8\r";
  }
  check(typed, "they are said to be in the text format");
  return parse(in);
}

void check_histogram(const samples& s) {
  const std::string bucket = "kestrel_lateness_seconds_bucket{le=\"";
  std::map<double, double> counts; // by the upper bound
  for (const auto& [name, value] : s) {
    if (name.starts_with(bucket)) {
      counts.emplace(std::stod(name.substr(bucket.size())), value); // +Inf, too
    }
  }
  check(counts.size() == kestrel::lateness_histogram::buckets, "all buckets are there");
  double below = 0;
  double least = 0;
  double before = 0;
  for (const auto& [bound, count] : counts) {
    check(count >= before, "buckets are cumulative");
    least += (count - before) * below;
    below = bound;
    before = count;
  }
  check(before == s.at("kestrel_lateness_seconds_count"), "the last one counts all");
  check(before == s.at("kestrel_timers_fired_total"), "that is, every callback");
  check(s.at("kestrel_lateness_seconds_sum") >= least, "the sum is what the buckets say or more");
}

asio::awaitable<void> scrape_twice(const tcp::endpoint server, kestrel::timer_wheel& wheel) {
  const auto first = parse_response(co_await get(server, "/metrics"));
  co_await wheel.async_wait_after(600ms, asio::use_awaitable);
  const std::string reply = co_await get(server, "/metrics");
  std::cout << reply;
  const auto second = parse_response(reply);
  check_histogram(first);
  check_histogram(second);
  for (const auto& [name, value] : first) {
    check(!name.ends_with("_total") || second.at(name) >= value, "counters only go up");
  }
  for (const auto* name : {"scheduled", "fired", "cancelled", "postponed"}) {
    check(second.at("kestrel_timers_" + std::string(name) + "_total") > 0, name);
  }
  check(second.at("kestrel_timers_live") > 0, "there are timers");
  check((co_await get(server, "/")).starts_with("HTTP/1.1 404 "), "there is nothing else");
}

// ---- The program

void run_until_interrupted(asio::io_context& io) {
  asio::signal_set interrupted(io, SIGINT, SIGTERM);
  interrupted.async_wait([&](asio::error_code, int) { io.stop(); });
  io.run();
}

void run_until_scraped(asio::io_context& io, kestrel::timer_wheel& wheel, imitated_clients& clients,
                       tcp::acceptor& acceptor) {
  asio::co_spawn(io, scrape_twice(acceptor.local_endpoint(), wheel), [&](std::exception_ptr e) {
    check(e == nullptr, "the client gets what it asks for");
    clients.stop();
    acceptor.close();
  });
  io.run();
  check(wheel.empty(), "no timer is left");
}

#endif // ASIO_HAS_CO_AWAIT

} // namespace

int main(int argc, char** argv) {
#if defined(ASIO_HAS_CO_AWAIT)
  const int port = argc > 1 ? std::atoi(argv[1]) : 0;
  if (argc > 2 || (argc > 1 && (port < 1 || port > 65535))) {
    std::cerr << "usage: prometheus [port]\n";
    return 2;
  }
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  tcp::acceptor acceptor{
      io, {asio::ip::address_v4::loopback(), static_cast<asio::ip::port_type>(port)}};
  asio::co_spawn(io, serve(acceptor, wheel), asio::detached);
  imitated_clients clients{wheel};
  if (port != 0) {
    std::cout << "http://" << acceptor.local_endpoint() << "/metrics" << std::endl;
    run_until_interrupted(io);
    return 0;
  }
  run_until_scraped(io, wheel, clients, acceptor);
  return told::verdict();
#else
  static_cast<void>(argc);
  static_cast<void>(argv);
  asio::io_context io;
  kestrel::timer_wheel wheel{io};
  wheel.schedule_after(100ms, [] {});
  io.run();
  std::cout << exposition(wheel.stats()).text();
  return told::verdict();
#endif
}
