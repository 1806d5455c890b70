// SPDX-License-Identifier: MIT
//
// A cache whose entries live for a while after they were last used, shared by several threads.
// `ttl_cache` is meant to be taken along. Nobody ever looks for what is old: the wheel tells. An
// entry is visible only with the id of its timer, which therefore must exist before the timer does
// (two steps: allocate, schedule). The program reads and writes from four threads, and audits.

#include "told.hpp"

#include <kestrel/timer_id.hpp>
#include <kestrel/timer_slot.hpp>
#include <kestrel/timer_task.hpp>
#include <kestrel/timer_wheel.hpp>

#include <asio/thread_pool.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using clock_type = kestrel::timer_wheel::clock_type;

namespace {

using told::check;

/// Maps keys to copies of values, for `time_to_live` from when they were last written or read, and
/// up to a tick longer. `on_expired` is told of each that expired, on the wheel's executor.
///
/// Thread safety: shared objects safe. The wheel must outlive the cache; callbacks that are just
/// running need not end before it does.
template <class Key, class Value>
class ttl_cache {
public:
  using time_point = clock_type::time_point;
  /// The key, the value, and when it was last used.
  using expired_function = std::function<void(const Key&, const Value&, time_point)>;

  ttl_cache(
      kestrel::timer_wheel& wheel, clock_type::duration time_to_live,
      expired_function on_expired = [](auto&&...) {})
      : wheel_{wheel},
        time_to_live_{time_to_live},
        shared_(std::make_shared<shared>(std::move(on_expired))) {}

  ttl_cache(const ttl_cache&) = delete;
  ttl_cache& operator=(const ttl_cache&) = delete;

  ~ttl_cache() {
    std::vector<kestrel::timer_id> timers;
    const std::lock_guard lock{shared_->mutex};
    for (const auto& [key, e] : shared_->entries) {
      timers.push_back(e.timer);
    }
    wheel_.cancel(timers); // all under one lock
  }

  /// True if there was none of that key.
  bool put(const Key& key, Value value) {
    // With the timer first and the entry second, a short time to live could be over in between, and
    // the entry would stay for ever. With the entry first, others could not refresh or replace it.
    kestrel::timer_slot slot = wheel_.allocate();
    const kestrel::timer_id timer = slot.id();
    kestrel::timer_id old;
    {
      const std::lock_guard lock{shared_->mutex};
      entry& e = shared_->entries[key];
      old = std::exchange(e.timer, timer);
      e.value = std::move(value);
      e.last_used = clock_type::now();
    }
    wheel_.cancel(
        old); // false if it was not scheduled yet, or has started: it will find another id
    wheel_.schedule(std::move(slot), kestrel::timer_task::one_shot(
                                         time_to_live_, [s = std::weak_ptr{shared_}, key, timer] {
                                           if (const auto still_there = s.lock()) {
                                             still_there->expire(key, timer);
                                           }
                                         }));
    return !old;
  }

  /// Finding an entry lets it live on.
  std::optional<Value> get(const Key& key) {
    const std::lock_guard lock{shared_->mutex};
    const auto found = shared_->entries.find(key);
    if (found == shared_->entries.end()) {
      return std::nullopt;
    }
    // False: it is not scheduled yet, or is about to expire and waits for the lock.
    const auto now = clock_type::now();
    if (wheel_.postpone(found->second.timer, time_to_live_)) {
      found->second.last_used = now;
    }
    return found->second.value;
  }

  std::size_t size() const {
    const std::lock_guard lock{shared_->mutex};
    return shared_->entries.size();
  }

private:
  struct entry {
    Value value{};
    kestrel::timer_id timer;
    time_point last_used;
  };

  struct shared {
    explicit shared(expired_function f) : on_expired{std::move(f)} {}

    void expire(const Key& key, kestrel::timer_id timer) {
      std::unique_lock lock{mutex};
      const auto found = entries.find(key);
      if (found == entries.end() || found->second.timer != timer) {
        return; // replaced when it was just about to expire
      }
      const auto node = entries.extract(found);
      lock.unlock();
      on_expired(node.key(), node.mapped().value, node.mapped().last_used);
    }

    std::mutex mutex;
    std::unordered_map<Key, entry> entries;
    const expired_function on_expired;
  };

  kestrel::timer_wheel& wheel_;
  const clock_type::duration time_to_live_;
  const std::shared_ptr<shared> shared_;
};

std::string value_of(int key) { return "the value of " + std::to_string(key); }

} // namespace

int main() {
  constexpr auto time_to_live = 150ms;
  constexpr int keys = 2000, hot_keys = 20;
  std::atomic<std::uint64_t> added{0}, expired{0}, early{0}, hits{0}, misses{0}, wrong{0};
  std::atomic<std::uint64_t> hot_misses{0};

  asio::thread_pool pool{2}; // runs what expires
  kestrel::timer_wheel wheel{pool, kestrel::wheel_config::network_timeouts()};
  {
    ttl_cache<int, std::string> cache{
        wheel, time_to_live, [&](int key, const std::string& value, auto last_used) {
          ++expired;
          early += clock_type::now() - last_used < time_to_live ? 1u : 0u;
          wrong += value != value_of(key) ? 1u : 0u;
        }};
    const auto look_up = [&](int key) {
      if (const auto value = cache.get(key)) {
        ++hits;
        wrong += *value != value_of(key) ? 1u : 0u;
        return true;
      }
      ++misses;
      added += cache.put(key, value_of(key)) ? 1u : 0u;
      return false;
    };

    // Keys below `hot_keys` are asked for all the time, the others now and then.
    const auto end = clock_type::now() + 800ms;
    std::vector<std::thread> threads;
    for (unsigned t = 0; t != 4; ++t) {
      threads.emplace_back([&, t] {
        std::minstd_rand random{t + 1};
        std::uniform_int_distribution<int> any{hot_keys, keys - 1};
        for (int key = 0; clock_type::now() < end; key = (key + 1) % hot_keys) {
          hot_misses += look_up(key) ? 0u : 1u;
          look_up(any(random));
          if (key == 0) { // now and then, one is written anew
            const int written = any(random);
            added += cache.put(written, value_of(written)) ? 1u : 0u;
          }
          std::this_thread::sleep_for(200us);
        }
      });
    }
    for (std::thread& t : threads) {
      t.join();
    }
    std::cout << hits << " hits, " << misses << " misses, " << cache.size() << " entries, "
              << expired << " expired\n";
    check(hot_misses * 20 < hits, "what is used all the time stays");
    check(expired > 0, "what is not, does not");

    std::this_thread::sleep_for(2 * time_to_live);
    check(cache.size() == 0, "in the end, all has expired");
    check(wheel.empty(), "and no timer is left");
    check(added == expired, "each entry expired once");
    check(early == 0 && wrong == 0, "none too early, none with the value of another");

    cache.put(1, value_of(1));
    cache.put(2, value_of(2));
  }
  check(wheel.empty(), "a cache that goes cancels its timers");
  pool.join();
  check(added == expired, "which do not expire then");
  return told::verdict();
}
