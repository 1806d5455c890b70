// SPDX-License-Identifier: MIT
//
// explored_mutex: a mutex at which threads that take turns may be preempted.

#ifndef KESTREL_TESTS_SCHEDULES_EXPLORED_MUTEX_HPP
#define KESTREL_TESTS_SCHEDULES_EXPLORED_MUTEX_HPP

#include "turns.hpp"

#include <atomic>
#include <mutex>

namespace kestrel_tests {

/// One that a thread holds already is a deadlock.
class explored_mutex {
public:
  void lock() {
    turns::wait([this] { return !is_locked_.load(relaxed); });
    if (is_locked_.load(relaxed))
      return; // a thread that is unwound passes
    mutex_.lock();
    is_locked_.store(true, relaxed);
    holder_.store(&held_, relaxed);
    ++held_;
  }

  void unlock() {
    if (holder_.load(relaxed) != &held_)
      return; // passed
    --held_;
    holder_.store(nullptr, relaxed);
    is_locked_.store(false, relaxed);
    mutex_.unlock();
    turns::point();
  }

  /// How many of them this thread holds.
  static int held() noexcept { return held_; }

private:
  static constexpr auto relaxed = std::memory_order_relaxed;

  std::mutex mutex_; // never waited for: it is what the thread sanitizer sees
  std::atomic<bool> is_locked_ = false;
  std::atomic<const int*> holder_ = nullptr;
  inline static thread_local int held_ = 0;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_EXPLORED_MUTEX_HPP
