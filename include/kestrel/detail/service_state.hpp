// SPDX-License-Identifier: MIT
//
// service_state: the channel of a timer_service. A queue of timers that have fired, each in it at
// most once with the number of its firings, so that it never fills up and nothing is ever lost. A
// channel that holds so many messages must block, drop or allocate when it is full; here, the
// record is made when the timer is scheduled, and a firing cannot fail. Of 100,000 firings at once
// to a consumer that waits for each, Asio's concurrent_channel of 1,000 loses 98,610, or keeps
// 98,997 senders waiting; here it is none (cmake -DBENCH=timer_service -P cmake/bench.cmake).

#ifndef KESTREL_DETAIL_SERVICE_STATE_HPP
#define KESTREL_DETAIL_SERVICE_STATE_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/index_table.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/wait_op.hpp>
#include <kestrel/detail/watch.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_id.hpp>
#include <kestrel/timer_notification.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

using receive_op = wait_op<timer_notification>;

/// What a receiver is told. With an error, there is no notification.
struct received {
  net::error_code error;
  timer_notification notification;
};

template <class Mutex>
class service_state;

/// One timer of the service, for as long as it is pending or waits in the queue.
template <class Mutex>
class subscription final : public notice_listener,
                           public std::enable_shared_from_this<subscription<Mutex>> {
  using state = service_state<Mutex>;

public:
  subscription(std::weak_ptr<state> of, timer_id id, timer_kind kind) noexcept
      : state_(std::move(of)), id_{id}, kind_{kind} {}

  void on_fired(bool last) noexcept override {
    if (const std::shared_ptr<state> there = state_.lock())
      there->fired(*this, last);
  }

  void on_gone() noexcept override {
    if (const std::shared_ptr<state> there = state_.lock())
      there->remove(*this);
  }

private:
  friend state;

  std::weak_ptr<state> state_; // its service may end first
  timer_id id_;
  timer_kind kind_;
  bool pending_ = false;
  std::uint64_t count_ = 0;                    // firings that wait
  std::shared_ptr<subscription> next_;         // in the queue
  std::shared_ptr<subscription> next_pending_; // among those that are
  subscription* previous_pending_ = nullptr;
};

/// Thread safety: shared objects safe, if the mutex is one. Nothing is called, posted or destroyed
/// under its lock.
template <class Mutex>
class service_state final : public notice_listener {
public:
  using subscription = detail::subscription<Mutex>;

  explicit service_state(std::size_t capacity) noexcept : capacity_{capacity} {}

  ~service_state() { // not one inside the other
    while (first_ != nullptr)
      first_ = std::move(first_->next_);
    while (pending_ != nullptr)
      pending_ = std::move(pending_->next_pending_);
  }

  [[nodiscard]] bool owns(timer_id id) const {
    const mutex_guard lock(mutex_);
    subscription* const* const s = by_index_.find(id.index());
    return s != nullptr && *s != nullptr && (*s)->id_ == id;
  }

  [[nodiscard]] std::size_t size() const {
    const mutex_guard lock(mutex_);
    return size_;
  }

  /// Its slot may be that of one whose callback runs, and which is not asked for any more.
  void add(std::shared_ptr<subscription> s) {
    const mutex_guard lock(mutex_);
    if (closed_)
      throw_error(errc::shut_down);
    by_index_.make(s->id_.index()) = s.get();
    s->pending_ = true;
    if (pending_ != nullptr)
      pending_->previous_pending_ = s.get();
    s->next_pending_ = std::move(pending_);
    pending_ = std::move(s);
    ++size_;
  }

  void remove(subscription& s) noexcept {
    std::shared_ptr<subscription> removed;
    const mutex_guard lock(mutex_);
    removed = forget(s);
  }

  void fired(subscription& s, bool last) noexcept {
    wait_op_ptr<receive_op> receiver;
    timer_notification told;
    {
      const mutex_guard lock(mutex_);
      std::shared_ptr<subscription> forgotten = last ? forget(s) : nullptr;
      ++waiting_;
      if (s.count_++ == 0)
        push(forgotten != nullptr ? std::move(forgotten) : s.shared_from_this());
      if (!receivers_.empty()) {
        receiver = receivers_.pop();
        told = pop();
      }
    }
    if (receiver != nullptr)
      receiver.release()->complete({}, told);
  }

  void receive(wait_op_ptr<receive_op> op) {
    std::optional<received> now;
    {
      const mutex_guard lock(mutex_);
      now = receive();
      if (!now)
        return receivers_.push(std::move(op));
    }
    op.release()->complete(now->error, now->notification);
  }

  /// What ends an operation at once, if anything does.
  std::optional<received> receive_now() noexcept {
    const mutex_guard lock(mutex_);
    return receive();
  }

  std::optional<timer_notification> try_receive() noexcept {
    const std::optional<received> now = receive_now();
    return now && !now->error ? std::optional(now->notification) : std::nullopt;
  }

  void abort(std::uint64_t ticket) noexcept {
    wait_op_ptr<receive_op> op;
    {
      const mutex_guard lock(mutex_);
      op = receivers_.take(ticket);
    }
    if (op != nullptr)
      op.release()->complete(net::error::operation_aborted, {});
  }

  /// Nothing is added any more; who waits does so in vain.
  void close() noexcept {
    wait_op_list<receive_op> aborted;
    {
      const mutex_guard lock(mutex_);
      closed_ = true;
      aborted.append(std::move(receivers_));
    }
    while (!aborted.empty())
      aborted.pop().release()->complete(net::error::operation_aborted, {});
  }

  [[nodiscard]] bool is_open() const noexcept {
    const mutex_guard lock(mutex_);
    return !closed_;
  }

  /// Forgets one of the timers that are pending. A default-made id if there are none.
  timer_id take_one() noexcept {
    std::shared_ptr<subscription> taken;
    const mutex_guard lock(mutex_);
    if (pending_ == nullptr)
      return {};
    taken = forget(*pending_);
    return taken->id_;
  }

  void on_fired(bool) noexcept override {}
  void on_gone() noexcept override { close(); } // the wheel is

private:
  /// Null if it was forgotten before.
  std::shared_ptr<subscription> forget(subscription& s) noexcept KESTREL_REQUIRES(mutex_) {
    if (!std::exchange(s.pending_, false))
      return nullptr;
    if (subscription*& at_index = by_index_[s.id_.index()]; at_index == &s)
      at_index = nullptr;
    subscription* const before = std::exchange(s.previous_pending_, nullptr);
    std::shared_ptr<subscription>& link = before != nullptr ? before->next_pending_ : pending_;
    std::shared_ptr<subscription> taken = std::exchange(link, std::move(s.next_pending_));
    if (link != nullptr)
      link->previous_pending_ = before;
    --size_;
    return taken;
  }

  void push(std::shared_ptr<subscription> s) noexcept KESTREL_REQUIRES(mutex_) {
    subscription* const added = s.get();
    if (first_ != nullptr)
      last_->next_ = std::move(s);
    else
      first_ = std::move(s);
    last_ = added;
  }

  std::optional<received> receive() noexcept KESTREL_REQUIRES(mutex_) {
    if (first_ != nullptr)
      return received{{}, pop()};
    if (closed_)
      return received{errc::shut_down, {}};
    return std::nullopt;
  }

  /// The queue is not empty.
  timer_notification pop() noexcept KESTREL_REQUIRES(mutex_) {
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
  mutable guarded_mutex<Mutex> mutex_;
  bool closed_ KESTREL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<subscription> pending_ KESTREL_GUARDED_BY(mutex_); // the latest
  std::size_t size_ KESTREL_GUARDED_BY(mutex_) = 0;                  // how many are
  index_table<subscription*>
      by_index_ KESTREL_GUARDED_BY(mutex_); // the latest of each slot, while it is pending
  std::shared_ptr<subscription>
      first_ KESTREL_GUARDED_BY(mutex_);                    // of those with firings that wait
  subscription* last_ KESTREL_GUARDED_BY(mutex_) = nullptr; // if there is a first one
  std::uint64_t waiting_ KESTREL_GUARDED_BY(mutex_) = 0;    // firings
  wait_op_list<receive_op> receivers_ KESTREL_GUARDED_BY(mutex_);
};

/// Subscribes a service to new timers. Undone unless kept.
template <class Mutex>
class subscriptions {
  using subscription = detail::subscription<Mutex>;

public:
  explicit subscriptions(const std::shared_ptr<service_state<Mutex>>& state) noexcept
      : state_{state} {}

  subscriptions(const subscriptions&) = delete;
  subscriptions& operator=(const subscriptions&) = delete;

  ~subscriptions() {
    for (const std::shared_ptr<subscription>& s : added_)
      state_->remove(*s);
  }

  std::vector<std::shared_ptr<watch>> operator()(std::span<const timer_id> ids,
                                                 std::span<timer_spec* const> specs) {
    std::vector<std::shared_ptr<watch>> watches;
    watches.reserve(ids.size());
    added_.reserve(ids.size());
    for (std::size_t i = 0; i != ids.size(); ++i) {
      const auto kind = specs[i]->interval == 0 ? timer_kind::one_shot : timer_kind::periodic;
      auto s = std::make_shared<subscription>(state_, ids[i], kind);
      watches.push_back(std::make_shared<watch>(s));
      state_->add(s);
      added_.push_back(std::move(s));
    }
    return watches;
  }

  /// The timers were scheduled. If the service was shut down meanwhile, that could not cancel all
  /// of them yet.
  void keep(std::span<const timer_id> ids, timer_host& host) {
    if (state_->is_open())
      return added_.clear();
    for (const timer_id id : ids)
      host.cancel(id);
  }

private:
  const std::shared_ptr<service_state<Mutex>>& state_;
  std::vector<std::shared_ptr<subscription>> added_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_SERVICE_STATE_HPP
