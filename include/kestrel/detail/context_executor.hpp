// SPDX-License-Identifier: MIT
//
// context_executor: runs functions on those threads of an execution context that complete its
// timers, whatever executors the context has. So no strand or wrapper of a user stands between a
// wheel that many share and its context.

#ifndef KESTREL_DETAIL_CONTEXT_EXECUTOR_HPP
#define KESTREL_DETAIL_CONTEXT_EXECUTOR_HPP

#include <kestrel/detail/asio.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Calls what it is given at once. So timers made with it are completed where their context
/// completes timers.
class context_executor {
  using blocking_t = net::execution::blocking_t;

public:
  /// The same, for what must not be called at once. A timer that is cancelled takes it there, since
  /// a context without any other executor has no other way.
  class posting;

  explicit context_executor(net::execution_context& context) noexcept : context_{&context} {}

  net::execution_context& query(net::execution::context_t) const noexcept { return *context_; }
  static constexpr blocking_t query(blocking_t) noexcept { return blocking_t::possibly; }
  context_executor require(blocking_t::possibly_t) const noexcept { return *this; }
  posting require(blocking_t::never_t) const noexcept;

  template <class F>
  void execute(F&& f) const {
    std::forward<F>(f)();
  }

  friend bool operator==(const context_executor&, const context_executor&) noexcept = default;

private:
  net::execution_context* context_;
};

class context_executor::posting {
public:
  explicit posting(const context_executor& executor) noexcept : executor_(executor) {}

  net::execution_context& query(net::execution::context_t c) const noexcept {
    return executor_.query(c);
  }
  static constexpr blocking_t query(blocking_t) noexcept { return blocking_t::never; }
  context_executor require(blocking_t::possibly_t) const noexcept { return executor_; }
  posting require(blocking_t::never_t) const noexcept { return *this; }

  template <class F>
  void execute(F&& f) const {
    using clock = std::chrono::steady_clock;
    net::basic_waitable_timer<clock, net::wait_traits<clock>, context_executor> timer(
        executor_, (clock::time_point::max)());
    const auto allocator = net::get_associated_allocator(f);
    timer.async_wait(net::bind_allocator(allocator, [run = std::decay_t<F>(std::forward<F>(f))](
                                                        net::error_code) mutable { run(); }));
  } // the timer goes, and so its wait is over

  friend bool operator==(const posting&, const posting&) noexcept = default;

private:
  context_executor executor_;
};

inline context_executor::posting context_executor::require(blocking_t::never_t) const noexcept {
  return posting(*this);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CONTEXT_EXECUTOR_HPP
