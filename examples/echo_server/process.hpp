// SPDX-License-Identifier: MIT
//
// What the demo asks of the operating system, POSIX only: the limit on open descriptors, the range
// of ephemeral ports, the processor time and the sleeps of one thread, whether a stream is a
// terminal. Everything else in the demo is standard C++ and Asio.

#ifndef KESTREL_EXAMPLES_ECHO_SERVER_PROCESS_HPP
#define KESTREL_EXAMPLES_ECHO_SERVER_PROCESS_HPP

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>

#include <sys/resource.h>
#include <unistd.h>

namespace demo {

// Raises the soft limit on open descriptors to the hard limit and returns what is in force.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 256;
  }
  if (limit.rlim_cur < limit.rlim_max) {
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
#if defined(__APPLE__)
    if (raised.rlim_cur > OPEN_MAX) {
      raised.rlim_cur = OPEN_MAX; // more than this is refused, whatever the hard limit says
    }
#endif
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
      limit = raised;
    }
  }
  constexpr rlim_t ceiling = 10'000'000; // stands for "unlimited"
  return static_cast<std::size_t>(limit.rlim_cur < ceiling ? limit.rlim_cur : ceiling);
}

// How many connections one pair of addresses and one server port can carry at a time.
inline std::size_t ephemeral_port_count() {
  std::size_t first = 0;
  std::size_t last = 0;
  std::ifstream range{"/proc/sys/net/ipv4/ip_local_port_range"};
  if (range >> first >> last && last > first) {
    return last - first + 1;
  }
  return 16'384; // the IANA range 49152 to 65535
}

// Linux routes all of 127.0.0.0/8 to the loopback device; elsewhere only 127.0.0.1 can be relied
// on.
inline std::size_t loopback_address_count() {
#if defined(__linux__)
  return 250;
#else
  return 1;
#endif
}

// Processor seconds, user and system, spent by the calling thread.
inline double thread_cpu_seconds() {
  std::timespec used{};
  if (::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0) {
    return 0;
  }
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// How often the calling thread went to sleep and was woken up again; 0 where nobody counts.
inline std::uint64_t thread_sleeps() {
#if defined(RUSAGE_THREAD)
  rusage used{};
  if (::getrusage(RUSAGE_THREAD, &used) == 0) {
    return static_cast<std::uint64_t>(used.ru_nvcsw);
  }
#endif
  return 0;
}

inline bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

} // namespace demo

#endif // KESTREL_EXAMPLES_ECHO_SERVER_PROCESS_HPP
