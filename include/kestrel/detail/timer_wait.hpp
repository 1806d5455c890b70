// SPDX-License-Identifier: MIT
//
// timer_wait: a handler that waits for a steady_timer, and its way to its executor once the timer
// is due. Until it arrives there, it can be cancelled.

#ifndef KESTREL_DETAIL_TIMER_WAIT_HPP
#define KESTREL_DETAIL_TIMER_WAIT_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/timer_id.hpp>

#include <cstdint>
#include <memory>
#include <type_traits>
#include <typeinfo>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class wait_host;
struct wait_queue;

/// A wait. Whoever holds it owns it, until it is sent.
class timer_wait : public wait_op<> {
public:
  /// Is this thread one on which the handler may be called at once?
  [[nodiscard]] virtual bool runs_here() const noexcept = 0;

  /// Calls the handler, and ends this object before.
  virtual void call(net::error_code ec) = 0;

  /// Sends it to its executor, where it is called with its `error`. From now on it is its own.
  virtual void send(std::shared_ptr<wait_host> host, wait_queue& queue) noexcept = 0;

  net::error_code error; // under the host's lock

protected:
  ~timer_wait() = default;
};

using timer_wait_ptr = wait_op_ptr<timer_wait>;

/// What one timer's waits are kept in. All of it is under the host's lock.
struct wait_queue {
  wait_op_list<timer_wait> waits; // for the deadline
  wait_op_list<timer_wait> sent;  // on their way: not owned, and taken out as they arrive
  timer_id entry;                 // in the wheel, or none
  wait_queue* previous = nullptr; // idle ones are in a list,
  wait_queue* next = nullptr;     // and so are free ones
};

/// What the waits see of the timers of a context.
class wait_host {
public:
  /// A wait that was sent has arrived, or will never: it cannot be cancelled any more.
  virtual void arrive(wait_queue& queue, timer_wait& wait) noexcept = 0;

protected:
  ~wait_host() = default;
};

// ---- Where a handler is called at once. Only executors that are known are asked, since it is done
// under a lock.

template <class Executor>
bool is_here(const Executor&) noexcept {
  return false;
}

inline bool is_here(const net::system_executor&) noexcept { return true; }

template <class Allocator, std::uintptr_t Bits>
bool is_here(const net::io_context::basic_executor_type<Allocator, Bits>& executor) noexcept {
  return executor.running_in_this_thread();
}

inline bool is_here(const net::any_io_executor& executor) noexcept {
  using tracked =
      std::decay_t<decltype(net::prefer(std::declval<const net::io_context::executor_type&>(),
                                        net::execution::outstanding_work.tracked))>;
  // Asio 1.22's target() does not look at the type.
  if (executor.target_type() == typeid(tracked))
    return is_here(*executor.target<tracked>());
  return executor.target_type() == typeid(net::system_executor);
}

/// A wait on its way, as the handler that is posted.
template <class Handler>
class arrival {
public:
  using allocator_type = typename net::associated_allocator<Handler>::type;

  arrival(std::shared_ptr<wait_host> host, wait_queue& queue, timer_wait_ptr wait,
          const Handler& handler) noexcept
      : allocator_(net::get_associated_allocator(handler)),
        host_(std::move(host)),
        queue_{&queue},
        wait_(std::move(wait)) {}

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
    wait->call(wait->error);
  }

private:
  allocator_type allocator_;
  std::shared_ptr<wait_host> host_;
  wait_queue* queue_;
  timer_wait_ptr wait_;
};

template <class Handler, class Executor>
class timer_wait_of final
    : public handler_op<timer_wait_of<Handler, Executor>, timer_wait, Handler, Executor> {
  friend typename timer_wait_of::handler_op;
  using timer_wait_of::handler_op::handler_op;
  using typename timer_wait_of::handler_op::work_type;

public:
  bool runs_here() const noexcept override { return is_here(this->work_); }

  void call(net::error_code ec) override {
    Handler handler(std::move(this->handler_));
    const work_type work(std::move(this->work_));
    this->free(net::get_associated_allocator(handler));
    std::move(handler)(ec);
  }

  void send(std::shared_ptr<wait_host> host, wait_queue& queue) noexcept override {
    const work_type executor(this->work_);
    net::post(executor,
              arrival<Handler>(std::move(host), queue, timer_wait_ptr(this), this->handler_));
  }
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_WAIT_HPP
