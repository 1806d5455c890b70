// SPDX-License-Identifier: MIT
//
// error_of, message_of: which error a call reports, for tests of what is refused.

#ifndef KESTREL_TESTS_ERROR_OF_HPP
#define KESTREL_TESTS_ERROR_OF_HPP

#include <string>
#include <system_error>

namespace kestrel_tests {

/// The code of the `std::system_error` that `f` throws; none if it throws nothing.
template <class F>
std::error_code error_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.code();
  }
  return {};
}

/// What that exception says.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return e.what();
  }
  return {};
}

} // namespace kestrel_tests

#endif // KESTREL_TESTS_ERROR_OF_HPP
