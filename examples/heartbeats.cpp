// SPDX-License-Identifier: MIT
//
// Which of many peers fell silent? `monitor` keeps one timer for each, postponed by each of its
// heartbeats, on a timer_service: one consumer receives what ran out, in its own time, and may wait
// for other things in between. The peers are imitated by periodic timers, some of which stop; one
// comes back.

#include "told.hpp"

#include <kestrel/timer_notification.hpp>
#include <kestrel/timer_service.hpp>
#include <kestrel/timer_task.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/io_context.hpp>

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>
#endif

#include <chrono>
#include <cstddef>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using clock_type = kestrel::timer_wheel::clock_type;

namespace {

using told::check;
using told::tell;

using peer = std::size_t;

constexpr peer peers = 500;
constexpr auto interval = 50ms; // between the heartbeats of one peer
constexpr auto patience = 4 * interval;

class monitor {
public:
  // All peers at once, under one lock. The ids are known before there are timers, so that whoever
  // is told of one can look it up.
  monitor(kestrel::timer_wheel& wheel, peer n) : service_{wheel, {.capacity = n}}, watched_(n) {
    std::vector<kestrel::timer_slot> slots = service_.allocate(n);
    std::vector<kestrel::timer_task> tasks;
    for (peer p = 0; p != n; ++p) {
      enter(p, slots[p].id());
      tasks.push_back(kestrel::timer_task::one_shot(patience));
    }
    service_.schedule(slots, tasks);
  }

  // Of a peer that was silent, too: it is back.
  void heard_of(peer p) {
    watched_[p].heard_of = clock_type::now();
    if (!service_.postpone(watched_[p].timer, patience)) {
      tell() << "peer " << p << " is back\n";
      silent_.erase(p);
      enter(p, service_.schedule_after(patience));
    }
  }

#if defined(ASIO_HAS_CO_AWAIT)
  void start(const kestrel::timer_wheel::executor_type& executor) {
    asio::co_spawn(executor, watch(), asio::detached);
  }

  asio::awaitable<void> watch() {
    asio::error_code error;
    for (;;) {
      const kestrel::timer_notification ran_out =
          co_await service_.async_receive(asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        break; // shut down
      }
      on_silence(ran_out.id);
    }
    has_ended_ = true;
  }
#else
  void start(const kestrel::timer_wheel::executor_type&) { watch(); }

  void watch() {
    service_.async_receive([this](asio::error_code error, kestrel::timer_notification ran_out) {
      if (error) {
        has_ended_ = true; // shut down
        return;
      }
      on_silence(ran_out.id);
      watch();
    });
  }
#endif

  void stop() { service_.shutdown(); }

  const std::set<peer>& silent() const { return silent_; }
  bool has_ended() const { return has_ended_; }

private:
  struct entry {
    kestrel::timer_id timer;
    clock_type::time_point heard_of = clock_type::now();
  };

  void enter(peer p, kestrel::timer_id timer) {
    watched_[p].timer = timer;
    peer_of_[timer] = p;
  }

  void on_silence(kestrel::timer_id timer) {
    const peer p = peer_of_.extract(timer).mapped();
    const auto since = clock_type::now() - watched_[p].heard_of;
    check(since >= patience, "no peer is given up early");
    tell() << "peer " << p << " fell silent " << since / 1ms << " ms ago\n";
    silent_.insert(p);
  }

  kestrel::timer_service service_;
  std::vector<entry> watched_;
  std::unordered_map<kestrel::timer_id, peer> peer_of_; // of timers that were not received yet
  std::set<peer> silent_;
  bool has_ended_ = false;
};

} // namespace

int main() {
  asio::io_context io;
  // Heartbeats of seconds would do with wheel_config::heartbeats(), of 100 ms a tick.
  kestrel::timer_wheel wheel{io};
  monitor watcher{wheel, peers};
  watcher.start(wheel.get_executor());

  // The peers do not all beat at once.
  std::vector<kestrel::timer_id> beating;
  const auto beat_of = [&](peer p) {
    return wheel.schedule_every(interval * p / peers, interval, [&, p] { watcher.heard_of(p); });
  };
  for (peer p = 0; p != peers; ++p) {
    beating.push_back(beat_of(p));
  }

  const std::set<peer> fail_early{3, 141, 499}, fail_later{0, 59, 265};
  const auto stop = [&](const std::set<peer>& which) {
    for (const peer p : which) {
      wheel.cancel(beating[p]);
    }
  };
  wheel.schedule_after(200ms, [&] { stop(fail_early); });
  wheel.schedule_after(400ms, [&] { stop(fail_later); });
  wheel.schedule_after(600ms, [&] {
    check(watcher.silent().contains(141), "a peer that stopped beating is found");
    beating[141] = beat_of(141);
  });
  wheel.schedule_after(1000ms, [&] {
    wheel.cancel(beating);
    watcher.stop(); // its own timers only, and it waits for nobody
    check(wheel.empty(), "no timer is left");
  });
  io.run();

  check(watcher.silent() == std::set<peer>{0, 3, 59, 265, 499}, "those and no others are silent");
  check(watcher.has_ended(), "the consumer was told of the end");
  return told::verdict();
}
