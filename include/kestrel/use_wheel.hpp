// SPDX-License-Identifier: MIT
//
// use_wheel: which wheel the steady_timers and timeouts of an execution context share.

#ifndef KESTREL_USE_WHEEL_HPP
#define KESTREL_USE_WHEEL_HPP

#include <kestrel/detail/asio.hpp>
#include <kestrel/detail/context_wheel.hpp>
#include <kestrel/wheel_config.hpp>

#include <chrono>

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

KESTREL_END_NAMESPACE

#endif // KESTREL_USE_WHEEL_HPP
