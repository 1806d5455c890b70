// SPDX-License-Identifier: MIT
//
// A mutex and its locks, as Clang's -Wthread-safety knows them: what is KESTREL_GUARDED_BY a mutex,
// or KESTREL_REQUIRES it, is not to be touched without. To other compilers, these are the
// standard's.

#ifndef KESTREL_DETAIL_GUARDED_HPP
#define KESTREL_DETAIL_GUARDED_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/version.hpp>

#if defined(__clang__)
#define KESTREL_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define KESTREL_THREAD_SAFETY(attribute)
#endif

#define KESTREL_GUARDED_BY(mutex) KESTREL_THREAD_SAFETY(guarded_by(mutex))
#define KESTREL_REQUIRES(mutex) KESTREL_THREAD_SAFETY(requires_capability(mutex))

/// For what is beyond the analysis: functions that let go of their caller's lock for a while, and
/// what is called under a lock that somebody else has.
#define KESTREL_UNCHECKED_LOCKING KESTREL_THREAD_SAFETY(no_thread_safety_analysis)

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Mutex>
class KESTREL_THREAD_SAFETY(capability("mutex")) guarded_mutex : Mutex {
public:
  void lock() KESTREL_THREAD_SAFETY(acquire_capability()) { Mutex::lock(); }
  void unlock() KESTREL_THREAD_SAFETY(release_capability()) { Mutex::unlock(); }
};

template <class Mutex>
class KESTREL_THREAD_SAFETY(scoped_lockable) mutex_guard {
public:
  explicit mutex_guard(Mutex& m) KESTREL_THREAD_SAFETY(acquire_capability(m)) : mutex_{m} {
    mutex_.lock();
  }
  ~mutex_guard() KESTREL_THREAD_SAFETY(release_capability()) { mutex_.unlock(); }
  mutex_guard(const mutex_guard&) = delete;
  mutex_guard& operator=(const mutex_guard&) = delete;

private:
  Mutex& mutex_;
};

/// One that may be let go of, and taken again.
template <class Mutex>
class KESTREL_THREAD_SAFETY(scoped_lockable) mutex_lock {
public:
  explicit mutex_lock(Mutex& m) KESTREL_THREAD_SAFETY(acquire_capability(m)) : mutex_{m} {
    mutex_.lock();
  }
  ~mutex_lock() KESTREL_THREAD_SAFETY(release_capability()) {
    if (owns_)
      mutex_.unlock();
  }
  mutex_lock(const mutex_lock&) = delete;
  mutex_lock& operator=(const mutex_lock&) = delete;

  void lock() KESTREL_THREAD_SAFETY(acquire_capability()) {
    KESTREL_ASSERT(!owns_);
    mutex_.lock();
    owns_ = true;
  }
  void unlock() KESTREL_THREAD_SAFETY(release_capability()) {
    KESTREL_ASSERT(owns_);
    owns_ = false;
    mutex_.unlock();
  }
  [[nodiscard]] bool owns_lock() const noexcept { return owns_; }

private:
  Mutex& mutex_;
  bool owns_ = true;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_GUARDED_HPP
