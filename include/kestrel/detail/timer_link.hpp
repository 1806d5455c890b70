// SPDX-License-Identifier: MIT
//
// timer_link: what the cancellation slot of a callable knows of its timer. Emitting the slot
// cancels the timer for as long as it has that callable. A link shares no ownership of anything,
// and no slot is touched once its timer was scheduled, since its signal may be gone.

#ifndef KESTREL_DETAIL_TIMER_LINK_HPP
#define KESTREL_DETAIL_TIMER_LINK_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/timer_id.hpp>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Shared by the callback and the handler in the slot. The wheel may be gone, and other callbacks
/// may follow on this one: whether it leads anywhere is known under the wheel's lock only.
class timer_link {
public:
  timer_link(std::weak_ptr<timer_host> host, timer_id id) noexcept
      : host_(std::move(host)), id_{id} {}

  timer_link(const timer_link&) = delete;
  timer_link& operator=(const timer_link&) = delete;

  /// Under the lock, or before the timer is there.
  [[nodiscard]] timer_id id() const noexcept { return id_; }
  void set_id(timer_id id) noexcept { id_ = id; }

  /// The timer has, or will have, another callback or none.
  void cut() noexcept { whole_.store(false, std::memory_order_relaxed); }
  [[nodiscard]] bool is_whole() const noexcept { return whole_.load(std::memory_order_relaxed); }

  /// The slot was emitted.
  void emit(net::cancellation_type) const {
    if (const auto host = host_.lock())
      host->cancel(*this);
  }

private:
  const std::weak_ptr<timer_host> host_;
  timer_id id_;
  std::atomic<bool> whole_{true};
};

/// For a callable F whose coroutines are told as well. As with every coroutine's slot, whoever
/// emits sees to it that none of them begins, runs or ends meanwhile.
template <class F>
class coroutine_link : public timer_link {
public:
  using timer_link::timer_link;

  /// For a coroutine that begins, and that keeps it.
  std::shared_ptr<net::cancellation_signal> make_signal() {
    std::erase_if(coroutines_, [](const auto& c) { return c.expired(); });
    auto made = std::make_shared<net::cancellation_signal>();
    coroutines_.push_back(made);
    return made;
  }

  void emit(net::cancellation_type type) const {
    timer_link::emit(type);
    const auto coroutines = coroutines_; // they may begin others
    for (const auto& c : coroutines) {
      if (const auto signal = c.lock())
        signal->emit(type);
    }
  }

private:
  std::vector<std::weak_ptr<net::cancellation_signal>> coroutines_;
};

/// The link of a callable F, if it has been connected. Nothing at all if F has no slot.
template <class F, class Link>
class link_of {
public:
  /// Has the timer cancelled by whatever is emitted in the slot of `f`. If that throws, the slot is
  /// left without a handler.
  Link* connect(const F& f, timer_host& host, timer_id id) {
    auto slot = net::get_associated_cancellation_slot(f);
    if (!slot.is_connected())
      return nullptr;
    auto link = std::make_shared<Link>(host.weak_from_this(), id);
    slot.assign([link](net::cancellation_type type) {
      const auto kept = link; // the signal may be destroyed with the callback
      if (type != net::cancellation_type::none)
        kept->emit(type);
    });
    link_ = std::move(link);
    return link_.get();
  }

  [[nodiscard]] Link* get() const noexcept { return link_.get(); }

private:
  std::shared_ptr<Link> link_;
};

template <class F, class Link>
requires(!has_cancellation_slot<F>) class link_of<F, Link> {
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_TIMER_LINK_HPP
