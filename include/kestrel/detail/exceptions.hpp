// SPDX-License-Identifier: MIT
//
// try, catch (...) and throw, for compilers that were told to do without. What would have thrown
// ends the program there, so that a handler is never reached.

#ifndef KESTREL_DETAIL_EXCEPTIONS_HPP
#define KESTREL_DETAIL_EXCEPTIONS_HPP

#include <kestrel/version.hpp>

#include <optional>
#include <system_error>

#if defined(__cpp_exceptions)
#define KESTREL_TRY try
#define KESTREL_CATCH_ALL catch (...)
#define KESTREL_RETHROW throw
#else
#define KESTREL_TRY if constexpr (true)
#define KESTREL_CATCH_ALL else
#define KESTREL_RETHROW static_cast<void>(0)
#endif

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Calls `f`. Returns the error with which it refuses, if it does.
template <class F>
std::optional<std::system_error> refusal_of(F&& f) {
#if defined(__cpp_exceptions)
  try {
    f();
  } catch (const std::system_error& e) {
    return e;
  }
#else
  f();
#endif
  return std::nullopt;
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_EXCEPTIONS_HPP
