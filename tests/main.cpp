// SPDX-License-Identifier: MIT
//
// The main() of all tests where Catch2 2 is used; Catch2 3 has one of its own.

#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
