// SPDX-License-Identifier: MIT
//
// Catch2, whichever major version is installed: 3 has many headers, 2 has one.

#ifndef KESTREL_TESTS_CATCH_HPP
#define KESTREL_TESTS_CATCH_HPP

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#endif // KESTREL_TESTS_CATCH_HPP
