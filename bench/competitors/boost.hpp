// SPDX-License-Identifier: MIT
//
// Boost.Asio's steady_timer. Its headers and those of standalone Asio do not go into one source.

#ifndef KESTREL_BENCH_COMPETITORS_BOOST_HPP
#define KESTREL_BENCH_COMPETITORS_BOOST_HPP

#include "../competitor.hpp"

#include <string>

namespace kestrel_bench {

competitor boost_entrant();
std::string boost_version();

} // namespace kestrel_bench

#endif // KESTREL_BENCH_COMPETITORS_BOOST_HPP
