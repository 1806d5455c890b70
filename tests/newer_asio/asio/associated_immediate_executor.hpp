// SPDX-License-Identifier: MIT
//
// For tests with an Asio that is too old to have it: associated_immediate_executor, which means
// what it does since Asio 1.28. Without one of its own, a handler's immediate executor is that of
// the operation, which must not call it at once.

#ifndef KESTREL_TESTS_NEWER_ASIO_ASSOCIATED_IMMEDIATE_EXECUTOR_HPP
#define KESTREL_TESTS_NEWER_ASIO_ASSOCIATED_IMMEDIATE_EXECUTOR_HPP

#include <asio/associator.hpp>
#include <asio/execution.hpp>
#include <asio/require.hpp>

#include <functional>
#include <type_traits>

namespace asio {

template <class T, class Executor>
struct associated_immediate_executor;

namespace kestrel_tests_detail {

template <class T, class Executor>
struct immediate_executor_of {
  using type = std::decay_t<decltype(asio::require(std::declval<const Executor&>(),
                                                   execution::blocking.never))>;

  static type get(const T&, const Executor& e) noexcept {
    return asio::require(e, execution::blocking.never);
  }
};

template <class T, class Executor>
requires requires { typename T::immediate_executor_type; }
struct immediate_executor_of<T, Executor> {
  using type = typename T::immediate_executor_type;

  static type get(const T& t, const Executor&) noexcept { return t.get_immediate_executor(); }
};

template <class T, class Executor>
requires requires {
  requires !requires { typename T::immediate_executor_type; };
  typename associator<associated_immediate_executor, T, Executor>::type;
}
struct immediate_executor_of<T, Executor> : associator<associated_immediate_executor, T, Executor> {
};

} // namespace kestrel_tests_detail

template <class T, class Executor>
struct associated_immediate_executor : kestrel_tests_detail::immediate_executor_of<T, Executor> {};

template <class T, class Executor>
struct associated_immediate_executor<std::reference_wrapper<T>, Executor> {
  using type = typename associated_immediate_executor<T, Executor>::type;

  static type get(std::reference_wrapper<T> t, const Executor& e) noexcept {
    return associated_immediate_executor<T, Executor>::get(t.get(), e);
  }
};

template <class T, class Executor>
[[nodiscard]] typename associated_immediate_executor<T, Executor>::type
get_associated_immediate_executor(const T& t, const Executor& e) noexcept {
  return associated_immediate_executor<T, Executor>::get(t, e);
}

template <class T, class Executor>
using associated_immediate_executor_t = typename associated_immediate_executor<T, Executor>::type;

} // namespace asio

#endif // KESTREL_TESTS_NEWER_ASIO_ASSOCIATED_IMMEDIATE_EXECUTOR_HPP
