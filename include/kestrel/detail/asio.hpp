// SPDX-License-Identifier: MIT
//
// The one header that includes Asio and knows its versions. The rest of Kestrel says `net`.
// Needs Asio 1.22.1 or newer.

#ifndef KESTREL_DETAIL_ASIO_HPP
#define KESTREL_DETAIL_ASIO_HPP

#include <kestrel/version.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_executor.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/error_code.hpp>
#include <asio/execution_context.hpp>
#include <asio/post.hpp>
#include <asio/version.hpp>

#if ASIO_VERSION < 102201
#error "Kestrel needs Asio 1.22.1 or newer"
#endif

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#define KESTREL_HAS_CO_AWAIT 1
#endif

KESTREL_BEGIN_NAMESPACE

namespace net = ::asio;

namespace detail {

template <class T>
inline constexpr bool is_awaitable = false;

#if defined(KESTREL_HAS_CO_AWAIT)
template <class T, class Executor>
inline constexpr bool is_awaitable<net::awaitable<T, Executor>> = true;
#endif

/// Stands for "the executor of the wheel" in questions about associated executors.
struct no_executor {};

/// Whether F brings an executor of its own, as the result of `bind_executor` does.
template <class F>
inline constexpr bool has_own_executor =
    !std::is_same_v<typename net::associated_executor<F, no_executor>::type, no_executor>;

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ASIO_HPP
