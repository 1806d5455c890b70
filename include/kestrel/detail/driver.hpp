// SPDX-License-Identifier: MIT
//
// driver: the alarm clock of a wheel, one pending Asio wait at most. Setting it anew either
// succeeds or leaves the wait that was pending before.

#ifndef KESTREL_DETAIL_DRIVER_HPP
#define KESTREL_DETAIL_DRIVER_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/handler_memory.hpp>

#include <cstddef>
#include <memory>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// `Owner::wake()` is called once after each `set` that was not followed by another or by `clear`,
/// unless the context ends first. Pending waits share the ownership of the owner.
///
/// Thread safety: all calls under the owner's lock; `wake` is called without it.
template <class Timer, class Owner>
class driver {
public:
  explicit driver(const typename Timer::executor_type& executor)
      : timers_{Timer(executor), Timer(executor)} {}

  void set(typename Timer::time_point time, std::shared_ptr<Owner> owner, handler_memory& memory) {
    Timer& spare = timers_[1 - pending_];
    spare.expires_at(time);
    spare.async_wait(wake_handler{std::move(owner), &memory});
    clear();
    pending_ = 1 - pending_;
  }

  void clear() { timers_[pending_].cancel(); }

private:
  struct wake_handler {
    using allocator_type = handler_allocator<void>;

    allocator_type get_allocator() const noexcept { return allocator_type(*memory); }

    void operator()(net::error_code ec) const {
      if (!ec)
        owner->wake();
    }

    std::shared_ptr<Owner> owner;
    handler_memory* memory; // a part of the owner
  };

  Timer timers_[2];
  std::size_t pending_ = 0; // the one that may have a wait; the other has none
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_DRIVER_HPP
