// SPDX-License-Identifier: MIT
//
// use_wheel: which wheel the steady_timers and timeouts of an execution context share; wheel_limit:
// how many of them may be pending.

#ifndef KESTREL_USE_WHEEL_HPP
#define KESTREL_USE_WHEEL_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_wheel.hpp>
#include <kestrel/wheel_config.hpp>

#include <chrono>
#include <cstddef>

KESTREL_BEGIN_NAMESPACE

/// Makes the wheel that `context` shares among its `steady_timer`s and `cancel_after`s, with the
/// given geometry. `l0_tick` is their precision: up to one tick late, never early.
///
/// To be called before the first of them is made, which otherwise makes the default wheel:
///
///     1024 x 1 ms = 1.024 s      128 x 1 s = 128 s
///
/// `Clock` is that of the timers, each of which has a wheel of its own.
///
/// Thread safety: safe.
/// Exceptions: `std::system_error` with the `errc` of the field that makes no sense, or with
/// `errc::wheel_in_use` if there is a wheel of another geometry already; nothing has changed then.
/// The same geometry again is fine.
///
///     asio::io_context io;
///     kestrel::use_wheel(io, kestrel::wheel_config::network_timeouts()); // 5 ms will do
template <class Clock = std::chrono::steady_clock>
void use_wheel(net::execution_context& context, const wheel_config& config) {
  net::use_service<detail::context_wheel<Clock>>(context).configure(config);
}

/// Refuses timers beyond `n` that are pending on that wheel, where others decide how many there
/// are: a server's peers, if there is a timer for each connection. A `steady_timer` counts while it
/// is waited for, whatever the number of its waits, and so does an operation with a `cancel_after`.
/// To the latter, up to 16 `steady_timer`s count whose waits were cancelled lately.
/// Those that are pending remain. At first, 2^30. If there is no wheel yet, it is made, with the
/// default geometry.
///
/// What is refused has not begun: its handler gets `errc::too_many_timers` (see `cancel_after` for
/// operations whose handlers cannot). A timer that is lent to `cancel_after` and refused cancels
/// the operation.
///
/// Thread safety: safe.
///
///     kestrel::wheel_limit(io, 2 * max_connections);
template <class Clock = std::chrono::steady_clock>
void wheel_limit(net::execution_context& context, std::size_t n) {
  net::use_service<detail::context_wheel<Clock>>(context).limit(n);
}

/// How many may be pending.
template <class Clock = std::chrono::steady_clock>
[[nodiscard]] std::size_t wheel_limit(net::execution_context& context) {
  return net::use_service<detail::context_wheel<Clock>>(context).limit();
}

KESTREL_END_NAMESPACE

#endif // KESTREL_USE_WHEEL_HPP
