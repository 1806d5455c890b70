// SPDX-License-Identifier: MIT
//
// Kestrel's main job, on real sockets: an echo server with thousands of connections and three
// timers for each, its clients, and an auditor that watches every timer. This file wires them
// together, runs them, drains them in order, and turns the audit into the exit status.

#include "audited_timers.hpp"
#include "clients.hpp"
#include "faults.hpp"
#include "ledger.hpp"
#include "options.hpp"
#include "process.hpp"
#include "report.hpp"
#include "server.hpp"
#include "timer_counts.hpp"
#include "timers.hpp"

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using seconds_type = std::chrono::duration<double>;

// Ctrl-C ends the chat early; the drain, the report and the verdict follow as usual.
volatile std::sig_atomic_t interrupted = 0;

void on_interrupt(int) { interrupted = 1; }

// Threads with the processor time they took and the exceptions they met.
class thread_group {
public:
  template <class F>
  void launch(F f) {
    {
      const std::lock_guard lock{mutex_};
      ++running_;
    }
    threads_.emplace_back([this, f]() mutable {
      std::string trouble;
      try {
        f();
      } catch (const std::exception& e) {
        trouble = e.what();
      }
      const std::lock_guard lock{mutex_};
      cpu_ += demo::thread_cpu_seconds();
      sleeps_ += demo::thread_sleeps();
      if (!trouble.empty()) {
        troubles_.push_back("an exception left a thread: " + trouble);
      }
      --running_;
      ended_.notify_all();
    });
  }

  // False if they have not all ended by then.
  bool wait_until(clock_type::time_point limit) {
    std::unique_lock lock{mutex_};
    return ended_.wait_until(lock, limit, [this] { return running_ == 0; });
  }

  void join() {
    for (std::thread& t : threads_) {
      t.join();
    }
    threads_.clear();
  }

  double cpu() const { return cpu_; }
  std::uint64_t sleeps() const { return sleeps_; }
  const std::vector<std::string>& troubles() const { return troubles_; }

private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::thread> threads_;
  std::vector<std::string> troubles_;
  unsigned running_ = 0;
  double cpu_ = 0;
  std::uint64_t sleeps_ = 0;
};

// How many connections the system lets us have, and on how many loopback addresses.
struct capacity {
  std::size_t connections;
  std::size_t addresses;
};

capacity find_capacity(std::size_t wanted) {
  const std::size_t descriptors = demo::raise_descriptor_limit();
  // A little for the rest of the process, and for connections that the server has yet to close
  // when their client is back already.
  const std::size_t reserve = 64 + descriptors / 64;
  const std::size_t by_descriptors = descriptors > reserve ? (descriptors - reserve + 1) / 2 : 1;
  // Ports of connections closed a moment ago are not free yet.
  const std::size_t per_address = demo::ephemeral_port_count() * 2 / 3;
  const std::size_t by_ports = per_address * demo::loopback_address_count();
  const std::size_t connections = std::min({wanted, by_descriptors, by_ports});
  if (connections < wanted) {
    std::printf("%zu connections instead of %zu: %s\n", connections, wanted,
                by_descriptors < by_ports
                    ? ("the limit on open descriptors is " + std::to_string(descriptors)).c_str()
                    : "there are not enough ephemeral ports");
  }
  return {connections, 1 + (connections - 1) / per_address};
}

// Tells the ledger how far the server has got. A question is put on the io_context every now and
// then; when several in a row were answered before the next, the server was alive all that time,
// and has had every chance to run what was due at the first of them.
class pulse {
public:
  pulse(asio::io_context& io, demo::ledger& books) : io_{io}, books_{books} {}

  void beat(clock_type::time_point now) {
    if (asked_ && !answered_->exchange(false)) {
      streak_ = 0; // it is busy
      return;
    }
    clock_type::time_point& oldest = asked_at_[streak_ % asked_at_.size()];
    if (streak_ >= asked_at_.size()) {
      books_.reached(oldest);
    }
    oldest = now;
    ++streak_;
    asked_ = true;
    asio::post(io_, [answered = answered_] { *answered = true; });
  }

private:
  asio::io_context& io_;
  demo::ledger& books_;
  std::array<clock_type::time_point, 4> asked_at_{};
  std::size_t streak_ = 0;
  bool asked_ = false;
  std::shared_ptr<std::atomic<bool>> answered_ = std::make_shared<std::atomic<bool>>(false);
};

// Shows how things stand until the time is up.
template <class Server>
void watch(const demo::options& settings, asio::io_context& io, const Server& server,
           demo::ledger& books, clock_type::time_point started) {
  demo::progress_line line;
  pulse server_pulse{io, books};
  std::uint64_t messages_before = 0;
  auto before = started;
  const auto end = started + settings.seconds;
  for (auto now = started; now < end && interrupted == 0;) {
    std::this_thread::sleep_until(std::min(now + 250ms, end));
    now = clock_type::now();
    server_pulse.beat(now);
    demo::progress p;
    p.elapsed = now - started;
    p.open = server.counters().open;
    p.closed_idle = server.counters().closed_idle;
    const std::uint64_t messages = server.counters().echoed;
    p.messages_per_second =
        static_cast<double>(messages - messages_before) / seconds_type{now - before}.count();
    p.fired = demo::sum_of(books.counts()).fired;
    p.p99 = books.lateness().quantile(0.99);
    p.clean = books.found().clean();
    if (line.show(p)) {
      before = now;
      messages_before = messages;
    }
  }
  line.finish();
}

std::string to_text(const demo::timer_counts& c) {
  return std::to_string(c.scheduled) + " scheduled, " + std::to_string(c.cancelled) +
         " cancelled, " + std::to_string(c.postponed) + " postponed, " + std::to_string(c.fired) +
         " fired";
}

template <class Timers, class Executor>
demo::run_result run(const demo::options& settings, std::size_t addresses) {
  asio::io_context io{static_cast<int>(settings.threads)};
  Timers timers{io};
  demo::fault_plan faults{settings.planted};
  demo::ledger books{settings.threads};
  demo::audited_timers<Timers> audited{timers, faults, books};
  demo::server<demo::audited_timers<Timers>, Executor> server{io, settings, audited};
  demo::client_swarm clients{settings, server.listen(addresses)};

  const auto started = clock_type::now();
  thread_group server_threads;
  for (unsigned i = 0; i != settings.threads; ++i) {
    server_threads.launch([&io, i] {
      demo::ledger::use_shard(i);
      io.run();
    });
  }
  thread_group client_threads;
  client_threads.launch([&clients] { clients.run(); });

  watch(settings, io, server, books, started);

  // The drain: the clients say goodbye, the server closes what is left, and then its io_context
  // has to run out of work by itself. A timer that were still armed would keep it.
  demo::run_result result;
  const auto stopped = clock_type::now();
  result.chatted = stopped - started;
  clients.stop();
  client_threads.join();
  server.stop();
  const bool drained = server_threads.wait_until(clock_type::now() + settings.idle + 5s);
  result.drained = clock_type::now() - stopped;
  if (!drained) {
    result.troubles.push_back("the server's io_context did not run out of work");
    io.stop();
  }
  server_threads.join();
  books.close();

  if (const std::size_t live = timers.live(); live != 0) {
    result.troubles.push_back(std::to_string(live) + " timers are still in the backend");
  }
  if (const auto own = timers.own_counts();
      own && *own != demo::sum_of(books.counts()) && settings.planted == demo::fault::none) {
    result.troubles.push_back("the counters of the backend differ from the books: " +
                              to_text(*own) + " against " + to_text(demo::sum_of(books.counts())));
  }
  if (const std::uint64_t wrong = clients.counters().wrong_echoes; wrong != 0) {
    result.troubles.push_back(std::to_string(wrong) + " echoes were not what had been sent");
  }
  if (server.counters().echoed == 0) {
    result.troubles.push_back("not one message was echoed");
  }
  for (const thread_group* group : {&server_threads, &client_threads}) {
    result.troubles.insert(result.troubles.end(), group->troubles().begin(),
                           group->troubles().end());
  }

  const demo::server_counters& counters = server.counters();
  result.backend = Timers::name;
  result.wakeup_note = Timers::wakeup_note;
  result.connections = settings.connections;
  result.threads = settings.threads;
  result.seed = settings.seed;
  result.accepted = counters.accepted;
  result.closed_idle = counters.closed_idle;
  result.vanished = counters.vanished;
  result.closed_by_peer = counters.closed_by_peer;
  result.connect_errors = clients.counters().connect_errors + counters.accept_errors;
  result.messages = counters.echoed;
  result.expired = counters.expired;
  result.timers = books.counts();
  result.lateness = books.lateness();
  result.found = books.found();
  result.wakeups = timers.wakeups();
  result.sleeps = server_threads.sleeps();
  result.server_cpu = server_threads.cpu();
  result.client_cpu = client_threads.cpu();
  return result;
}

template <class Timers>
demo::run_result run(const demo::options& settings, std::size_t addresses) {
  using executor = asio::io_context::executor_type;
  return settings.threads == 1 ? run<Timers, executor>(settings, addresses)
                               : run<Timers, asio::strand<executor>>(settings, addresses);
}

} // namespace

int main(int argc, char** argv) {
  try {
    demo::options settings = demo::parse_options(argc, argv);
    if (settings.help) {
      std::fputs(demo::help_text().c_str(), stdout);
      return 0;
    }
    std::signal(SIGINT, on_interrupt);
    const capacity room = find_capacity(settings.connections);
    settings.connections = room.connections;
    const demo::run_result result = settings.timers == demo::backend::kestrel
                                        ? run<demo::kestrel_timers>(settings, room.addresses)
                                        : run<demo::asio_timers>(settings, room.addresses);
    demo::print_report(result, settings.ascii);
    return result.good() ? 0 : 1;
  } catch (const demo::usage_error& e) {
    std::fprintf(stderr, "kestrel_demo: %s (try --help)\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kestrel_demo: %s\n", e.what());
    return 1;
  }
}
