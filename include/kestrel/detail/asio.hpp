// SPDX-License-Identifier: MIT
//
// The one header that includes Asio and knows its versions: standalone Asio 1.22.1 or newer, or,
// where KESTREL_USE_BOOST_ASIO is defined, Boost.Asio 1.81 or newer. The rest of Kestrel says
// `net`, and uses nothing that Asio has deprecated (it compiles with ASIO_NO_DEPRECATED).

#ifndef KESTREL_DETAIL_ASIO_HPP
#define KESTREL_DETAIL_ASIO_HPP

#include <kestrel/version.hpp>

#include <type_traits>
#include <typeinfo>

#if defined(KESTREL_USE_BOOST_ASIO)

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/associator.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/bind_allocator.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/system_executor.hpp>
#include <boost/asio/version.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <boost/version.hpp>

#if BOOST_VERSION < 108100
#error "Kestrel needs Boost 1.81 or newer"
#endif

#if __has_include(<boost/asio/deferred.hpp>)
#include <boost/asio/deferred.hpp>
#define KESTREL_HAS_DEFERRED 1
#else
#include <boost/asio/experimental/deferred.hpp>
#endif

#if defined(BOOST_ASIO_HAS_CO_AWAIT)
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#define KESTREL_HAS_CO_AWAIT 1
#endif

#if __has_include(<boost/asio/associated_immediate_executor.hpp>)
#include <boost/asio/associated_immediate_executor.hpp>
#include <boost/asio/bind_immediate_executor.hpp>
#define KESTREL_HAS_IMMEDIATE_EXECUTOR 1
#endif

#else

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/associator.hpp>
#include <asio/async_result.hpp>
#include <asio/basic_waitable_timer.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/bind_executor.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/dispatch.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/execution.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>
#include <asio/query.hpp>
#include <asio/system_error.hpp>
#include <asio/system_executor.hpp>
#include <asio/version.hpp>

#if ASIO_VERSION < 102201
#error "Kestrel needs Asio 1.22.1 or newer"
#endif

#if __has_include(<asio/deferred.hpp>)
#include <asio/deferred.hpp>
#define KESTREL_HAS_DEFERRED 1
#else
#include <asio/experimental/deferred.hpp>
#endif

#if defined(ASIO_HAS_CO_AWAIT)
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#define KESTREL_HAS_CO_AWAIT 1
#endif

#if __has_include(<asio/associated_immediate_executor.hpp>)
#include <asio/associated_immediate_executor.hpp>
#include <asio/bind_immediate_executor.hpp>
#define KESTREL_HAS_IMMEDIATE_EXECUTOR 1
#endif

#endif // defined(KESTREL_USE_BOOST_ASIO)

// Names that are deprecated, Asio has unless it is told to leave them out; so has what stands for
// something of Asio's.
#if defined(KESTREL_USE_BOOST_ASIO) && !defined(BOOST_ASIO_NO_DEPRECATED) ||                       \
    !defined(KESTREL_USE_BOOST_ASIO) && !defined(ASIO_NO_DEPRECATED)
#define KESTREL_HAS_DEPRECATED 1
#endif

// To specialise its templates, between these two.
#if defined(KESTREL_USE_BOOST_ASIO)
#define KESTREL_BEGIN_ASIO_NAMESPACE namespace boost::asio {
#else
#define KESTREL_BEGIN_ASIO_NAMESPACE namespace asio {
#endif
#define KESTREL_END_ASIO_NAMESPACE }

KESTREL_BEGIN_NAMESPACE

#if defined(KESTREL_USE_BOOST_ASIO)
/// Boost.Asio under the names of standalone Asio, which has these two in its own namespace. What a
/// `std::error_code` says, those of `errc` among them, survives the way through the one of Boost.
namespace net {
using namespace ::boost::asio;
using ::boost::system::error_code;
using ::boost::system::system_error;
} // namespace net
#else
namespace net = ::asio;
#endif

namespace detail {

#if defined(KESTREL_HAS_DEFERRED)
using net::deferred_t;
#else
using net::experimental::deferred_t;
#endif

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

/// Stands for none in questions about associated cancellation slots.
struct no_slot {};

/// Whether F brings a cancellation slot, as the result of `bind_cancellation_slot` does.
template <class F>
inline constexpr bool has_cancellation_slot =
    !std::is_same_v<typename net::associated_cancellation_slot<F, no_slot>::type, no_slot>;

/// Whether F says where it runs when an operation ends at once, as the result of
/// `bind_immediate_executor` does.
#if defined(KESTREL_HAS_IMMEDIATE_EXECUTOR)
template <class F>
inline constexpr bool has_immediate_executor =
    !std::is_same_v<typename net::associated_immediate_executor<F, net::any_io_executor>::type,
                    net::any_io_executor> ||
    std::is_same_v<typename net::associated_immediate_executor<F, net::system_executor>::type,
                   net::any_io_executor>;

template <class F>
auto immediate_executor_of(const F& f) noexcept {
  return net::get_associated_immediate_executor(f, net::any_io_executor());
}
#else
template <class F>
inline constexpr bool has_immediate_executor = false;

template <class F>
net::any_io_executor immediate_executor_of(const F& f) noexcept; // nobody has one
#endif

/// The Executor inside an `executor`, or null if it holds another or there is no RTTI to tell.
template <class Executor>
const Executor* target_of([[maybe_unused]] const net::any_io_executor& executor) noexcept {
#if defined(ASIO_NO_TYPEID) || defined(BOOST_ASIO_NO_TYPEID)
  return nullptr;
#else
  // Asio 1.22's target() does not look at the type.
  return executor.target_type() == typeid(Executor) ? executor.target<Executor>() : nullptr;
#endif
}

using io_executor = net::io_context::executor_type;

/// The executor of an io_context that `executor` is, or null if it is another or nobody can tell.
template <class Executor>
const io_executor* io_executor_of([[maybe_unused]] const Executor& executor) noexcept {
  if constexpr (std::is_same_v<Executor, io_executor>)
    return &executor;
  else if constexpr (std::is_same_v<Executor, net::any_io_executor>)
    return target_of<io_executor>(executor);
  else
    return nullptr;
}

/// The same, or null if its context is not that of `other`.
template <class Executor, class Other>
const io_executor* io_executor_beside(const Executor& own, const Other& other) noexcept {
  const net::execution_context& context = net::query(other, net::execution::context);
  const io_executor* const io = io_executor_of(own);
  return io != nullptr && &net::query(*io, net::execution::context) == &context ? io : nullptr;
}

/// Whether moving an F throws nothing. Asio's binders do not say so, but throw only what the
/// callable in them throws.
template <class F>
inline constexpr bool moves_without_throwing = std::is_nothrow_move_constructible_v<F>;

template <class F, class T>
inline constexpr bool moves_without_throwing<net::executor_binder<F, T>> =
    moves_without_throwing<F>;

template <class F, class T>
inline constexpr bool moves_without_throwing<net::allocator_binder<F, T>> =
    moves_without_throwing<F>;

template <class F, class T>
inline constexpr bool moves_without_throwing<net::cancellation_slot_binder<F, T>> =
    moves_without_throwing<F>;

#if defined(KESTREL_HAS_IMMEDIATE_EXECUTOR)
template <class F, class T>
inline constexpr bool moves_without_throwing<net::immediate_executor_binder<F, T>> =
    moves_without_throwing<F>;
#endif

/// The completion token of an operation that is given none; void if it must be given one.
template <class Executor>
using default_token = typename net::default_completion_token<Executor>::type;

} // namespace detail

KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ASIO_HPP
