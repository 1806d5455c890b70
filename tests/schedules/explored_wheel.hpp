// SPDX-License-Identifier: MIT
//
// explored_wheel: a wheel of which each lock and each posted handler is a point where another
// thread may go on, and callables that note what becomes of them.

#ifndef KESTREL_TESTS_SCHEDULES_EXPLORED_WHEEL_HPP
#define KESTREL_TESTS_SCHEDULES_EXPLORED_WHEEL_HPP

#include "explored_context.hpp"
#include "explored_mutex.hpp"
#include "explorer.hpp"

#include <kestrel/timer_wheel.hpp>

#include <asio/bind_executor.hpp>

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace kestrel_tests {

using namespace std::chrono_literals;

/// 8 x 10 ms = 80 ms; 4 x 40 ms = 160 ms.
struct explored_traits : kestrel::default_wheel_traits {
  using clock = explored_clock;
  using wait_traits = asio::wait_traits<clock>;
  using mutex = explored_mutex;
  using geometry = kestrel::static_geometry<8, 4, 4, 10'000'000>;
};

using explored_wheel = kestrel::basic_timer_wheel<explored_context::executor_type, explored_traits>;

/// What became of a callable.
class fate {
public:
  fate() = default;
  fate(const fate&) = delete;
  fate& operator=(const fate&) = delete;

  /// A callable with this fate, which does what `f` does.
  template <class F>
  [[nodiscard]] auto note(F f);
  [[nodiscard]] auto note();

  [[nodiscard]] int ran() const noexcept { return ran_.load(relaxed); }
  [[nodiscard]] bool is_destroyed() const noexcept { return destroyed_.load(relaxed) != 0; }

  /// When it ran last.
  [[nodiscard]] explored_clock::time_point ran_at() const noexcept { return ran_at_.load(relaxed); }

  /// It is gone, and was destroyed as often as it was made, was not called afterwards, nor two
  /// times at once; and none of that was under a wheel's lock.
  [[nodiscard]] bool is_sound() const noexcept {
    return made_.load(relaxed) == destroyed_.load(relaxed) && !went_wrong_.load(relaxed);
  }

private:
  template <class F>
  class callable;

  static constexpr auto relaxed = std::memory_order_relaxed;

  void expect(bool held) noexcept {
    if (!held || explored_mutex::held() != 0)
      went_wrong_.store(true, relaxed);
  }

  std::atomic<int> made_ = 0;
  std::atomic<int> destroyed_ = 0;
  std::atomic<int> ran_ = 0;
  std::atomic<int> running_ = 0;
  std::atomic<explored_clock::time_point> ran_at_ = explored_clock::time_point();
  std::atomic<bool> went_wrong_ = false;
};

/// Other threads may go on while it is called, and while it is destroyed.
template <class F>
class fate::callable {
public:
  callable(fate& of, F f) : of_{&of}, f_(std::move(f)) { of.made_.fetch_add(1, relaxed); }

  callable(callable&& other) noexcept
      : of_{std::exchange(other.of_, nullptr)}, f_(std::move(other.f_)) {}
  callable& operator=(callable&&) = delete;

  ~callable() {
    if (of_ == nullptr)
      return;
    of_->expect(true);
    turns::point();
    of_->destroyed_.fetch_add(1, relaxed);
  }

  void operator()(kestrel::timer_id id) {
    of_->expect(of_->running_.fetch_add(1, relaxed) == 0);
    of_->expect(of_->made_.load(relaxed) > of_->destroyed_.load(relaxed));
    of_->ran_.fetch_add(1, relaxed);
    of_->ran_at_.store(explored_clock::now(), relaxed);
    turns::point();
    if constexpr (std::is_invocable_v<F&, kestrel::timer_id>)
      f_(id);
    else
      f_();
    of_->running_.fetch_sub(1, relaxed);
  }

private:
  fate* of_;
  F f_;
};

template <class F>
auto fate::note(F f) {
  return callable<F>(*this, std::move(f));
}

inline auto fate::note() {
  return note([] {});
}

/// What most scenarios begin with.
struct explored_world {
  explored_context context;
  explored_clock::time_point epoch = explored_clock::now();
  std::optional<explored_wheel> made{context};
  explored_wheel& wheel = *made;

  /// A timer whose callback runs on the wheel's executor, or on another.
  template <class F>
  kestrel::timer_id schedule(explored_clock::duration delay, F f, bool bound = false) {
    if (bound)
      return wheel.schedule_after(delay, asio::bind_executor(context.get_executor(), std::move(f)));
    return wheel.schedule_after(delay, std::move(f));
  }

  /// Moves the clock, so that what is due is in the queue when the threads begin.
  void pass(explored_clock::duration d) {
    explored_clock::advance(d);
    context.ring();
  }

  /// A thread that runs the context, until it has no work.
  [[nodiscard]] std::function<void()> run() {
    return [this] { context.run(); };
  }

  /// One that does something else while the others run the context. That is work, so that they go
  /// on until it has ended.
  template <class F>
  [[nodiscard]] std::function<void()> beside(F f) {
    context.begin_work();
    return [this, f = std::move(f)] {
      struct at_end {
        ~at_end() { context.end_work(); }
        explored_context& context;
      } const ended{context};
      f();
    };
  }

  /// Lets the threads run together; time passes when all of them wait.
  void together(exploration& e, const std::vector<std::function<void()>>& programs) {
    e.together(programs, [this] { return context.sleep(); });
    e.expect(!context.was_posted_under_lock(), "something was posted under a lock");
  }

  /// The first tick at or after `time`.
  [[nodiscard]] explored_clock::time_point tick_after(explored_clock::time_point time) const {
    const auto since = time - epoch;
    return epoch + (since + tick - 1ns) / tick * tick;
  }

  static constexpr explored_clock::duration tick = 10ms;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_SCHEDULES_EXPLORED_WHEEL_HPP
