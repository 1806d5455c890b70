// SPDX-License-Identifier: MIT
//
// timer_host: what handles, services and the callables of timers see of a wheel, whatever its
// executor, clock and lock are. There is one implementation, timer_engine.

#ifndef KESTREL_DETAIL_TIMER_HOST_HPP
#define KESTREL_DETAIL_TIMER_HOST_HPP

#include <kestrel/completion.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_registry.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/timer_id.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class callback;
class timer_link;
struct timer_spec;

/// What a callback sees of the batch in which it is run. The wheel's lock is held.
class running_batch {
public:
  virtual void unlock() = 0;

  std::optional<io_work> work; // counts until the end of the batch, for whoever needs that

protected:
  ~running_batch() = default;
};

/// One of several timers that are postponed at once.
struct postponement;

/// Times are nanoseconds: delays from now, time points since the epoch of the wheel's clock.
///
/// Thread safety: as that of the wheel.
class timer_host : public registered, public std::enable_shared_from_this<timer_host> {
public:
  ~timer_host() override = default;

  /// That of the wheel; the system's once the execution context is gone.
  virtual net::any_io_executor any_executor() const = 0;

  const std::shared_ptr<callable_memory>& memory_of_callables() const noexcept {
    return callable_memory_;
  }

  handler_memory& memory_of_handlers() noexcept { return *handler_memory_; }

  virtual std::int64_t now_ns() const = 0;

  virtual timer_id schedule_after(std::int64_t delay, callback&& action) = 0;
  virtual timer_id schedule_at_ns(std::int64_t time, callback&& action) = 0;

  /// Sets slots aside, all or none.
  virtual void allocate(std::span<timer_id> slots) = 0;
  virtual void deallocate(std::span<const timer_id> slots) noexcept = 0;

  /// Schedules what each spec describes in the slot of the same number, all or nothing. What
  /// becomes of a timer is told to the watch of the same number, if there are any.
  virtual void schedule(std::span<const timer_id> slots, std::span<timer_spec* const> specs,
                        std::span<const std::shared_ptr<watch>> watches) = 0;

  virtual bool cancel(timer_id id) = 0;

  /// The same, if the timer's callback is still the one that the link is for.
  virtual bool cancel(const timer_link& link) = 0;

  virtual bool postpone_after(timer_id id, std::int64_t delay) = 0;
  virtual bool postpone_after(timer_id id, std::int64_t delay, callback&& action) = 0;

  /// Several at once, under one lock. They return how many did.
  virtual std::size_t cancel(std::span<const timer_id> ids) = 0;
  virtual std::size_t postpone(std::span<postponement> moves) = 0;

  virtual std::optional<std::int64_t> expiry_ns(timer_id id) const = 0;

  /// The watch of a pending timer; null if there is none.
  virtual std::shared_ptr<watch> watch_of(timer_id id) = 0;

  /// Gives the reader that `op` is for its next notice, as soon as there is one. If there is one
  /// already, `op` comes back with it.
  virtual notice_op_ptr wait(watch& of, notice_op_ptr op) = 0;
  virtual void abort_wait(watch& of, std::uint64_t ticket) = 0;

  /// The reader's next notice, if there is one already. It counts as told then.
  virtual std::optional<notice> try_wait(watch& of, notice_cursor& reader) = 0;

  /// Has `listener.on_gone()` called when the wheel ends.
  virtual void follow(std::weak_ptr<notice_listener> listener) = 0;

  /// How far a reader has been told, who may be being told more on another thread.
  virtual notice_cursor copy_of(const notice_cursor& c) const = 0;

protected:
  friend class delivery;

  /// A callable that is due and was sent to its own executor has arrived there.
  virtual void deliver(timer_id id, std::uint32_t claim) = 0;
  virtual void end_delivery() noexcept = 0;

  /// It never will: that executor has destroyed it.
  virtual void lose_delivery(timer_id id, std::uint32_t claim) noexcept = 0;

private:
  // A strand of Asio's allocates what runs a handler with the allocator of that handler, and may be
  // destroyed with the handler first.
  handler_memory::owned handler_memory_{new handler_memory};
  std::shared_ptr<callable_memory> callable_memory_ = std::make_shared<callable_memory>();
};

/// The host that a wheel is the face of.
struct host_access {
  template <class Wheel>
  static std::shared_ptr<timer_host> host_of(const Wheel& wheel) noexcept {
    return wheel.engine_;
  }
};

/// Slots that are given back, unless they were used.
class slots_aside {
public:
  slots_aside(timer_host& host, std::size_t n) : host_{host}, ids_(n) { host_.allocate(ids_); }

  slots_aside(const slots_aside&) = delete;
  slots_aside& operator=(const slots_aside&) = delete;

  ~slots_aside() {
    if (!ids_.empty())
      host_.deallocate(ids_);
  }

  [[nodiscard]] const std::vector<timer_id>& ids() const noexcept { return ids_; }
  std::vector<timer_id> use() noexcept { return std::exchange(ids_, {}); }

private:
  timer_host& host_;
  std::vector<timer_id> ids_;
};

/// The way of a due timer to its callable's own executor, as the handler that is posted there.
class delivery {
public:
  using allocator_type = handler_allocator<void>;

  delivery(std::shared_ptr<timer_host> host, timer_id id, std::uint32_t claim) noexcept
      : host_(std::move(host)), id_{id}, claim_{claim} {}

  delivery(delivery&&) noexcept = default;

  ~delivery() {
    if (host_ == nullptr)
      return;
    if (has_arrived_)
      host_->end_delivery();
    else
      host_->lose_delivery(id_, claim_);
  }

  allocator_type get_allocator() const noexcept {
    return allocator_type(host_->memory_of_handlers());
  }

  void operator()() {
    has_arrived_ = true;
    host_->deliver(id_, claim_);
  }

private:
  std::shared_ptr<timer_host> host_;
  timer_id id_;
  std::uint32_t claim_;
  bool has_arrived_ = false;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_HOST_HPP
