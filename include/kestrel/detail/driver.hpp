// SPDX-License-Identifier: MIT
//
// driver: the alarm clock of a wheel. At most one handler of it is on its way at any time, in
// memory that is kept for it, so that setting it neither piles up handlers nor runs out of memory.

#ifndef KESTREL_DETAIL_DRIVER_HPP
#define KESTREL_DETAIL_DRIVER_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/handler_memory.hpp>

#include <memory>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Each `set` is followed by one `owner.wake(on_time)`, unless the context ends first: on time, or
/// soon after `cancel`. The pending handler shares the ownership of the owner, of whom the driver
/// is a part.
///
/// Thread safety: all calls under the owner's lock; `wake` is called without it.
template <class Timer, class Owner>
class driver {
public:
  driver(const typename Timer::executor_type& executor, handler_memory& memory)
      : timer_(executor), memory_{memory} {}

  /// Not before the handler of the last `set` has run.
  void set(typename Timer::time_point time, std::shared_ptr<Owner> owner) {
    timer_.expires_at(time);
    timer_.async_wait(handler{std::move(owner), &memory_});
  }

  void cancel() { timer_.cancel(); }

private:
  struct handler {
    using allocator_type = handler_allocator<void>;

    allocator_type get_allocator() const noexcept { return allocator_type(*memory); }

    void operator()(net::error_code ec) const { owner->wake(!ec); }

    std::shared_ptr<Owner> owner;
    handler_memory* memory;
  };

  Timer timer_;
  handler_memory& memory_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_DRIVER_HPP
