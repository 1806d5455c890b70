// SPDX-License-Identifier: MIT
//
// The server runs in this process and wrk in another one, so that this one's processor time is the
// server's, as it is while idle connections of this process just stay. The rounds alternate, and so
// a machine that is slow for a while is so for both.

#include "compare.hpp"

#include <asio/io_context.hpp>
#include <asio/ip/address_v4.hpp>
#include <asio/ip/tcp.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>

namespace web {
namespace {

using seconds_type = std::chrono::duration<double>;

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

bool run_wrk(std::uint16_t port, const load& how) {
  const std::string command = "wrk -t1 -c" + std::to_string(how.connections) + " -d" +
                              std::to_string(how.seconds) +
                              "s http://127.0.0.1:" + std::to_string(port) + "/ >/dev/null";
  return std::system(command.c_str()) == 0;
}

// Processor time per second, while so many connections are open and quiet.
double cpu_of_idle(std::uint16_t port, std::size_t connections, std::chrono::seconds time) {
  asio::io_context io;
  std::vector<asio::ip::tcp::socket> sockets;
  for (std::size_t i = 0; i != connections; ++i) {
    sockets.emplace_back(io).connect({asio::ip::address_v4::loopback(), port});
  }
  std::this_thread::sleep_for(std::chrono::seconds{1}); // until all have been accepted
  const double before = cpu_seconds();
  std::this_thread::sleep_for(time);
  return (cpu_seconds() - before) / seconds_type{time}.count();
}

// Each connection in this process needs two.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct series {
  backend timers;
  std::vector<double> requests_per_second;
  std::vector<double> microseconds_per_request;
  std::vector<double> idle_milliseconds_per_second;
};

bool add_round(series& to, server_settings settings, const load& how) {
  settings.timers = to.timers;
  const auto server = start_server(settings);
  const double cpu_before = cpu_seconds();
  const auto began = std::chrono::steady_clock::now();
  if (!run_wrk(server->port(), how)) {
    return false;
  }
  const seconds_type took = std::chrono::steady_clock::now() - began;
  const auto requests = static_cast<double>(server->requests());
  to.requests_per_second.push_back(requests / took.count());
  to.microseconds_per_request.push_back((cpu_seconds() - cpu_before) * 1e6 / requests);
  to.idle_milliseconds_per_second.push_back(
      cpu_of_idle(server->port(), how.idle, std::chrono::seconds{how.seconds}) * 1e3);
  return requests > 0;
}

} // namespace

bool compare(server_settings settings, const load& how) {
  if (std::system("command -v wrk >/dev/null") != 0) {
    std::puts("skipped: wrk is not installed (Debian: apt-get install wrk)");
    return true;
  }
  raise_descriptor_limit();
  std::array<series, 2> all{{{backend::kestrel, {}, {}, {}}, {backend::asio, {}, {}, {}}}};
  for (unsigned round = 0; round != how.rounds; ++round) {
    for (series& s : all) {
      if (!add_round(s, settings, how)) {
        std::puts("wrk failed");
        return false;
      }
    }
    std::reverse(all.begin(), all.end());
  }
  std::sort(all.begin(), all.end(),
            [](const series& a, const series& b) { return a.timers < b.timers; });
  std::printf("checked for timeouts every %lld ms; medians of %u rounds of %u s\n",
              static_cast<long long>(settings.check_period.count()), how.rounds, how.seconds);
  std::printf("%zu busy connections, then %zu idle ones; processor time is the server's\n\n",
              how.connections, how.idle);
  std::printf("%-8s %12s %16s %18s\n", "timers", "requests/s", "CPU us/request", "idle, CPU ms/s");
  for (const series& s : all) {
    std::printf("%-8s %12.0f %16.2f %18.2f\n", name_of(s.timers).data(),
                median(s.requests_per_second), median(s.microseconds_per_request),
                median(s.idle_milliseconds_per_second));
  }
  return true;
}

} // namespace web
