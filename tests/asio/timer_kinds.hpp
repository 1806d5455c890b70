// SPDX-License-Identifier: MIT
//
// asio::steady_timer and kestrel::steady_timer as they are, but on the clock that tests move.

#ifndef KESTREL_TESTS_TIMER_KINDS_HPP
#define KESTREL_TESTS_TIMER_KINDS_HPP

#include "manual_clock.hpp"

#include <kestrel/steady_timer.hpp>

#include <asio/basic_waitable_timer.hpp>

template <>
struct asio::wait_traits<kestrel_tests::manual_clock> : kestrel_tests::manual_wait_traits {};

namespace kestrel_tests {

using asio_timer = asio::basic_waitable_timer<manual_clock>;
using kestrel_timer = kestrel::basic_wheel_timer<manual_clock>;

/// The same on another executor.
template <class Timer, class Executor>
using timer_on = typename Timer::template rebind_executor<Executor>::other;

} // namespace kestrel_tests

#endif // KESTREL_TESTS_TIMER_KINDS_HPP
