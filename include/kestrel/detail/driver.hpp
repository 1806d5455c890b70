// SPDX-License-Identifier: MIT
//
// driver: the alarm clock of a wheel. At most one handler of it is on its way at any time, in
// memory that is kept for it, so that setting it neither piles up handlers nor runs out of memory.
// An Asio timer, unless the execution context is under virtual time.

#ifndef KESTREL_DETAIL_DRIVER_HPP
#define KESTREL_DETAIL_DRIVER_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/time_source.hpp>
#include <kestrel/detail/wait_op.hpp>

#include <cstdint>
#include <memory>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Each `set` is followed by one `owner.wake(on_time)`: on time, or soon after `cancel`, which the
/// owner calls before it ends. Or by one `owner.lose_wake()`, if the handler is destroyed: by the
/// end of the context, by an executor that refuses it, or since there is no memory. The pending
/// handler shares the ownership of the owner, of whom the driver is a part.
///
/// Thread safety: all calls under the owner's lock. `wake` is called without it, and so is
/// `lose_wake`, unless that is while `set` throws.
template <class Timer, class Owner>
class driver {
public:
  driver(const typename Timer::executor_type& executor, handler_memory& memory, context_time time)
      : timer_(executor), memory_{memory}, time_(std::move(time)) {}

  /// Not before the handler of the last `set` has run.
  void set(typename Timer::time_point time, std::shared_ptr<Owner> owner) {
    if (is_virtual())
      return set_alarm(time, handler(std::move(owner), memory_));
    timer_.expires_at(time);
    timer_.async_wait(handler(std::move(owner), memory_));
  }

  void cancel() {
    if (is_virtual())
      time_.source->cancel(alarm_);
    else
      timer_.cancel();
  }

private:
  struct handler {
    using allocator_type = handler_allocator<void>;

    handler(std::shared_ptr<Owner> o, handler_memory& m) noexcept
        : owner(std::move(o)), memory{&m} {}

    handler(handler&&) noexcept = default;

    ~handler() {
      if (owner != nullptr)
        owner->lose_wake();
    }

    allocator_type get_allocator() const noexcept { return allocator_type(*memory); }

    void operator()(net::error_code ec) {
      const std::shared_ptr<Owner> woken(std::move(owner));
      woken->wake(!ec);
    }

    std::shared_ptr<Owner> owner;
    handler_memory* memory;
  };

  /// Comes on the context's own executor, as the one of an Asio timer does, and goes on to the
  /// wheel's: that may be a user's, which must not be called under the lock.
  struct alarm_handler {
    using allocator_type = handler_allocator<void>;

    allocator_type get_allocator() const noexcept { return to_wake.get_allocator(); }

    void operator()(net::error_code ec) {
      net::dispatch(executor, [h = std::move(to_wake), ec]() mutable { h(ec); });
    }

    typename Timer::executor_type executor;
    handler to_wake;
  };

  [[nodiscard]] bool is_virtual() const noexcept { return time_.source != nullptr; }

  void set_alarm(typename Timer::time_point time, handler to_wake) {
    auto alarm = make_wait_op<time_source::alarm>(
        alarm_handler{timer_.get_executor(), std::move(to_wake)}, time_.executor);
    alarm_ = alarm->ticket();
    time_.source->add(time_.source->since_start(time), std::move(alarm));
  }

  Timer timer_;
  handler_memory& memory_;
  context_time time_;
  std::uint64_t alarm_ = 0; // the ticket of the last
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_DRIVER_HPP
