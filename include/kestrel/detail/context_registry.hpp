// SPDX-License-Identifier: MIT
//
// context_registry: tells the wheels of an execution context when that context goes away, so that
// a wheel may outlive it, and what time they go by. A service, as every part of an execution
// context.

#ifndef KESTREL_DETAIL_CONTEXT_REGISTRY_HPP
#define KESTREL_DETAIL_CONTEXT_REGISTRY_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/guarded.hpp>
#include <kestrel/detail/time_source.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What the registry knows of an engine. Members of an intrusive list.
class registered {
public:
  registered() = default;
  registered(const registered&) = delete;
  registered& operator=(const registered&) = delete;

  /// The context is being destroyed: nothing of it may be used after this returns. A member that is
  /// ending already is not called but waited for, until it leaves.
  virtual void on_context_shutdown() noexcept = 0;

protected:
  virtual ~registered() = default;

private:
  friend class context_registry;

  std::weak_ptr<registered> self_; // not empty while in the list
  registered* previous_ = nullptr;
  registered* next_ = nullptr;
};

/// Thread safe.
class context_registry : public net::execution_context::service {
public:
  inline static net::execution_context::id id;

  explicit context_registry(net::execution_context& context)
      : net::execution_context::service(context) {}

  /// One that was made while its context was ending has not been told of that.
  ~context_registry() override { context_registry::shutdown(); }

  /// False if the context is ending: then nothing of it may be used.
  [[nodiscard]] bool join(const std::shared_ptr<registered>& member) {
    const mutex_guard lock(mutex_);
    if (ended_)
      return false;
    member->self_ = member;
    member->next_ = first_;
    if (first_ != nullptr)
      first_->previous_ = member.get();
    first_ = member.get();
    return true;
  }

  /// The last thing of the context that a member may touch, in its destructor.
  void leave(registered& member) noexcept {
    const mutex_guard lock(mutex_);
    unlink(member);
    ++left_;
    left_.notify_all(); // under the lock, since the context may end right after it
  }

  [[nodiscard]] bool has_wheels() const {
    const mutex_guard lock(mutex_);
    return first_ != nullptr;
  }

  /// What wheels that are made from now on go by.
  [[nodiscard]] context_time time() const {
    const mutex_guard lock(mutex_);
    return time_;
  }

  void set_time(context_time time) {
    const mutex_guard lock(mutex_);
    time_ = std::move(time);
  }

private:
  void shutdown() override {
    {
      const mutex_guard lock(mutex_);
      ended_ = true;
    }
    while (const std::shared_ptr<registered> member = take_first())
      member->on_context_shutdown();
  }

  std::shared_ptr<registered> take_first() noexcept {
    const mutex_guard lock(mutex_);
    for (; first_ != nullptr; await_leave()) {
      if (std::shared_ptr<registered> member = first_->self_.lock()) {
        unlink(*member);
        return member;
      }
      // Its last owner lets go of it on another thread. Not up the stack of this one, since an
      // executor does not own its context.
    }
    return nullptr;
  }

  /// Lets go of the lock meanwhile.
  void await_leave() noexcept KESTREL_REQUIRES(mutex_) {
    const unsigned left = left_;
    mutex_.unlock();
    left_.wait(left);
    mutex_.lock();
  }

  void unlink(registered& member) noexcept KESTREL_REQUIRES(mutex_) {
    if (member.previous_ != nullptr)
      member.previous_->next_ = member.next_;
    else if (first_ == &member)
      first_ = member.next_;
    if (member.next_ != nullptr)
      member.next_->previous_ = member.previous_;
    member.previous_ = member.next_ = nullptr;
  }

  mutable guarded_mutex<std::mutex> mutex_;
  std::atomic<unsigned> left_ = 0; // how many have; it may wrap around
  context_time time_ KESTREL_GUARDED_BY(mutex_);
  registered* first_ KESTREL_GUARDED_BY(mutex_) = nullptr;
  bool ended_ KESTREL_GUARDED_BY(mutex_) = false;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_CONTEXT_REGISTRY_HPP
