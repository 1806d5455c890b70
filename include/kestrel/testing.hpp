// SPDX-License-Identifier: MIT
//
// virtual_time: for the tests of programs that use Kestrel. Their code runs unchanged, on timers of
// the types it always has, and timeouts of hours take microseconds, in the same order every time.
// Nothing sleeps. Not part of kestrel.hpp, since it is of no use outside of tests.

#ifndef KESTREL_TESTING_HPP
#define KESTREL_TESTING_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_registry.hpp>
#include <kestrel/detail/moved_time.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/time_source.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/error.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
/// For the tests of programs that use Kestrel.
namespace testing {

/// Puts an `io_context` under virtual time: the wheels that are made on it afterwards go by a time
/// that stands still unless it is advanced here, and so does all that lives on them: steady_timers,
/// timeouts of `cancel_after`, services, coroutines.
///
/// Advancing goes from deadline to deadline. At each, all handlers that are ready run, those that
/// become ready by that too, and only then does time move on. So what a handler schedules for a
/// time within the span that is advanced over happens in the same call, at its own time.
///
/// A wheel fires at its ticks, under virtual time as under any. Advancing by exactly a delay fires
/// a timer if its deadline is on a tick, a whole number of which have passed since its wheel was
/// made; otherwise it comes up to one tick later. Where ticks do not matter, `advance_to_next` does
/// not ask. What is set for the end of time, `time_point::max()`, never fires.
///
/// Several contexts may share one time. Wheels on strands and other executors of a context are
/// under its time. What does not come from wheels is as it always is: Asio's own timers, sockets,
/// `Clock::now()`. Code that needs the time should ask `wheel.now()`, or work with delays. Sockets
/// on the loopback interface are ready at once; nothing waits for other hosts or threads.
///
/// If a handler stops a context (`stop()`), the call returns early, with time where it is; the next
/// one restarts the context. When a call returns, a context is stopped if it has no work left:
/// `stopped()` tells whether `run()` would have returned. Pending timers are work, so that `run()`
/// itself would wait for ever.
///
/// Thread safety: distinct objects safe, shared objects unsafe; while a member function runs, no
/// other thread may run the contexts. Other threads may use wheels that may be shared. A handler
/// may advance the time in which it runs. Complexity: a call costs what it runs, however far it
/// advances; idle hours are skipped. Exceptions: what a handler throws leaves the call, with time
/// at the handler's; the next call goes on from there. `errc::invalid_delay` for a duration that is
/// not a number.
/// Lifetime: the contexts stay under virtual time for good. When the object is gone, time stands
/// still, until another one for the same contexts moves it. It may be destroyed after a context,
/// but then do nothing else.
///
///     asio::io_context io;
///     kestrel::testing::virtual_time time{io};   // before the first wheel
///     server s{io};                              // has a timer_wheel, steady_timers, coroutines
///     time.advance(8h);
///     CHECK(s.sessions() == 0);
class virtual_time {
public:
  ///@{
  /// Those of `std::chrono::steady_clock`.
  using clock_type = std::chrono::steady_clock;
  using duration = clock_type::duration;
  using time_point = clock_type::time_point;
  ///@}

  /// At first, it is as late as the clock says. `errc::other_time` if one of the contexts has a
  /// wheel already, which goes by the real time, or a virtual time that is not that of the others;
  /// the contexts are as they were then.
  template <std::same_as<net::io_context>... More>
  explicit virtual_time(net::io_context& context, More&... more) : contexts_{&context, &more...} {
    for (net::io_context* const c : contexts_)
      agree_with(registry_of(*c));
    if (source_ == nullptr)
      source_ = std::make_shared<detail::moved_time>();
    for (net::io_context* const c : contexts_)
      registry_of(*c).set_time({source_, net::any_io_executor(c->get_executor())});
  }

  virtual_time(const virtual_time&) = delete;
  virtual_time& operator=(const virtual_time&) = delete;

  /// The time that wheels whose clock is `Clock` go by.
  template <class Clock = clock_type>
  [[nodiscard]] typename Clock::time_point now() const {
    return detail::wheel_clock<Clock>(source_).clock_now();
  }

  /// Runs all that is due within the next `d`, each at its time, and all that is ready.
  template <class Rep, class Period>
  void advance(const std::chrono::duration<Rep, Period>& d) {
    advance_to_elapsed(detail::saturating_add(source_->elapsed(), detail::delay_of(d)));
  }

  /// The same until `time`, of any clock that wheels go by. One that is over is the present.
  template <class Clock, class Duration>
  void advance_to(const std::chrono::time_point<Clock, Duration>& time) {
    advance_to_elapsed(source_->since_start(time));
  }

  /// Runs what is ready, and then advances to where the next timer fires, and runs what is due
  /// there. False if no timer is left but for the end of time, and so none has fired; if one of
  /// those shares a slot with a timer that was cancelled, time may be that one's then.
  bool advance_to_next() {
    const turn running(*this);
    settle();
    const std::uint64_t before = source_->firings();
    while (move_to_alarm(detail::max_ns)) {
      settle();
      if (source_->firings() != before)
        return true;
    }
    return false;
  }

  /// Advances until no timer is left, to where the last one fires; by `limit` at most. Tells
  /// whether none is left. Periodic timers never end by themselves.
  template <class Rep, class Period>
  bool run_until_done(const std::chrono::duration<Rep, Period>& limit) {
    const std::int64_t end = detail::saturating_add(source_->elapsed(), detail::delay_of(limit));
    const turn running(*this);
    run_to(end);
    if (!source_->has_alarms())
      return true;
    if (!is_stopped())
      source_->move_to(end);
    return false;
  }

  /// Runs what is ready, and what becomes ready by that, without moving time.
  void run_until_idle() {
    const turn running(*this);
    settle();
  }

private:
  using work_guard = net::executor_work_guard<net::io_context::executor_type>;

  /// As long as the contexts run. They do not stop for want of work meanwhile, so that one that is
  /// stopped was told to.
  class turn {
  public:
    explicit turn(virtual_time& t) {
      for (net::io_context* const c : t.contexts_) {
        if (c->stopped())
          c->restart();
        work_.emplace_back(c->get_executor());
      }
    }

  private:
    std::vector<work_guard> work_;
  };

  static detail::context_registry& registry_of(net::io_context& context) {
    return net::use_service<detail::context_registry>(context);
  }

  void agree_with(const detail::context_registry& registry) {
    const std::shared_ptr<detail::time_source> source = registry.time().source;
    const bool differs = source_ != nullptr && source != source_;
    if (source == nullptr ? registry.has_wheels() : differs)
      detail::throw_error(errc::other_time);
    if (source != nullptr)
      source_ = source;
  }

  void advance_to_elapsed(std::int64_t end) {
    const turn running(*this);
    run_to(end);
    if (!is_stopped())
      source_->move_to(end);
  }

  void run_to(std::int64_t end) {
    settle();
    while (move_to_alarm(end))
      settle();
  }

  bool move_to_alarm(std::int64_t limit) { return !is_stopped() && source_->move_to_alarm(limit); }

  /// Runs all that is ready, and due now.
  void settle() {
    std::size_t ran = 0;
    do {
      source_->ring();
      ran = 0;
      for (net::io_context* const c : contexts_)
        ran += c->poll();
    } while (ran != 0);
  }

  [[nodiscard]] bool is_stopped() const {
    return std::ranges::any_of(contexts_, [](const net::io_context* c) { return c->stopped(); });
  }

  std::vector<net::io_context*> contexts_;
  std::shared_ptr<detail::time_source> source_;
};

} // namespace testing
KESTREL_END_NAMESPACE

#endif // KESTREL_TESTING_HPP
