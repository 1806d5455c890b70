// SPDX-License-Identifier: MIT
//
// deferred, tupled: completion tokens that older versions of Asio have elsewhere.

#ifndef KESTREL_TESTS_COMPLETION_TOKENS_HPP
#define KESTREL_TESTS_COMPLETION_TOKENS_HPP

#if __has_include(<asio/as_tuple.hpp>)
#include <asio/as_tuple.hpp>
#else
#include <asio/experimental/as_tuple.hpp>
#endif

#if __has_include(<asio/deferred.hpp>)
#include <asio/deferred.hpp>
#else
#include <asio/experimental/deferred.hpp>
#endif

namespace kestrel_tests {

#if __has_include(<asio/deferred.hpp>)
inline constexpr auto deferred = asio::deferred;
#else
inline constexpr auto deferred = asio::experimental::deferred;
#endif

template <class Token>
auto tupled(Token token) {
#if __has_include(<asio/as_tuple.hpp>)
  return asio::as_tuple(token);
#else
  return asio::experimental::as_tuple(token);
#endif
}

} // namespace kestrel_tests

#endif // KESTREL_TESTS_COMPLETION_TOKENS_HPP
