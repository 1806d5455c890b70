// SPDX-License-Identifier: MIT
//
// completion: what became of a timer, as a wait for its notices is told.

#ifndef KESTREL_COMPLETION_HPP
#define KESTREL_COMPLETION_HPP

#include <kestrel/version.hpp>

#include <cstdint>
#include <ostream>

KESTREL_BEGIN_NAMESPACE

/// `completion::fired`, with how often since the reader was told last, or `completion::cancelled`.
/// Compares with, and switches over, the two names.
class completion {
public:
  /// The two things that can become of a timer.
  enum outcome { fired, cancelled };

  /// Fired once.
  constexpr completion() noexcept = default;
  /// Fired `count` times, or cancelled.
  constexpr completion(outcome o, std::uint64_t count = 1) noexcept
      : outcome_{o}, count_{o == fired ? count : 0} {}

  /// For `==` and `switch`.
  constexpr operator outcome() const noexcept { return outcome_; }

  /// How many firings this tells of: 1, or more if the reader of a periodic timer was slow; 0 for a
  /// cancellation.
  [[nodiscard]] constexpr std::uint64_t count() const noexcept { return count_; }

  /// Prints `fired` or `cancelled`.
  template <class Char, class Traits>
  friend std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& out,
                                                      completion c) {
    return out << (c.outcome_ == fired ? "fired" : "cancelled");
  }

private:
  outcome outcome_ = fired;
  std::uint64_t count_ = 1;
};

KESTREL_END_NAMESPACE

#endif // KESTREL_COMPLETION_HPP
