// SPDX-License-Identifier: MIT
//
// basic_batch_handle: timers that were scheduled together, in the order of their tasks.

#ifndef KESTREL_BATCH_HANDLE_HPP
#define KESTREL_BATCH_HANDLE_HPP

#include <kestrel/detail/batch.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/timer_handle.hpp>
#include <kestrel/timer_id.hpp>

#include <chrono>
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <ranges>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE

/// Names the timers of a batch, as basic_timer_handle names one; each operation on all of them
/// takes the wheel's lock once. A range of handles, in the order of the tasks. It may outlive the
/// wheel; destroying it does not cancel.
///
/// Iterators refer to the batch handle, and not to one that it was moved or copied to; the handles
/// that they make refer to nothing of it.
///
/// Thread safety: distinct objects safe, copies too, if the wheel is; shared objects unsafe.
/// Complexity: O(1) for one handle or step; all else, copying too, is O(size).
/// Exceptions: `bad_alloc`, what copying or moving a callable throws, and the `errc`s below; no
/// timer has changed then. `operator[]`, iterators and moving throw nothing.
///
///     std::vector<kestrel::timer_task> tasks;
///     for (int i = 0; i != 3; ++i)
///       tasks.push_back(kestrel::timer_task::one_shot(30s, [i] { std::cout << i; }));
///     kestrel::batch_handle batch = wheel.schedule(tasks);
///     batch.postpone_each({40s, 50s, 60s});
///     batch[1].cancel();
///     batch.cancel_all(); // 2
template <class Clock, class DefaultToken = detail::default_token<net::any_io_executor>>
class basic_batch_handle {
public:
  /// The handles that it is a range of.
  using value_type = basic_timer_handle<Clock, DefaultToken>;

  /// A random access iterator, but for `reference`, which is no reference.
  class iterator;
  /// The same: handles name timers, and are not changed.
  using const_iterator = iterator;

  /// Names no timers.
  basic_batch_handle() = default;

  /// How many timers it names, pending or not.
  [[nodiscard]] std::size_t size() const noexcept { return ids_.size(); }
  /// Whether it names none.
  [[nodiscard]] bool empty() const noexcept { return ids_.empty(); }

  /// The ids, in the order of the tasks.
  [[nodiscard]] const std::vector<timer_id>& ids() const noexcept { return ids_; }

  /// So that it will do where ids are asked for.
  operator std::vector<timer_id>() const& { return ids_; }
  /// @overload
  operator std::vector<timer_id>() && noexcept { return std::move(ids_); }

  /// A handle of the i-th timer, `i < size()`, which is told everything that happens to it.
  [[nodiscard]] value_type operator[](std::size_t i) const {
    return value_type(host_, ids_[i], watches_[i]);
  }

  /// The first handle.
  [[nodiscard]] iterator begin() const noexcept { return iterator(*this, 0); }
  /// Past the last handle.
  [[nodiscard]] iterator end() const noexcept { return iterator(*this, size()); }

  /// Returns how many were still pending.
  std::size_t cancel_all() const { return empty() ? 0 : host_->cancel(ids_); }

  /// Moves all that are pending to `delay` from now, and returns how many. `errc::invalid_delay` if
  /// it is not a number.
  template <class Rep, class Period>
  std::size_t postpone_all(const std::chrono::duration<Rep, Period>& delay) const {
    detail::postponements moves(host_);
    for (const timer_id id : ids_)
      moves.add(id, delay);
    return moves.apply();
  }

  /// The same with a delay for each: a range of durations, `{1s, 2s}`, or of pairs of a duration
  /// and a callback that replaces the one there is, unless it is an `std::optional` without one. As
  /// many as timers, else `errc::batch_length_mismatch`.
  template <std::ranges::input_range Delays = std::initializer_list<detail::any_delay>>
  std::size_t postpone_each(Delays&& delays) const {
    detail::postponements moves(host_);
    std::size_t n = 0;
    detail::for_each_element(std::forward<Delays>(delays), [&](auto&& delay) {
      detail::require_at_most("delays", n != size(), size());
      moves.add(ids_[n++], std::forward<decltype(delay)>(delay));
    });
    detail::require_same_length("delays", n, "timers", size());
    return moves.apply();
  }

  /// The same with the callbacks in a range of their own.
  template <std::ranges::input_range Delays = std::initializer_list<detail::any_delay>,
            std::ranges::input_range Callbacks>
  std::size_t postpone_each(Delays&& delays, Callbacks&& callbacks) const {
    detail::postponements moves(host_);
    auto callback = std::ranges::begin(callbacks);
    std::size_t n = 0;
    for (auto&& delay : delays) {
      detail::require_at_most("delays", n != size(), size());
      if (callback == std::ranges::end(callbacks))
        detail::require_same_length("callbacks", n, "timers", size());
      moves.add(ids_[n++], delay, detail::element<Callbacks>(callback));
      ++callback;
    }
    detail::require_same_length("delays", n, "timers", size());
    detail::require_at_most("callbacks", callback == std::ranges::end(callbacks), size());
    return moves.apply();
  }

private:
  template <class Executor, class Traits>
  friend class basic_timer_wheel;
  template <class, class, class>
  friend class basic_timer_service;

  basic_batch_handle(std::shared_ptr<detail::timer_host> host, std::vector<timer_id> ids,
                     std::vector<std::shared_ptr<detail::watch>> watches) noexcept
      : host_(std::move(host)), ids_(std::move(ids)), watches_(std::move(watches)) {}

  std::shared_ptr<detail::timer_host> host_;
  std::vector<timer_id> ids_;
  std::vector<std::shared_ptr<detail::watch>> watches_;
};

/// Makes handles as it goes.
template <class Clock, class DefaultToken>
class basic_batch_handle<Clock, DefaultToken>::iterator {
public:
  ///@{
  /// As that of any random access iterator.
  using iterator_concept = std::random_access_iterator_tag;
  using iterator_category = std::input_iterator_tag;
  using value_type = basic_timer_handle<Clock, DefaultToken>;
  using difference_type = std::ptrdiff_t;
  using reference = const value_type; // so that `auto&` takes it too
  ///@}

  /// Keeps the handle that it points to.
  struct pointer {
    value_type made; ///< what `*` makes
    /// That handle.
    const value_type* operator->() const noexcept { return &made; }
  };

  /// Refers to nothing.
  iterator() = default;

  ///@{
  /// As that of any random access iterator, but that handles are made.
  pointer operator->() const { return {**this}; }
  reference operator*() const { return (*batch_)[static_cast<std::size_t>(i_)]; }
  reference operator[](difference_type n) const { return *(*this + n); }

  iterator& operator+=(difference_type n) noexcept {
    i_ += n;
    return *this;
  }
  iterator& operator-=(difference_type n) noexcept { return *this += -n; }
  iterator& operator++() noexcept { return *this += 1; }
  iterator& operator--() noexcept { return *this -= 1; }
  iterator operator++(int) noexcept { return std::exchange(*this, *this + 1); }
  iterator operator--(int) noexcept { return std::exchange(*this, *this - 1); }

  friend iterator operator+(iterator a, difference_type n) noexcept { return a += n; }
  friend iterator operator+(difference_type n, iterator a) noexcept { return a += n; }
  friend iterator operator-(iterator a, difference_type n) noexcept { return a -= n; }
  friend difference_type operator-(const iterator& a, const iterator& b) noexcept {
    return a.i_ - b.i_;
  }
  friend bool operator==(const iterator& a, const iterator& b) noexcept { return a.i_ == b.i_; }
  friend auto operator<=>(const iterator& a, const iterator& b) noexcept { return a.i_ <=> b.i_; }
  ///@}

private:
  friend basic_batch_handle;

  iterator(const basic_batch_handle& batch, std::size_t i) noexcept
      : batch_{&batch}, i_{static_cast<difference_type>(i)} {}

  const basic_batch_handle* batch_ = nullptr;
  difference_type i_ = 0;
};

/// Names timers on `std::chrono::steady_clock`.
using batch_handle = basic_batch_handle<std::chrono::steady_clock>;

KESTREL_END_NAMESPACE

#endif // KESTREL_BATCH_HANDLE_HPP
