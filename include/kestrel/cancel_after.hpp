// SPDX-License-Identifier: MIT
//
// cancel_after, cancel_at: a timeout for any asynchronous operation, as an adapter of its
// completion token. The interface is that of Asio's own, which newer versions have; this one lives
// on a wheel, so that a timeout that is not needed costs next to nothing.

#ifndef KESTREL_CANCEL_AFTER_HPP
#define KESTREL_CANCEL_AFTER_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/saturate.hpp>
#include <kestrel/detail/timed_operation.hpp>
#include <kestrel/detail/timeout.hpp>
#include <kestrel/detail/timer_host.hpp>
#include <kestrel/error.hpp>
#include <kestrel/timer_wheel.hpp>

#include <chrono>
#include <type_traits>
#include <utility>

KESTREL_BEGIN_NAMESPACE

/// A completion token that cancels the operation it is given to when its time is up, and is
/// otherwise `token`.
template <class CompletionToken, class Timeout = detail::timeout>
struct cancel_after_t {
  /// What the operation completes by.
  CompletionToken token;
  /// When, and by what timer.
  Timeout timeout;
};

/// The same for the operation's default token. Called with another one, it adapts that.
template <class Timeout>
struct basic_partial_cancel_after {
  /// The token that does the same to `token`.
  template <class CompletionToken>
  [[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>, Timeout>
  operator()(CompletionToken&& token) const {
    return {std::forward<CompletionToken>(token), timeout};
  }

  /// When, and by what timer.
  Timeout timeout;
};

/// What `cancel_after(delay)` returns when it is given no token.
using partial_cancel_after = basic_partial_cancel_after<detail::timeout>;

template <class Clock, class Executor>
class basic_wheel_timer;

namespace detail {

template <class Clock, class Executor>
using timeout_after = lent_timeout<basic_wheel_timer<Clock, Executor>, typename Clock::duration>;

template <class Clock, class Executor>
using timeout_at = lent_timeout<basic_wheel_timer<Clock, Executor>, typename Clock::time_point>;

} // namespace detail

/// Cancels the operation if it has not completed `delay` after it was initiated.
///
/// It gets the cancellation that it would get through its slot, of type `terminal` or the one that
/// is given, and completes as it does then: most report `operation_aborted`. An operation whose
/// result is on its way when its time is up completes with that; one that does not heed the
/// cancellation goes on.
///
///     co_await socket.async_read_some(buffer, kestrel::cancel_after(5s, asio::use_awaitable));
///     socket.async_read_some(buffer, kestrel::cancel_after(5s, [](error_code, std::size_t) {}));
///     co_spawn(strand, session(), kestrel::cancel_after(10min, asio::detached));   // all of it
///
/// The completion signature is the operation's. The handler is called once, as the operation calls
/// it, with the executor, the allocator and all else that it is associated with, and never inside
/// its own cancellation. Its cancellation slot works as before, after the timeout too, and from
/// inside a cancellation.
///
/// The timer is on a wheel: the one that is given, or the one that all of an execution context
/// share (see `use_wheel`; it ticks at 1 ms), of the context of the handler's associated executor.
/// For a handler that has none, or one of no context, as that of `use_future`, the operation's
/// stands in, and for an operation that tells none, the system's. The operation is cancelled
/// through that executor, up to one tick late, never early. With Asio 1.22, adapters hide the
/// operation's executor from those inside them: let this be the outermost, or bind the handler to
/// an executor. A wheel that ends takes its timers along, and leaves their operations without a
/// timeout.
///
/// Thread safety: as for all cancellation in Asio, the executor must not run two handlers at a time
/// (one thread, or a strand), and the operation must be one that may be cancelled there. Tokens:
/// distinct objects safe, shared objects unsafe.
/// Complexity: O(1), with a lock of the wheel to initiate and one to complete. Once the wheel has
/// grown, nothing is allocated; no memory is held when the handler is called.
/// Errors: `errc::too_many_timers` beyond the limit of the wheel (`wheel_limit`), and
/// `errc::shut_down` if it has ended: then the operation has not begun, and its handler is told, if
/// it is one of `error_code` or `exception_ptr` and of results that have a default; others are
/// thrown at. Exceptions: `errc::invalid_delay` for a delay that is not a number. The initiating
/// function throws `bad_alloc` and what the operation's throws: no timer is left then, and no
/// handler is called. Lifetime: the timer goes with the operation, also if that is destroyed with
/// its context. A token may outlive its wheel.
///
/// Without a token to adapt, it stands for the operation's default token, `async_wait(cancel_after(
/// 5s))`, and may be given another one later, as `operation | cancel_after(5s)` does for a deferred
/// operation.
template <class Rep, class Period>
[[nodiscard]] partial_cancel_after
cancel_after(const std::chrono::duration<Rep, Period>& delay,
             net::cancellation_type type = net::cancellation_type::terminal) {
  return {{detail::delay_of(delay), false, nullptr, type}};
}

/// @overload
template <class Rep, class Period, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_after(const std::chrono::duration<Rep, Period>& delay, net::cancellation_type type,
             CompletionToken&& token) {
  return cancel_after(delay, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Rep, class Period, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_after(const std::chrono::duration<Rep, Period>& delay, CompletionToken&& token) {
  return cancel_after(delay)(std::forward<CompletionToken>(token));
}

/// The same with a timer on `wheel`, at its precision. If neither the handler nor the operation has
/// an executor, the wheel's is used.
template <class Executor, class Traits, class Rep, class Period>
[[nodiscard]] partial_cancel_after
cancel_after(basic_timer_wheel<Executor, Traits>& wheel,
             const std::chrono::duration<Rep, Period>& delay,
             net::cancellation_type type = net::cancellation_type::terminal) {
  return {{detail::delay_of(delay), false, detail::host_access::host_of(wheel), type}};
}

/// @overload
template <class Executor, class Traits, class Rep, class Period, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_after(basic_timer_wheel<Executor, Traits>& wheel,
             const std::chrono::duration<Rep, Period>& delay, net::cancellation_type type,
             CompletionToken&& token) {
  return cancel_after(wheel, delay, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Executor, class Traits, class Rep, class Period, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_after(basic_timer_wheel<Executor, Traits>& wheel,
             const std::chrono::duration<Rep, Period>& delay, CompletionToken&& token) {
  return cancel_after(wheel, delay)(std::forward<CompletionToken>(token));
}

/// Cancels the operation at `time`, as above: at once if that is over when it is initiated.
template <class Duration>
[[nodiscard]] partial_cancel_after
cancel_at(const std::chrono::time_point<std::chrono::steady_clock, Duration>& time,
          net::cancellation_type type = net::cancellation_type::terminal) {
  return {{detail::instant_of(time), true, nullptr, type}};
}

/// @overload
template <class Duration, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_at(const std::chrono::time_point<std::chrono::steady_clock, Duration>& time,
          net::cancellation_type type, CompletionToken&& token) {
  return cancel_at(time, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Duration, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_at(const std::chrono::time_point<std::chrono::steady_clock, Duration>& time,
          CompletionToken&& token) {
  return cancel_at(time)(std::forward<CompletionToken>(token));
}

/// The same with a timer on `wheel`, at a time of its clock.
template <class Executor, class Traits, class Duration>
[[nodiscard]] partial_cancel_after
cancel_at(basic_timer_wheel<Executor, Traits>& wheel,
          const std::chrono::time_point<typename Traits::clock, Duration>& time,
          net::cancellation_type type = net::cancellation_type::terminal) {
  return {{detail::instant_of(time), true, detail::host_access::host_of(wheel), type}};
}

/// @overload
template <class Executor, class Traits, class Duration, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_at(basic_timer_wheel<Executor, Traits>& wheel,
          const std::chrono::time_point<typename Traits::clock, Duration>& time,
          net::cancellation_type type, CompletionToken&& token) {
  return cancel_at(wheel, time, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Executor, class Traits, class Duration, class CompletionToken>
[[nodiscard]] cancel_after_t<std::decay_t<CompletionToken>>
cancel_at(basic_timer_wheel<Executor, Traits>& wheel,
          const std::chrono::time_point<typename Traits::clock, Duration>& time,
          CompletionToken&& token) {
  return cancel_at(wheel, time)(std::forward<CompletionToken>(token));
}

/// The same by `timer` (kestrel/steady_timer.hpp), which is set to that time when the operation is
/// initiated, and so cancels its waits. It must live until then. Whatever ends its waits later
/// cancels the operation: if it is cancelled, set or destroyed, and so if it is given to another
/// operation. If neither the handler nor the operation has an executor, the timer's is used.
template <class Clock, class Executor, class Rep, class Period>
[[nodiscard]] basic_partial_cancel_after<detail::timeout_after<Clock, Executor>>
cancel_after(basic_wheel_timer<Clock, Executor>& timer,
             const std::chrono::duration<Rep, Period>& delay,
             net::cancellation_type type = net::cancellation_type::terminal) {
  const std::chrono::nanoseconds ns(detail::delay_of(delay));
  return {{&timer, std::chrono::ceil<typename Clock::duration>(ns), type}};
}

/// @overload
template <class Clock, class Executor, class Rep, class Period, class CompletionToken>
[[nodiscard]] auto cancel_after(basic_wheel_timer<Clock, Executor>& timer,
                                const std::chrono::duration<Rep, Period>& delay,
                                net::cancellation_type type, CompletionToken&& token) {
  return cancel_after(timer, delay, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Clock, class Executor, class Rep, class Period, class CompletionToken>
[[nodiscard]] auto cancel_after(basic_wheel_timer<Clock, Executor>& timer,
                                const std::chrono::duration<Rep, Period>& delay,
                                CompletionToken&& token) {
  return cancel_after(timer, delay)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Clock, class Executor, class Duration>
[[nodiscard]] basic_partial_cancel_after<detail::timeout_at<Clock, Executor>>
cancel_at(basic_wheel_timer<Clock, Executor>& timer,
          const std::chrono::time_point<Clock, Duration>& time,
          net::cancellation_type type = net::cancellation_type::terminal) {
  const std::chrono::nanoseconds ns(detail::instant_of(time));
  return {
      {&timer, typename Clock::time_point(std::chrono::ceil<typename Clock::duration>(ns)), type}};
}

/// @overload
template <class Clock, class Executor, class Duration, class CompletionToken>
[[nodiscard]] auto cancel_at(basic_wheel_timer<Clock, Executor>& timer,
                             const std::chrono::time_point<Clock, Duration>& time,
                             net::cancellation_type type, CompletionToken&& token) {
  return cancel_at(timer, time, type)(std::forward<CompletionToken>(token));
}

/// @overload
template <class Clock, class Executor, class Duration, class CompletionToken>
[[nodiscard]] auto cancel_at(basic_wheel_timer<Clock, Executor>& timer,
                             const std::chrono::time_point<Clock, Duration>& time,
                             CompletionToken&& token) {
  return cancel_at(timer, time)(std::forward<CompletionToken>(token));
}

namespace detail {

/// The token of an operation that is given none. Without a default it is deferred, as in newer
/// versions of Asio.
template <class Initiation, class Default = typename net::default_completion_token<
                                typename net::associated_executor<Initiation>::type>::type>
using default_token_for = std::conditional_t<std::is_void_v<Default>, deferred_t, Default>;

} // namespace detail

KESTREL_END_NAMESPACE

KESTREL_BEGIN_ASIO_NAMESPACE

template <class CompletionToken, class Timeout, class... Signatures>
struct async_result<kestrel::cancel_after_t<CompletionToken, Timeout>, Signatures...>
    : async_result<CompletionToken, Signatures...> {
  template <class Initiation, class Token, class... Args>
  static decltype(auto) initiate(Initiation&& initiation, Token&& adapted, Args&&... args) {
    CompletionToken token(std::forward<Token>(adapted).token);
    return async_initiate<CompletionToken, Signatures...>(
        kestrel::detail::initiate_timed<std::decay_t<Initiation>, Timeout, Signatures...>(
            // NOLINTNEXTLINE(bugprone-use-after-move): it is another member
            std::forward<Initiation>(initiation), std::forward<Token>(adapted).timeout),
        token, std::forward<Args>(args)...);
  }
};

template <class Timeout, class... Signatures>
struct async_result<kestrel::basic_partial_cancel_after<Timeout>, Signatures...> {
  template <class Initiation, class... Args>
  static decltype(auto) initiate(Initiation&& initiation,
                                 const kestrel::basic_partial_cancel_after<Timeout>& partial,
                                 Args&&... args) {
    using token = kestrel::detail::default_token_for<std::decay_t<Initiation>>;
    auto adapted = partial(token());
    return async_initiate<decltype(adapted), Signatures...>(std::forward<Initiation>(initiation),
                                                            adapted, std::forward<Args>(args)...);
  }
};

KESTREL_END_ASIO_NAMESPACE

#endif // KESTREL_CANCEL_AFTER_HPP
