// SPDX-License-Identifier: MIT
//
// timer_wait: a handler that waits for a steady_timer, and its way to its executor once the timer
// is due. Until it arrives there, it can be cancelled.

#ifndef KESTREL_DETAIL_TIMER_WAIT_HPP
#define KESTREL_DETAIL_TIMER_WAIT_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/block_allocator.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/no_unique_address.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/wait_rooms.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class wait_host;
struct wait_queue;

/// A wait. Whoever holds it owns it, until it is sent.
class timer_wait : public wait_op<> {
public:
  /// Keeps `run()` from returning while this is in no queue and not posted yet: whoever cancels the
  /// last wait of all calls off the wheel's driver meanwhile. To be had under the host's lock. None
  /// if its own executor counts as work, or the handler does that aborts it.
  [[nodiscard]] virtual std::optional<io_work> work_while_aborted() const noexcept = 0;

  /// Its executor as work, if only the wheel counts it.
  [[nodiscard]] virtual std::optional<io_work> uncounted_work() const noexcept = 0;

  /// Is this thread one on which the handler may be called at once?
  [[nodiscard]] virtual bool runs_here() const noexcept = 0;

  /// Calls the handler, and ends this object before.
  virtual void call(net::error_code ec) = 0;

  /// Sends it to its executor, where it is called with its `error()`. From now on it is its own.
  virtual void send(std::shared_ptr<wait_host> host, wait_queue& queue) noexcept = 0;

  [[nodiscard]] net::error_code error() const noexcept {
    return aborted ? net::error_code(net::error::operation_aborted) : net::error_code();
  }

  timer_wait* sent_next = nullptr; // which is sent, or ends, after this one
  bool aborted = false;            // after it was sent; under the host's lock

protected:
  ~timer_wait() = default;
};

using timer_wait_ptr = wait_op_ptr<timer_wait>;

/// What the waits see of the timers of a context.
class wait_host {
public:
  /// A wait that was sent has arrived, or will never: it cannot be cancelled any more.
  virtual void arrive(wait_queue& queue, timer_wait& wait) noexcept = 0;

protected:
  ~wait_host() = default;
};

// ---- Where a handler is called at once. Only executors that are known are asked, since it is done
// under a lock. A context that was stopped meanwhile calls no more of them.

template <class Executor>
bool is_here(const Executor&) noexcept {
  return false;
}

inline bool is_here(const net::system_executor&) noexcept { return true; }

template <class Allocator, std::uintptr_t Bits>
bool is_here(const net::io_context::basic_executor_type<Allocator, Bits>& executor) noexcept {
  return executor.running_in_this_thread() &&
         !net::query(executor, net::execution::context).stopped();
}

inline bool is_here(const net::any_io_executor& executor) noexcept {
  if (const auto* const io = target_of<io_work>(executor))
    return is_here(*io);
  return target_of<net::system_executor>(executor) != nullptr;
}

/// A wait on its way, as the handler that is posted.
template <class Allocator>
class arrival {
public:
  using allocator_type = Allocator;

  arrival(std::shared_ptr<wait_host> host, wait_queue& queue, timer_wait_ptr wait,
          const allocator_type& allocator) noexcept
      : allocator_(allocator), host_(std::move(host)), queue_{&queue}, wait_(std::move(wait)) {}

  arrival(arrival&&) noexcept = default;
  arrival& operator=(arrival&&) = delete;

  ~arrival() {
    if (wait_ != nullptr)
      host_->arrive(*queue_, *wait_);
  }

  allocator_type get_allocator() const noexcept { return allocator_; }

  void operator()() {
    host_->arrive(*queue_, *wait_);
    timer_wait* const wait = wait_.release();
    const auto counted = wait->uncounted_work();
    wait->call(wait->error());
  }

private:
  KESTREL_NO_UNIQUE_ADDRESS Allocator allocator_;
  std::shared_ptr<wait_host> host_;
  wait_queue* queue_;
  timer_wait_ptr wait_;
};

template <class Handler, class Work, class Allocator>
class timer_wait_of final : public handler_op<timer_wait_of<Handler, Work, Allocator>, timer_wait,
                                              Handler, Work, Allocator> {
  friend typename timer_wait_of::handler_op;
  using timer_wait_of::handler_op::handler_op;

public:
  std::optional<io_work> work_while_aborted() const noexcept override {
    if constexpr (is_counted_by_wheel) {
      if (this->work().running_in_this_thread())
        return std::nullopt;
    }
    return uncounted_work();
  }

  std::optional<io_work> uncounted_work() const noexcept override {
    if constexpr (is_counted_by_wheel)
      return tracked(this->work());
    else
      return std::nullopt;
  }

  bool runs_here() const noexcept override { return is_here(this->work()); }

  void call(net::error_code ec) override {
    auto [handler, work] = this->take();
    std::move(handler)(ec);
  }

  void send(std::shared_ptr<wait_host> host, wait_queue& queue) noexcept override {
    const auto executor = untracked(this->work());
    const auto source = this->allocator();
    if (const io_executor* const io = io_executor_of(executor)) {
      if (block* const memory = allocate_block(source))
        net::post(*io,
                  arrival(std::move(host), queue, timer_wait_ptr(this), in_block(memory, source)));
      else
        send_without_memory(*host, queue);
    } else {
      net::post(executor, arrival(std::move(host), queue, timer_wait_ptr(this), source));
    }
  }

private:
  static constexpr bool is_counted_by_wheel = std::is_same_v<Work, io_executor>;

  using allocator_type = typename timer_wait_of::handler_op::allocator_type;
  struct block;
  using in_block = block_allocator<void, block, allocator_type>;
  struct block : posting_block<arrival<in_block>, allocator_type> {};
  using block_source = typename std::allocator_traits<allocator_type>::template rebind_alloc<block>;

  /// Null if there is no memory.
  static block* allocate_block(const allocator_type& source) noexcept {
    block* memory = nullptr;
    KESTREL_TRY { memory = block_source(source).allocate(1); }
    KESTREL_CATCH_ALL {}
    return memory;
  }

  /// In its own memory. It cannot be cancelled on its way, then.
  void send_without_memory(wait_host& host, wait_queue& queue) noexcept {
    host.arrive(queue, *this);
    this->complete(this->error());
  }
};

// ---- Most handlers run on the io_context of their timer. Its executor as it is costs less than
// inside an any_io_executor, and their memory is that of the timers of their context. They need not
// count as work: their wheel has an entry for them, so that its driver, which does, is pending or
// its handler runs.

/// `executor` and `rooms` are the timer's.
template <class Handler, class Executor>
KESTREL_ALWAYS_INLINE inline timer_wait_ptr
make_timer_wait(Handler&& handler, const Executor& executor, wait_rooms& rooms) {
  const auto make = [&handler](const auto& work, const auto& allocator) {
    return timer_wait_of<Handler, std::decay_t<decltype(work)>,
                         std::decay_t<decltype(allocator)>>::make(std::forward<Handler>(handler),
                                                                  work, allocator);
  };
  const auto make_for = [&](const auto& own, const io_executor* io) {
    return io != nullptr ? make(*io, wait_allocator<void>(rooms))
                         : make(tracked(own), std::allocator<void>());
  };
  if constexpr (has_own_executor<Handler>) {
    const auto own = net::get_associated_executor(handler, executor);
    return make_for(own, io_executor_beside(own, executor));
  } else {
    return make_for(executor, io_executor_of(executor));
  }
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_WAIT_HPP
