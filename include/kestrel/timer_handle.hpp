// SPDX-License-Identifier: MIT
//
// basic_timer_handle: a timer and its wheel in one value. scoped_timer: one that cancels.

#ifndef KESTREL_TIMER_HANDLE_HPP
#define KESTREL_TIMER_HANDLE_HPP

#include <kestrel/completion.hpp>
#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/async_wait.hpp>
#include <kestrel/detail/callback.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/detail/wheel_clock.hpp>
#include <kestrel/timer_id.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE

template <class Executor, class Traits>
class basic_timer_wheel;

/// Names a timer and does to it what its wheel would. Copying it copies the name: destroying a
/// handle does not cancel (see basic_scoped_timer). It may outlive the wheel; then there is no
/// timer.
///
/// Thread safety: distinct objects safe, copies too, if the wheel is; shared objects unsafe.
///
/// It may be a handle of any wheel on its clock: the kind of that wheel's executor is not known.
/// `DefaultToken` is the completion token of a wait without one; handles from a wheel have the
/// wheel's, and convert to handles with another.
///
///     kestrel::timer_handle timer = wheel.schedule(kestrel::timer_task::one_shot(30s, f));
///     timer.postpone(40s);
///     kestrel::completion what = co_await timer.async_wait(asio::use_awaitable);
template <class Clock, class DefaultToken = detail::default_token<net::any_io_executor>>
class basic_timer_handle {
public:
  ///@{
  /// What it is made of; any wheel's executor converts to its own.
  using clock_type = Clock;
  using time_point = typename Clock::time_point;
  using executor_type = net::any_io_executor;
  ///@}

  /// For `as_default_on` and `as_default_on_t` of a completion token.
  template <class Executor>
  struct rebind_executor {
    /// The handle with the default token of `Executor`.
    using other = basic_timer_handle<Clock, detail::default_token<Executor>>;
  };

  /// Names no timer.
  basic_timer_handle() = default;

  /// The one moved from names no wheel any more, and is for destroying and assigning to.
  basic_timer_handle(basic_timer_handle&&) noexcept = default;
  /// @overload
  basic_timer_handle& operator=(basic_timer_handle&&) noexcept = default;

  /// The copy is a reader of its own: it has been told what the original has been told.
  basic_timer_handle(const basic_timer_handle& other)
      : host_(other.host_),
        id_{other.id_},
        watch_(other.watch_),
        cursor_(host_ != nullptr && other.cursor_ != nullptr
                    ? std::make_shared<detail::notice_cursor>(host_->copy_of(*other.cursor_))
                    : nullptr) {}

  /// As the copy constructor.
  basic_timer_handle& operator=(const basic_timer_handle& other) {
    return *this = basic_timer_handle(other);
  }

  /// From one with another default completion token.
  template <class OtherToken>
  requires(!std::is_same_v<OtherToken, DefaultToken>)
      basic_timer_handle(basic_timer_handle<Clock, OtherToken> other)
  noexcept
      : host_(std::move(other.host_)),
        id_{other.id_},
        watch_(std::move(other.watch_)),
        cursor_(std::move(other.cursor_)) {}

  ~basic_timer_handle() = default;

  /// The id of the timer, on its wheel. A default-made one if it names none.
  [[nodiscard]] timer_id id() const noexcept { return id_; }

  /// So that it will do where an id is asked for.
  operator timer_id() const noexcept { return id_; }

  /// The wheel's; once that context is gone, or if no timer is named, the system's.
  [[nodiscard]] executor_type get_executor() const {
    return host_ != nullptr ? host_->any_executor() : executor_type(net::system_executor());
  }

  /// False if it names no timer. True does not say that the timer is still pending.
  explicit operator bool() const noexcept { return static_cast<bool>(id_); }

  /// As `basic_timer_wheel::cancel`.
  bool cancel() const { return host_ != nullptr && host_->cancel(id_); }

  /// As `basic_timer_wheel::postpone`.
  template <class Rep, class Period>
  bool postpone(const std::chrono::duration<Rep, Period>& delay) const {
    return host_ != nullptr && host_->postpone_after(id_, detail::delay_of(delay));
  }

  /// The same, and replaces the callback by `f`.
  template <class Rep, class Period, class F>
  bool postpone(const std::chrono::duration<Rep, Period>& delay, F&& f) const {
    return host_ != nullptr &&
           host_->postpone_after(id_, detail::delay_of(delay),
                                 detail::replacement(*host_, id_, std::forward<F>(f)));
  }

  /// Whether both name the same timer of the same wheel.
  friend bool operator==(const basic_timer_handle& a, const basic_timer_handle& b) noexcept {
    return a.host_ == b.host_ && a.id_ == b.id_;
  }

  /// The deadline, if the timer is pending.
  [[nodiscard]] std::optional<time_point> expiry() const {
    const auto ns = host_ != nullptr ? host_->expiry_ns(id_) : std::nullopt;
    if (!ns)
      return std::nullopt;
    return detail::wheel_clock<Clock>::time_of_ns(*ns);
  }

  /// Waits for what this handle has not been told yet: `void(error_code, completion)`. A handle
  /// from `schedule` is told everything; one from `handle(id)` what happens from its first wait on.
  ///
  /// A firing is told when its callback has run; a callback that is a coroutine, when it has come
  /// to its first suspension or its end. Nothing is lost between two waits: firings are counted,
  /// and a cancellation, or the firing of a one-shot timer, is kept. Each of several waits under
  /// way at once gets the next notice. Errors: `errc::no_such_timer` when all has been told and no
  /// more can come; `operation_aborted` if the wait was cancelled through its slot (of any type:
  /// nothing has been told then), or if the timer ended with its wheel, or with its callback's own
  /// executor. The handler is called exactly once, unless its context is destroyed first: on its
  /// associated executor, else the wheel's (once that context is gone, or if no timer is named, a
  /// thread of the system's executor). Never inside this function, but for a wait that ends at once
  /// and whose handler has an immediate executor that runs it there. To post it on an `io_context`
  /// takes no memory; if another executor has none left for it, the program ends.
  ///
  /// Complexity: O(log n) in the waits that are under way for the timer, also to cut one short.
  template <class CompletionToken = DefaultToken>
  auto async_wait(CompletionToken&& token = CompletionToken()) const {
    begin_to_read();
    return detail::async_wait(host_, watch_, cursor_, std::forward<CompletionToken>(token));
  }

  /// What a wait would be told at once, without waiting; it counts as told then. Nothing if there
  /// is no news yet, or none will come.
  [[nodiscard]] std::optional<completion> try_wait() const {
    begin_to_read();
    const auto news = watch_ != nullptr ? host_->try_wait(*watch_, *cursor_) : std::nullopt;
    return news && !news->error ? std::optional(news->what) : std::nullopt;
  }

private:
  template <class Executor, class Traits>
  friend class basic_timer_wheel;
  template <class, class>
  friend class basic_batch_handle;
  template <class, class>
  friend class basic_timer_handle;

  basic_timer_handle(std::shared_ptr<detail::timer_host> host, timer_id id,
                     std::shared_ptr<detail::watch> watch) noexcept
      : host_(std::move(host)), id_{id}, watch_(std::move(watch)) {}

  void begin_to_read() const {
    if (cursor_ == nullptr) {
      cursor_ = std::make_shared<detail::notice_cursor>();
      if (watch_ == nullptr)
        cursor_->seen = detail::notice_cursor::from_now_on;
    }
    if (watch_ == nullptr && host_ != nullptr)
      watch_ = host_->watch_of(id_);
  }

  std::shared_ptr<detail::timer_host> host_;
  timer_id id_;
  // How far it has been told; what it names does not change by that.
  mutable std::shared_ptr<detail::watch> watch_;          // null: not looked for yet
  mutable std::shared_ptr<detail::notice_cursor> cursor_; // null until the first wait
};

/// The handle of timers on `std::chrono::steady_clock`.
using timer_handle = basic_timer_handle<std::chrono::steady_clock>;

/// Owns a timer: cancels it when it is destroyed, for a member of the object that the callback
/// refers to. Move-only.
///
/// After `cancel`, or the destructor, the callback will not start; one that has started on another
/// thread is not waited for. Thread safety: distinct objects safe, if the wheel is; shared objects
/// unsafe.
///
///     struct session {
///       void on_data() { idle.postpone(30s); }
///       kestrel::scoped_timer idle; // = wheel.schedule(one_shot(30s, [this] { close(); }))
///     };
template <class Clock, class DefaultToken = detail::default_token<net::any_io_executor>>
class basic_scoped_timer {
public:
  /// The handle that it holds.
  using handle_type = basic_timer_handle<Clock, DefaultToken>;

  /// Owns no timer.
  basic_scoped_timer() = default;

  /// Owns the timer that `timer` names.
  basic_scoped_timer(handle_type timer) noexcept : timer_(std::move(timer)) {}

  /// Owns the timer of `wheel` that `id` names.
  template <class Executor, class Traits>
  basic_scoped_timer(basic_timer_wheel<Executor, Traits>& wheel, timer_id id)
      : timer_(wheel.handle(id)) {}

  /// The one moved from owns none.
  basic_scoped_timer(basic_scoped_timer&& other) noexcept
      : timer_(std::exchange(other.timer_, {})) {}

  /// Cancels the timer it had.
  basic_scoped_timer& operator=(basic_scoped_timer&& other) noexcept {
    basic_scoped_timer moved(std::move(other));
    std::swap(timer_, moved.timer_);
    return *this;
  }

  ~basic_scoped_timer() { timer_.cancel(); }

  /// The id of the timer, a default-made one if there is none.
  [[nodiscard]] timer_id id() const noexcept { return timer_.id(); }
  /// Whether it owns a timer, pending or not.
  explicit operator bool() const noexcept { return static_cast<bool>(timer_); }

  /// As `basic_timer_wheel::cancel`.
  bool cancel() { return timer_.cancel(); }

  /// As `basic_timer_wheel::postpone`, with a callback or without.
  template <class Rep, class Period, class... F>
  bool postpone(const std::chrono::duration<Rep, Period>& delay, F&&... f) {
    return timer_.postpone(delay, std::forward<F>(f)...);
  }

  /// The deadline, if the timer is pending.
  [[nodiscard]] auto expiry() const { return timer_.expiry(); }

  /// As `basic_timer_handle::async_wait`.
  template <class CompletionToken = DefaultToken>
  auto async_wait(CompletionToken&& token = CompletionToken()) {
    return timer_.async_wait(std::forward<CompletionToken>(token));
  }

  /// As `basic_timer_handle::try_wait`.
  [[nodiscard]] std::optional<completion> try_wait() { return timer_.try_wait(); }

  /// Leaves the timer alone from now on.
  handle_type release() noexcept { return std::exchange(timer_, {}); }

private:
  handle_type timer_;
};

/// The owner of a timer on `std::chrono::steady_clock`.
using scoped_timer = basic_scoped_timer<std::chrono::steady_clock>;

KESTREL_END_NAMESPACE

#endif // KESTREL_TIMER_HANDLE_HPP
