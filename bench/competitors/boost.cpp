// SPDX-License-Identifier: MIT

#include "boost.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/version.hpp>

#include "steady_timer.hpp"

#include <string>

namespace kestrel_bench {

competitor boost_entrant() {
  return entrant<steady_timers<boost::asio::steady_timer, boost::asio::io_context>>(
      "boost", "Boost.Asio's", million);
}

std::string boost_version() { return BOOST_LIB_VERSION; }

} // namespace kestrel_bench
