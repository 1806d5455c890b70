// SPDX-License-Identifier: MIT
//
// Boost.Asio for sources that are written for standalone Asio: each of its headers is there under
// the name that standalone Asio has for it, and includes this one.

#ifndef KESTREL_TESTS_ASIO_ON_BOOST_HPP
#define KESTREL_TESTS_ASIO_ON_BOOST_HPP

#include <kestrel/detail/asio.hpp>

namespace asio = kestrel::net;

#if defined(BOOST_ASIO_HAS_CO_AWAIT) && !defined(ASIO_HAS_CO_AWAIT)
#define ASIO_HAS_CO_AWAIT 1
#endif

#endif // KESTREL_TESTS_ASIO_ON_BOOST_HPP
