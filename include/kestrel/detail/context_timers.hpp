// SPDX-License-Identifier: MIT
//
// context_timers: what stands behind the steady_timers of an execution context. Their waits, under
// the lock of the context's wheel, each timer with one entry in the context's wheel while somebody
// waits.

#ifndef KESTREL_DETAIL_CONTEXT_TIMERS_HPP
#define KESTREL_DETAIL_CONTEXT_TIMERS_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_wheel.hpp>
#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/handler_memory.hpp>
#include <kestrel/detail/pending_timer.hpp>
#include <kestrel/detail/timer_wait.hpp>
#include <kestrel/detail/wait_queue.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/missed_periods.hpp>
#include <kestrel/timer_id.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// A timer that is reset or cancelled loses its waits, and often gets a new one soon. So its entry
/// stays in the wheel meanwhile, idle, and is postponed then. Only a few are kept that way, since
/// an entry that remains idle wakes the context for nothing when its time comes; and none when
/// nobody waits for any timer of the context, since it would keep `run()` from returning. Nor are
/// any under virtual time, which is moved to where an entry is.
///
/// Thread safe.
template <class Clock>
class timer_waits final : public wait_host,
                          public std::enable_shared_from_this<timer_waits<Clock>> {
  using engine = context_engine<Clock>;
  using wait_list = wait_op_list<timer_wait>;

public:
  explicit timer_waits(std::shared_ptr<engine> e)
      : engine_(std::move(e)), shut_down_{engine_->is_shut_down()} {}

  [[nodiscard]] const wheel_clock<Clock>& time() const noexcept { return engine_->time(); }

  // ---- Queues, one for each timer that was waited for

  wait_queue* acquire() {
    const auto lock = engine_->lock();
    return &queues_.acquire();
  }

  /// Cancels its waits.
  void release(wait_queue& queue) {
    cancel(queue);
    const auto lock = engine_->lock();
    if (queue.entry)
      withdraw_idle(queue);
    queues_.release(queue);
  }

  // ---- Waits

  /// All waits of a queue are for the same deadline. One beyond the limit is told so, and that not
  /// under the lock: an exception would end the program if a coroutine is what waits.
  void wait(wait_queue& queue, std::uint64_t deadline, timer_wait_ptr wait) {
    queue.may_wait = true;
    auto lock = engine_->lock();
    if (shut_down_)
      return; // as if it had been there before
    if (queue.waits.empty()) {
      if (const auto refused = refusal_of([&] { file(queue, deadline); })) {
        lock.unlock();
        wait.release()->complete(refused->code());
        return;
      }
    }
    queue.waits.push(std::move(wait));
  }

  /// Cancels all, and returns how many. Handlers are posted, and that not under the lock.
  std::size_t cancel(wait_queue& queue) {
    return std::exchange(queue.may_wait, false) ? cancel_all(queue) : 0;
  }

  /// The one that has waited longest.
  std::size_t cancel_one(wait_queue& queue) {
    return cancel_which(queue, [](wait_list& l) { return l.empty() ? timer_wait_ptr() : l.pop(); });
  }

  std::size_t cancel(wait_queue& queue, std::uint64_t ticket) {
    return cancel_which(queue, [ticket](wait_list& l) { return l.take(ticket); });
  }

  /// The context ends, and with it all waits. Their handlers are destroyed and not called.
  void shutdown() {
    timer_wait* ended = nullptr; // in no wait_op_list: several timers have the same tickets
    {
      const auto lock = engine_->lock();
      shut_down_ = true;
      queues_.for_each([&](wait_queue& queue) {
        while (!queue.waits.empty()) {
          timer_wait* const wait = queue.waits.pop().release();
          wait->sent_next = std::exchange(ended, wait);
        }
        abort_sent(queue);
        queue.entry = timer_id();
      });
      idle_ = {};
    }
    while (ended != nullptr)
      timer_wait_ptr(std::exchange(ended, ended->sent_next)).reset();
  }

private:
  /// What the wheel calls. Until the context ends, the timer is the entry of its queue.
  struct expiry {
    using kestrel_begins_under_lock = void;

    timer_waits* owner;
    wait_queue* queue;

    void prefetch() const noexcept { prefetch_object(queue); }
    void operator()(timer_id entry, running_batch& batch) const {
      owner->expire(*queue, entry, batch);
    }
  };

  /// Under the lock. Handlers are called, or posted, after it. A batch counts as work for those
  /// that it calls: Asio takes what they have posted from other work while they poll a context with
  /// a concurrency hint of 1.
  void expire(wait_queue& queue, timer_id entry, running_batch& batch) {
    if (queue.entry != entry)
      return;
    queue.entry = timer_id();
    if (queue.waits.empty()) {
      idle_.remove(queue);
      return;
    }
    --waiting_;
    withdraw_idle_if_alone();
    wait_list due(std::move(queue.waits));
    timer_wait_ptr first = due.pop();
    if (due.empty() && under_way_ == 0 && first->runs_here()) {
      if (!batch.work)
        batch.work = first->uncounted_work();
      batch.unlock();
      first.release()->call({});
      return;
    }
    timer_wait* sending = first.get();
    queue.sent.push(std::move(first));
    ++under_way_;
    for (timer_wait* last = sending; !due.empty(); last = last->sent_next) {
      timer_wait_ptr next = due.pop();
      last->sent_next = next.get();
      queue.sent.push(std::move(next));
      ++under_way_;
    }
    batch.unlock(); // whoever cancels them now finds all of them on their way
    while (sending != nullptr)
      std::exchange(sending, sending->sent_next)->send(this->shared_from_this(), queue);
  }

  void arrive(wait_queue& queue, timer_wait& wait) noexcept override {
    const auto lock = engine_->lock();
    static_cast<void>(queue.sent.take(wait.ticket()).release());
    --under_way_;
  }

  // ---- Cancelling

  std::size_t cancel_all(wait_queue& queue) {
    auto lock = engine_->lock();
    engine_->locked_prefetch(queue.entry); // for the next wait
    std::size_t cancelled = abort_sent(queue);
    wait_list aborted(std::move(queue.waits));
    std::optional<io_work> work;
    aborted.for_each([&work](const timer_wait& wait) {
      if (!work)
        work = wait.work_while_aborted();
    });
    const bool was_last = !aborted.empty() && make_idle(queue);
    lock.unlock();
    for (; !aborted.empty(); ++cancelled)
      abort(aborted.pop());
    if (was_last)
      tidy();
    return cancelled;
  }

  /// The one that `take` takes out of the list that has it.
  template <class Take>
  std::size_t cancel_which(wait_queue& queue, const Take& take) {
    auto lock = engine_->lock();
    if (timer_wait* const sent = take(queue.sent).release()) {
      sent->aborted = true;
      return 1;
    }
    timer_wait_ptr wait = take(queue.waits);
    if (wait == nullptr)
      return 0;
    const auto work = wait->work_while_aborted();
    const bool was_last = queue.waits.empty() && make_idle(queue);
    lock.unlock();
    abort(std::move(wait));
    if (was_last)
      tidy();
    return 1;
  }

  /// Takes all entries out of the wheel if nobody waits any more. That calls off its driver, whose
  /// handler must come after the aborted ones, since it may find other timers due.
  void tidy() {
    const auto lock = engine_->lock();
    withdraw_idle_if_alone();
  }

  static void abort(timer_wait_ptr wait) noexcept {
    wait.release()->complete(net::error::operation_aborted);
  }

  static std::size_t abort_sent(wait_queue& queue) noexcept {
    std::size_t n = 0;
    for (; !queue.sent.empty(); ++n)
      queue.sent.pop().release()->aborted = true;
    return n;
  }

  // ---- Entries of the wheel, under the lock

  void file(wait_queue& queue, std::uint64_t deadline) {
    if (queue.entry) {
      engine_->locked_postpone_at(queue.entry, deadline);
      idle_.remove(queue);
    } else {
      queue.entry = insert(queue, deadline);
    }
    ++waiting_;
  }

  /// At the limit, an entry that is idle makes room.
  timer_id insert(wait_queue& queue, std::uint64_t deadline) {
    if (engine_->locked_is_full() && idle_.any() != nullptr)
      withdraw_idle(*idle_.any());
    return engine_->locked_schedule_at(deadline, pending_timer(0, missed_periods::skip, false,
                                                               engine_->memory_of_callables(),
                                                               expiry{this, &queue}));
  }

  void withdraw(wait_queue& queue) {
    engine_->locked_cancel(std::exchange(queue.entry, timer_id()));
  }

  void withdraw_idle(wait_queue& queue) {
    idle_.remove(queue);
    withdraw(queue);
  }

  void withdraw_idle_if_alone() {
    while (waiting_ == 0 && idle_.any() != nullptr)
      withdraw_idle(*idle_.any());
  }

  /// True if nobody waits for any timer any more. Then its entry is left to `tidy`.
  bool make_idle(wait_queue& queue) {
    if (wait_queue* const replaced = idle_.add(queue))
      withdraw(*replaced);
    if (--waiting_ == 0)
      return true;
    if (time().is_virtual())
      withdraw_idle(queue);
    return false;
  }

  handler_memory memory_; // of handlers for which there is no room in their queue
  std::shared_ptr<engine> engine_;
  std::size_t waiting_ = 0;   // timers that somebody waits for
  std::size_t under_way_ = 0; // waits that were sent, which later ones must not overtake
  bool shut_down_;            // from the start, if the context was ending by then
  idle_queues idle_;          // have an entry, and nobody waits for them
  wait_queue_pool queues_{memory_};
};

/// Ends the waits with the context. Its timers keep the rest, and may outlive it.
template <class Clock>
class context_timers : public net::execution_context::service {
public:
  inline static net::execution_context::id id;

  explicit context_timers(net::execution_context& context)
      : net::execution_context::service(context),
        waits_(std::make_shared<timer_waits<Clock>>(
            net::use_service<context_wheel<Clock>>(context).get())) {}

  [[nodiscard]] const std::shared_ptr<timer_waits<Clock>>& waits() const noexcept { return waits_; }

private:
  void shutdown() override { waits_->shutdown(); }

  std::shared_ptr<timer_waits<Clock>> waits_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CONTEXT_TIMERS_HPP
