// SPDX-License-Identifier: MIT
//
// Other users of timers on the same context: sessions of a timer_service, waits for steady_timers,
// and operations with a timeout.

#ifndef KESTREL_TESTS_SOAK_OTHERS_HPP
#define KESTREL_TESTS_SOAK_OTHERS_HPP

#include "totals.hpp"

#include <kestrel/cancel_after.hpp>
#include <kestrel/steady_timer.hpp>
#include <kestrel/timer_service.hpp>

#include <asio/io_context.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <random>

namespace kestrel_soak {

/// Sessions that expire unless they are used. Thread safe.
class sessions {
public:
  sessions(asio::io_context& io, std::size_t n, totals& t) : totals_{t}, wheel_{io} {
    const std::lock_guard lock(mutex_);
    while (pending_.size() != n)
      begin();
    receive();
  }

  template <class Random>
  void act(Random& random) {
    const std::lock_guard lock(mutex_);
    const auto any = pending_.lower_bound(kestrel::timer_id::from_value(
        static_cast<std::uint64_t>(random()) % (pending_.rbegin()->first.value() + 1)));
    const kestrel::timer_id id = any->first;
    if (random() % 4 != 0) {
      const auto deadline = clock_type::now() + 2s;
      if (service_.postpone(id, 2s))
        any->second = deadline;
    } else if (service_.cancel(id)) {
      pending_.erase(any);
      begin();
    } // else it is on its way to the receiver
  }

  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    service_.shutdown();
    const kestrel::timer_wheel_stats is = wheel_.stats();
    totals_.unaccounted += is.scheduled != is.fired + is.cancelled || is.live != 0 ? 1u : 0u;
  }

private:
  void begin() {
    const auto deadline = clock_type::now() + 1s;
    pending_.emplace(service_.schedule_after(1s), deadline);
  }

  void receive() {
    service_.async_receive([this](asio::error_code ec, kestrel::timer_notification of) {
      if (ec)
        return;
      ++totals_.other;
      {
        const clock_type::time_point now = clock_type::now();
        const std::lock_guard lock(mutex_);
        const auto expired = pending_.find(of.id);
        if (expired == pending_.end() || of.count != 1) {
          ++totals_.twice;
        } else {
          totals_.note_firing(expired->second, now);
          pending_.erase(expired);
          if (!ended_)
            begin();
        }
      }
      receive();
    });
  }

  totals& totals_;
  std::mutex mutex_;
  std::map<kestrel::timer_id, clock_type::time_point> pending_;
  bool ended_ = false;
  kestrel::timer_wheel wheel_;
  kestrel::timer_service service_{wheel_};
};

/// Waits for steady_timers that are set anew before they end, or end. Thread safe.
class waits {
  struct wait {
    explicit wait(asio::io_context& io) : timer(io) {}

    std::mutex mutex;
    kestrel::steady_timer timer;
  };

public:
  waits(asio::io_context& io, std::size_t n, totals& t) : totals_{t} {
    for (std::size_t i = 0; i != n; ++i) {
      wait& w = all_.emplace_back(io);
      const std::lock_guard lock(w.mutex);
      begin(w, 100ms);
    }
  }

  template <class Random>
  void act(Random& random) {
    wait& w = all_[random() % all_.size()];
    const std::lock_guard lock(w.mutex);
    const auto n = w.timer.expires_after(std::chrono::milliseconds(random() % 500));
    totals_.twice += n > 1 ? 1u : 0u;
    told_ += n;
    if (n != 0)
      begin(w);
  }

  void end() {
    ended_ = true;
    for (wait& w : all_) {
      const std::lock_guard lock(w.mutex);
      told_ += w.timer.cancel();
    }
  }

  /// When nothing runs any more: `cancel` told of each that was aborted.
  void audit() const { totals_.unaccounted += told_ != aborted_ || under_way_ != 0 ? 1u : 0u; }

private:
  void begin(wait& w, clock_type::duration delay) {
    w.timer.expires_after(delay);
    begin(w);
  }

  void begin(wait& w) {
    ++under_way_;
    w.timer.async_wait([this, &w, expiry = w.timer.expiry()](asio::error_code ec) {
      --under_way_;
      if (ec) {
        ++aborted_;
        return;
      }
      ++totals_.other;
      totals_.note_firing(expiry, clock_type::now());
      const std::lock_guard lock(w.mutex);
      if (!ended_)
        begin(w, 100ms);
    });
  }

  totals& totals_;
  std::deque<wait> all_;
  counter told_ = 0; // cancellations
  counter aborted_ = 0;
  counter under_way_ = 0;
  std::atomic<bool> ended_ = false;
};

/// Operations that end by themselves or at their timeout. Each is used by the context alone.
class operations {
  struct operation {
    operation(asio::io_context& io, std::uint64_t seed) : work(io), random(seed) {}

    kestrel::steady_timer work;
    std::minstd_rand random;
  };

public:
  operations(asio::io_context& io, std::size_t n, totals& t) : totals_{t} {
    for (std::size_t i = 0; i != n; ++i)
      begin(all_.emplace_back(io, i + 1));
  }

  void end() { ended_ = true; }

private:
  void begin(operation& o) {
    const auto timeout = std::chrono::milliseconds(1 + o.random() % 300);
    o.work.expires_after(std::chrono::milliseconds(1 + o.random() % 300));
    const auto end = clock_type::now() + timeout;
    o.work.async_wait(kestrel::cancel_after(timeout, [this, &o, end](asio::error_code ec) {
      ++totals_.other;
      totals_.note_firing(ec ? end : o.work.expiry(), clock_type::now());
      if (!ended_)
        begin(o);
    }));
  }

  totals& totals_;
  std::deque<operation> all_;
  std::atomic<bool> ended_ = false;
};

} // namespace kestrel_soak

#endif // KESTREL_TESTS_SOAK_OTHERS_HPP
