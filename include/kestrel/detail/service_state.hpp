// SPDX-License-Identifier: MIT
//
// service_state: the channel of a timer_service. A queue of timers that have fired, each in it at
// most once with the number of its firings, so that it never fills up and nothing is ever lost. A
// channel that holds so many messages must block, drop or allocate when it is full; here, the
// record is made when the timer is scheduled, and a firing cannot fail.

#ifndef KESTREL_DETAIL_SERVICE_STATE_HPP
#define KESTREL_DETAIL_SERVICE_STATE_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_notification.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

using receive_op = wait_op<timer_notification>;

class service_state;

/// One timer of the service, for as long as it is pending or waits in the queue.
class subscription final : public notice_listener,
                           public std::enable_shared_from_this<subscription> {
public:
  subscription(std::weak_ptr<service_state> state, timer_id id, timer_kind kind) noexcept
      : state_(std::move(state)), id_{id}, kind_{kind} {}

  void on_fired() noexcept override;
  void on_gone() noexcept override;

private:
  friend service_state;

  std::weak_ptr<service_state> state_; // its service may end first
  timer_id id_;
  timer_kind kind_;
  std::uint64_t count_ = 0;            // firings that wait
  std::shared_ptr<subscription> next_; // in the queue
};

/// Thread safety: shared objects safe. Nothing is called, posted or destroyed under its lock.
class service_state final : public notice_listener {
public:
  explicit service_state(std::size_t capacity) noexcept : capacity_{capacity} {}

  ~service_state() { // not one inside the other
    while (first_ != nullptr)
      first_ = std::move(first_->next_);
  }

  [[nodiscard]] bool owns(timer_id id) const {
    const std::lock_guard lock(mutex_);
    return own_.contains(id);
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return own_.size();
  }

  void add(const std::shared_ptr<subscription>& s) {
    const std::lock_guard lock(mutex_);
    if (closed_)
      throw_error(errc::shut_down);
    own_.emplace(s->id_, s);
  }

  void remove(timer_id id) noexcept {
    const std::lock_guard lock(mutex_);
    own_.erase(id);
  }

  void fired(subscription& s) noexcept {
    wait_op_ptr<receive_op> receiver;
    timer_notification told;
    {
      const std::lock_guard lock(mutex_);
      ++waiting_;
      if (s.count_++ == 0)
        push(s.shared_from_this());
      if (!receivers_.empty()) {
        receiver = receivers_.pop();
        told = pop();
      }
    }
    if (receiver != nullptr)
      receiver.release()->complete({}, told);
  }

  void receive(wait_op_ptr<receive_op> op) {
    timer_notification told;
    {
      const std::lock_guard lock(mutex_);
      if (first_ != nullptr)
        told = pop();
      else if (!closed_)
        return receivers_.push(std::move(op));
    }
    op.release()->complete_at_once(told.id ? net::error_code() : net::error_code(errc::shut_down),
                                   told);
  }

  void abort(std::uint64_t ticket) noexcept {
    wait_op_ptr<receive_op> op;
    {
      const std::lock_guard lock(mutex_);
      op = receivers_.take(ticket);
    }
    if (op != nullptr)
      op.release()->complete(net::error::operation_aborted, {});
  }

  /// Nothing is added any more; who waits does so in vain.
  void close() noexcept {
    wait_op_list<receive_op> aborted;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      aborted.append(std::move(receivers_));
    }
    while (!aborted.empty())
      aborted.pop().release()->complete(net::error::operation_aborted, {});
  }

  /// False, and forgets these timers, if it was closed while they were being scheduled.
  bool keep(std::span<const timer_id> ids) noexcept {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      for (const timer_id id : ids)
        own_.erase(id);
    }
    return !closed_;
  }

  /// Forgets one of the timers that are pending. A default-made id if there are none.
  timer_id take_one() noexcept {
    const std::lock_guard lock(mutex_);
    if (own_.empty())
      return {};
    const timer_id id = own_.begin()->first;
    own_.erase(own_.begin());
    return id;
  }

  void on_fired() noexcept override {}
  void on_gone() noexcept override { close(); } // the wheel is

private:
  void push(std::shared_ptr<subscription> s) noexcept {
    subscription* const added = s.get();
    if (first_ != nullptr)
      last_->next_ = std::move(s);
    else
      first_ = std::move(s);
    last_ = added;
  }

  /// The queue is not empty.
  timer_notification pop() noexcept {
    const std::shared_ptr<subscription> s = std::move(first_);
    first_ = std::move(s->next_);
    const std::uint64_t count = waiting_ > capacity_ ? s->count_ : 1;
    waiting_ -= count;
    s->count_ -= count;
    if (s->count_ != 0)
      push(s);
    return {s->id_, s->kind_, count};
  }

  const std::size_t capacity_;
  mutable std::mutex mutex_;
  bool closed_ = false;
  std::unordered_map<timer_id, std::shared_ptr<subscription>> own_; // the pending ones
  std::shared_ptr<subscription> first_;                             // those with firings that wait
  subscription* last_ = nullptr;                                    // if there is a first one
  std::uint64_t waiting_ = 0;                                       // firings
  wait_op_list<receive_op> receivers_;
};

inline void subscription::on_fired() noexcept {
  if (const std::shared_ptr<service_state> state = state_.lock())
    state->fired(*this);
}

inline void subscription::on_gone() noexcept {
  if (const std::shared_ptr<service_state> state = state_.lock())
    state->remove(id_);
}

/// Subscribes a service to new timers. Undone unless kept.
class subscriptions {
public:
  explicit subscriptions(const std::shared_ptr<service_state>& state) noexcept : state_{state} {}

  subscriptions(const subscriptions&) = delete;
  subscriptions& operator=(const subscriptions&) = delete;

  ~subscriptions() {
    for (const timer_id id : added_)
      state_->remove(id);
  }

  std::vector<std::shared_ptr<watch>> operator()(std::span<const timer_id> ids,
                                                 std::span<timer_spec* const> specs) {
    std::vector<std::shared_ptr<watch>> watches;
    watches.reserve(ids.size());
    added_.reserve(ids.size());
    for (std::size_t i = 0; i != ids.size(); ++i) {
      const auto kind = specs[i]->interval == 0 ? timer_kind::one_shot : timer_kind::periodic;
      const auto s = std::make_shared<subscription>(state_, ids[i], kind);
      watches.push_back(std::make_shared<watch>(s));
      state_->add(s);
      added_.push_back(ids[i]);
    }
    return watches;
  }

  /// The timers were scheduled. If the service was shut down meanwhile, that cancelled them.
  void keep(timer_host& host) {
    const std::vector<timer_id> scheduled = std::exchange(added_, {});
    if (state_->keep(scheduled))
      return;
    for (const timer_id id : scheduled)
      host.cancel(id);
  }

private:
  const std::shared_ptr<service_state>& state_;
  std::vector<timer_id> added_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_SERVICE_STATE_HPP
