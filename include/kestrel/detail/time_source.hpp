// SPDX-License-Identifier: MIT
//
// time_source: time that moves only when told to, for the wheels of execution contexts under
// virtual time. Stands for their clocks and for the Asio timers that would wake them. Only
// kestrel/testing.hpp makes one.

#ifndef KESTREL_DETAIL_TIME_SOURCE_HPP
#define KESTREL_DETAIL_TIME_SOURCE_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/wait_op.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Times are nanoseconds since it was made. Thread safe; calls no code of users but their clocks,
/// and those not under its lock.
class time_source {
public:
  using alarm = wait_op<>;

  [[nodiscard]] std::int64_t elapsed() const {
    const mutex_guard lock(mutex_);
    return elapsed_;
  }

  // ---- For wheels. In nanoseconds since the epoch of `Clock`, which is what it really shows when
  // it is first asked for, and what has elapsed by then.

  template <class Clock>
  [[nodiscard]] KESTREL_COLD std::int64_t now() {
    const std::int64_t start = start_of<Clock>();
    return saturating_add(start, elapsed());
  }

  /// Moves a time of `Clock` to the scale of this.
  template <class Clock, class Duration>
  [[nodiscard]] std::int64_t since_start(const std::chrono::time_point<Clock, Duration>& time) {
    return saturating_sub(instant_of(time), start_of<Clock>());
  }

  /// Completes `a` at `time`. Those of one time are completed in turn.
  void add(std::int64_t time, wait_op_ptr<alarm> a) {
    const mutex_guard lock(mutex_);
    alarms_.emplace(time, std::move(a));
  }

  /// Completes it soon, with an error, unless it was completed before.
  void cancel(std::uint64_t ticket) {
    const mutex_guard lock(mutex_);
    const auto found = std::ranges::find(alarms_, ticket,
                                         [](const auto& entry) { return entry.second->ticket(); });
    if (found != alarms_.end())
      take(found).release()->complete(net::error::operation_aborted);
  }

  KESTREL_COLD void note_firing() {
    const mutex_guard lock(mutex_);
    ++firings_;
  }

  // ---- For who moves the time

  /// How many timers have fired so far.
  [[nodiscard]] std::uint64_t firings() const {
    const mutex_guard lock(mutex_);
    return firings_;
  }

  [[nodiscard]] bool has_alarms() const {
    const mutex_guard lock(mutex_);
    return !alarms_.empty();
  }

  /// Time does not go back.
  void move_to(std::int64_t time) {
    const mutex_guard lock(mutex_);
    elapsed_ = (std::max)(elapsed_, time);
  }

  /// To the first alarm, if there is one up to `limit`.
  bool move_to_alarm(std::int64_t limit) {
    const mutex_guard lock(mutex_);
    if (alarms_.empty() || alarms_.begin()->first > limit)
      return false;
    elapsed_ = (std::max)(elapsed_, alarms_.begin()->first);
    return true;
  }

  /// Completes what is due.
  void ring() {
    const mutex_guard lock(mutex_);
    while (!alarms_.empty() && alarms_.begin()->first <= elapsed_)
      take(alarms_.begin()).release()->complete({});
  }

private:
  using alarm_map = std::multimap<std::int64_t, wait_op_ptr<alarm>>;

  /// Its address stands for the type, without RTTI.
  template <class Clock>
  inline static char identity = 0;

  template <class Clock>
  std::int64_t start_of() {
    const std::int64_t now = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
    const mutex_guard lock(mutex_);
    return starts_.try_emplace(&identity<Clock>, now).first->second;
  }

  wait_op_ptr<alarm> take(alarm_map::iterator entry) KESTREL_REQUIRES(mutex_) {
    wait_op_ptr<alarm> taken(std::move(entry->second));
    alarms_.erase(entry);
    return taken;
  }

  mutable guarded_mutex<std::mutex> mutex_;
  std::int64_t elapsed_ KESTREL_GUARDED_BY(mutex_) = 0;
  std::uint64_t firings_ KESTREL_GUARDED_BY(mutex_) = 0;
  std::map<const void*, std::int64_t>
      starts_ KESTREL_GUARDED_BY(mutex_);       // by the identity of the clock
  alarm_map alarms_ KESTREL_GUARDED_BY(mutex_); // by time
};

/// What a wheel is told of the time of its execution context.
struct context_time {
  std::shared_ptr<time_source> source; // null: real
  net::any_io_executor executor;       // for what comes of it: the context's own
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIME_SOURCE_HPP
