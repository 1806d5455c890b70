// SPDX-License-Identifier: MIT
//
// explored_context: an execution context whose threads take turns. Each handler that is posted or
// taken is a point where another thread may go on. Its Asio timers go by explored_clock, which
// moves when no thread can go on: to the next timer of its context.

#ifndef KESTREL_TESTS_SCHEDULES_EXPLORED_CONTEXT_HPP
#define KESTREL_TESTS_SCHEDULES_EXPLORED_CONTEXT_HPP

#include "explored_mutex.hpp"
#include "turns.hpp"

#include <asio/basic_waitable_timer.hpp>
#include <asio/error.hpp>
#include <asio/execution.hpp>
#include <asio/execution_context.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace kestrel_tests {

struct explored_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<explored_clock, duration>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept {
    return time_point(duration(ns_.load(std::memory_order_relaxed)));
  }
  static void set(time_point time) noexcept {
    ns_.store(time.time_since_epoch().count(), std::memory_order_relaxed);
  }
  static void advance(duration d) noexcept { set(now() + d); }

private:
  inline static std::atomic<std::int64_t> ns_{1'000'000'000};
};

/// Something to call, once, and the work that it is.
class explored_handler {
public:
  virtual ~explored_handler() = default;
  virtual void call(asio::error_code ec) = 0;
};

template <class F>
class explored_handler_of final : public explored_handler {
public:
  explicit explored_handler_of(F f) : f_(std::move(f)) {}

  void call(asio::error_code ec) override {
    if constexpr (std::is_invocable_v<F&, asio::error_code>)
      f_(ec);
    else
      f_();
  }

private:
  F f_;
};

class explored_context : public asio::execution_context {
  using handler_ptr = std::unique_ptr<explored_handler>;

  struct item {
    handler_ptr handler;
    asio::error_code error;
  };

  struct alarm {
    const void* owner;
    handler_ptr handler;
  };

public:
  class executor_type;

  explored_context() = default;

  ~explored_context() {
    shutdown();
    alarms_.clear();
    ready_.clear();
  }

  [[nodiscard]] executor_type get_executor() noexcept;

  /// Runs handlers until no work is left. A thread, or several, of those that take turns.
  void run() {
    while (run_one()) {
    }
  }

  bool run_one() {
    turns::wait([this] { return !ready_.empty() || work_ == 0; });
    item next = take();
    if (next.handler == nullptr)
      return false;
    struct at_end {
      ~at_end() { context.end_work(); }
      explored_context& context;
    } const ended{*this};
    const handler_ptr handler = std::move(next.handler);
    handler->call(next.error);
    return true;
  }

  /// Destroys handlers instead of running them.
  void drop() {
    for (;;) {
      turns::wait([this] { return !ready_.empty() || work_ == 0; });
      const item dropped = take();
      if (dropped.handler == nullptr)
        return;
      end_work();
    }
  }

  /// For `together`: lets time pass until something is due. False if nothing ever will be.
  bool sleep() {
    if (alarms_.empty())
      return false;
    explored_clock::set(std::max(explored_clock::now(), alarms_.begin()->first));
    ring();
    return true;
  }

  /// Puts the handlers of timers that are due into the queue, as a thread of Asio would.
  void ring() {
    const std::lock_guard lock(mutex_);
    while (!alarms_.empty() && alarms_.begin()->first <= explored_clock::now()) {
      ready_.push_back({std::move(alarms_.begin()->second.handler), {}});
      alarms_.erase(alarms_.begin());
    }
  }

  template <class F>
  void post(F&& f) {
    auto handler = make(std::forward<F>(f));
    turns::point();
    const std::lock_guard lock(mutex_);
    if (refusals_ != 0) {
      --refusals_;
      throw std::runtime_error("refused");
    }
    ready_.push_back({std::move(handler), {}});
    ++work_;
    posted_under_lock_ = posted_under_lock_ || explored_mutex::held() != 0;
  }

  /// So many handlers are not taken. Before the threads begin.
  void refuse(int handlers) noexcept { refusals_ = handlers; }

  /// Nobody knows what an executor does, so that none may be called under a lock.
  [[nodiscard]] bool was_posted_under_lock() const noexcept { return posted_under_lock_; }

  // ---- Work that is no handler

  void begin_work() noexcept {
    const std::lock_guard lock(mutex_);
    ++work_;
  }

  void end_work() noexcept {
    const std::lock_guard lock(mutex_);
    --work_;
  }

  // ---- For timers

  template <class F>
  void add_alarm(explored_clock::time_point time, const void* owner, F&& f) {
    auto handler = make(std::forward<F>(f));
    const std::lock_guard lock(mutex_);
    ++work_;
    alarms_.emplace(time, alarm{owner, std::move(handler)});
  }

  std::size_t cancel_alarms(const void* owner) {
    const std::lock_guard lock(mutex_);
    std::size_t n = 0;
    for (auto a = alarms_.begin(); a != alarms_.end();) {
      if (a->second.owner == owner) {
        ready_.push_back({std::move(a->second.handler), asio::error::operation_aborted});
        a = alarms_.erase(a);
        ++n;
      } else {
        ++a;
      }
    }
    return n;
  }

private:
  template <class F>
  static handler_ptr make(F&& f) {
    return std::make_unique<explored_handler_of<std::decay_t<F>>>(std::forward<F>(f));
  }

  item take() {
    const std::lock_guard lock(mutex_);
    if (ready_.empty())
      return {};
    item next = std::move(ready_.front());
    ready_.pop_front();
    return next;
  }

  std::mutex mutex_; // for the thread sanitizer
  std::deque<item> ready_;
  std::multimap<explored_clock::time_point, alarm> alarms_;
  bool posted_under_lock_ = false;
  int refusals_ = 0;
  std::size_t work_ = 0; // handlers that are queued, run, or wait for a timer; executors that count
};

/// Never blocks. Counts as work if it was asked to.
class explored_context::executor_type {
  using blocking_t = asio::execution::blocking_t;
  using work_t = asio::execution::outstanding_work_t;

public:
  explicit executor_type(explored_context& context, bool tracked = false) noexcept
      : context_{&context}, tracked_{tracked} {
    count();
  }

  executor_type(const executor_type& other) noexcept
      : executor_type(*other.context_, other.tracked_) {}

  executor_type& operator=(const executor_type&) = delete;

  ~executor_type() {
    if (tracked_)
      context_->end_work();
  }

  asio::execution_context& query(asio::execution::context_t) const noexcept { return *context_; }
  static constexpr blocking_t query(blocking_t) noexcept { return blocking_t::never; }
  executor_type require(blocking_t::never_t) const noexcept { return *this; }

  work_t query(work_t) const noexcept {
    return tracked_ ? work_t(work_t::tracked) : work_t(work_t::untracked);
  }
  executor_type require(work_t::tracked_t) const noexcept { return executor_type(*context_, true); }
  executor_type require(work_t::untracked_t) const noexcept { return executor_type(*context_); }

  template <class F>
  void execute(F&& f) const {
    context_->post(std::forward<F>(f));
  }

  friend bool operator==(const executor_type& a, const executor_type& b) noexcept {
    return a.context_ == b.context_;
  }

private:
  void count() const noexcept {
    if (tracked_)
      context_->begin_work();
  }

  explored_context* context_;
  bool tracked_;
};

inline explored_context::executor_type explored_context::get_executor() noexcept {
  return executor_type(*this);
}

} // namespace kestrel_tests

/// What a wheel asks of the Asio timer that drives it.
template <class WaitTraits, class Executor>
class asio::basic_waitable_timer<kestrel_tests::explored_clock, WaitTraits, Executor> {
public:
  using executor_type = Executor;
  using time_point = kestrel_tests::explored_clock::time_point;

  explicit basic_waitable_timer(const executor_type& executor) : executor_(executor) {}

  basic_waitable_timer(const basic_waitable_timer&) = delete;
  basic_waitable_timer& operator=(const basic_waitable_timer&) = delete;

  ~basic_waitable_timer() { cancel(); }

  [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

  std::size_t expires_at(time_point time) {
    expiry_ = time;
    return cancel();
  }

  template <class Handler>
  void async_wait(Handler&& handler) {
    context().add_alarm(expiry_, this, std::forward<Handler>(handler));
    if (expiry_ <= kestrel_tests::explored_clock::now())
      context().ring();
  }

  std::size_t cancel() { return context().cancel_alarms(this); }

private:
  [[nodiscard]] kestrel_tests::explored_context& context() const {
    return static_cast<kestrel_tests::explored_context&>(
        asio::query(executor_, asio::execution::context));
  }

  executor_type executor_;
  time_point expiry_{};
};

#endif // KESTREL_TESTS_SCHEDULES_EXPLORED_CONTEXT_HPP
