// SPDX-License-Identifier: MIT
//
// For tests with an Asio that is too old to have it: deferred where it is since Asio 1.24.

#ifndef KESTREL_TESTS_NEWER_ASIO_DEFERRED_HPP
#define KESTREL_TESTS_NEWER_ASIO_DEFERRED_HPP

#include <asio/experimental/deferred.hpp>

namespace asio {

using experimental::deferred;
using experimental::deferred_t;

} // namespace asio

#endif // KESTREL_TESTS_NEWER_ASIO_DEFERRED_HPP
