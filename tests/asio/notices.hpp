// SPDX-License-Identifier: MIT
//
// What the tests of waiting share: a notice as a value that compares and prints, and those who
// write down what they are told.

#ifndef KESTREL_TESTS_NOTICES_HPP
#define KESTREL_TESTS_NOTICES_HPP

#include "manual_clock.hpp"

#include <asio/error.hpp>

#include <cstdint>
#include <ostream>
#include <utility>
#include <vector>

namespace kestrel_tests {

/// What the handler of a wait is called with. With an error, the completion says nothing.
struct notice {
  asio::error_code error;
  kestrel::completion what;

  friend bool operator==(const notice& a, const notice& b) {
    return a.error == b.error &&
           (a.error || (a.what == b.what && a.what.count() == b.what.count()));
  }

  friend std::ostream& operator<<(std::ostream& out, const notice& n) {
    if (n.error)
      return out << n.error.message();
    return out << n.what << " x " << n.what.count();
  }
};

inline notice fired(std::uint64_t count = 1) { return {{}, {kestrel::completion::fired, count}}; }

inline const notice cancelled{{}, kestrel::completion::cancelled};
inline const notice gone{kestrel::make_error_code(kestrel::errc::no_such_timer), {}};
inline const notice aborted{asio::error::operation_aborted, {}};

/// Notices in the order they came in.
struct notices : std::vector<notice> {
  using std::vector<notice>::vector;

  /// A handler that notes what it is told.
  auto note() {
    return [this](asio::error_code ec, kestrel::completion c) { push_back({ec, c}); };
  }
};

/// Waits again each time it is told something, until it is told of an error, or of far too much.
template <class Handle>
class reader {
public:
  explicit reader(Handle timer) : timer_(std::move(timer)) { read(); }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  notices told;

private:
  void read() {
    timer_.async_wait([this](asio::error_code ec, kestrel::completion c) {
      told.push_back({ec, c});
      if (!ec && told.size() != 1000)
        read();
    });
  }

  Handle timer_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_NOTICES_HPP
