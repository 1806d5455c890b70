// SPDX-License-Identifier: MIT
//
// Kestrel behind <windows.h>, which has min and max as macros unless it is told not to: that this
// compiles is the test.

// The standard library does not take them, Asio does.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <compare>
#include <concepts>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <ostream>
#include <ranges>
#include <ratio>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <tuple>
#include <vector>
#if __has_include(<format>)
#include <format>
#endif

#include <asio.hpp>

#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))

#include <kestrel/kestrel.hpp>
#include <kestrel/testing.hpp>
