// SPDX-License-Identifier: MIT
//
// time_source: time that moves only when told to, for the wheels of execution contexts under
// virtual time. Stands for their clocks and for the Asio timers that would wake them. What it is
// made of is in moved_time.hpp, since wheels of the real time never have one.

#ifndef KESTREL_DETAIL_TIME_SOURCE_HPP
#define KESTREL_DETAIL_TIME_SOURCE_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/wait_op.hpp>

#include <chrono>
#include <cstdint>
#include <memory>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Times are nanoseconds since it was made. Thread safe; calls no code of users but their clocks.
class time_source {
public:
  using alarm = wait_op<>;

  [[nodiscard]] virtual std::int64_t elapsed() const = 0;

  // ---- For wheels. In nanoseconds since the epoch of `Clock`, which is what it really shows when
  // it is first asked for, and what has elapsed by then.

  template <class Clock>
  [[nodiscard]] KESTREL_COLD std::int64_t now() {
    const std::int64_t start = start_of<Clock>();
    return saturating_add(start, elapsed());
  }

  /// Moves a time of `Clock` to the scale of this. The last year of the one is the end of the
  /// other, unless it has begun: a wheel looks somewhat earlier for what is set for the end.
  template <class Clock, class Duration>
  [[nodiscard]] std::int64_t since_start(const std::chrono::time_point<Clock, Duration>& time) {
    constexpr std::int64_t last_year =
        max_ns - std::chrono::nanoseconds(std::chrono::years(1)).count();
    const std::int64_t start = start_of<Clock>();
    const std::int64_t ns = instant_of(time);
    const std::int64_t since = saturating_sub(ns, start);
    return ns == max_ns || (ns > last_year && since > elapsed()) ? max_ns : since;
  }

  /// Completes `a` at `time`, and never at the end of time. Those of one time are completed in
  /// turn.
  virtual void add(std::int64_t time, wait_op_ptr<alarm> a) = 0;

  /// Completes it soon, with an error, unless it was completed before.
  virtual void cancel(std::uint64_t ticket) = 0;

  virtual void note_firing() = 0;

  // ---- For who moves the time

  /// How many timers have fired so far.
  [[nodiscard]] virtual std::uint64_t firings() const = 0;

  [[nodiscard]] virtual bool has_alarms() const = 0;

  /// Time does not go back.
  virtual void move_to(std::int64_t time) = 0;

  /// To the first alarm, if there is one up to `limit`.
  virtual bool move_to_alarm(std::int64_t limit) = 0;

  /// Completes what is due.
  virtual void ring() = 0;

protected:
  ~time_source() = default;

private:
  /// Its address stands for the type, without RTTI.
  template <class Clock>
  inline static char identity = 0;

  template <class Clock>
  std::int64_t start_of() {
    const std::int64_t now = std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
    return start_of(&identity<Clock>, now);
  }

  /// What the clock showed when this was first called for it; now it shows `now`.
  virtual std::int64_t start_of(const void* clock, std::int64_t now) = 0;
};

/// What a wheel is told of the time of its execution context.
struct context_time {
  std::shared_ptr<time_source> source; // null: real
  net::any_io_executor executor;       // for what comes of it: the context's own
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIME_SOURCE_HPP
