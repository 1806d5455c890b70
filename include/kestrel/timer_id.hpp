// SPDX-License-Identifier: MIT
//
// timer_id: the name of one timer, a 64-bit value. A slot's index sits in the low half, the
// generation of that slot in the high half, so that an id is recognised as stale once its timer
// has fired or was cancelled. Needs nothing but the standard library.

#ifndef KESTREL_TIMER_ID_HPP
#define KESTREL_TIMER_ID_HPP

#include <kestrel/version.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#if __has_include(<format>)
#include <format>
#endif
#include <functional>
#include <iosfwd>

KESTREL_BEGIN_NAMESPACE

/// Names one timer of one wheel, and never another timer afterwards.
///
/// A default-made id is never valid. Ids are plain values: copy, compare, hash and print them, keep
/// them longer than the timer or the wheel. Wheels start their generations far apart, so an id
/// given to a wheel that did not issue it is unknown there; the two can coincide only after one
/// slot has been used about 2^31 / (number of wheels in the program) times.
///
/// `std::hash` knows them, and `std::format`, where there is one, prints them as `<<` does.
///
/// Thread safety: distinct objects safe, shared objects unsafe, like an integer.
class timer_id {
public:
  constexpr timer_id() noexcept = default;

  /// From its two halves.
  constexpr timer_id(std::uint32_t index, std::uint32_t generation) noexcept
      : value_{(std::uint64_t{generation} << 32) | index} {}

  /// The id whose `value()` is `value`: the way back from a log or a wire format.
  [[nodiscard]] static constexpr timer_id from_value(std::uint64_t value) noexcept {
    return {static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(value >> 32)};
  }

  /// The id as one number, 0 for a default-made one.
  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }

  /// The low half: the slot.
  [[nodiscard]] constexpr std::uint32_t index() const noexcept {
    return static_cast<std::uint32_t>(value_);
  }

  /// The high half: which of the timers that had the slot.
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(value_ >> 32);
  }

  /// False for a default-made id. True says that some wheel issued it, not that its timer is
  /// pending.
  constexpr explicit operator bool() const noexcept { return value_ != 0; }

  /// By value.
  friend constexpr bool operator==(timer_id, timer_id) noexcept = default;
  /// By value: by generation first. The order tells nothing about time.
  friend constexpr auto operator<=>(timer_id, timer_id) noexcept = default;

  /// Prints `index.generation`, both decimal.
  template <class Char, class Traits>
  friend std::basic_ostream<Char, Traits>& operator<<(std::basic_ostream<Char, Traits>& out,
                                                      timer_id id) {
    return out << id.index() << out.widen('.') << id.generation();
  }

private:
  std::uint64_t value_ = 0;
};

KESTREL_END_NAMESPACE

/// @cond
template <>
struct std::hash<kestrel::timer_id> {
  // Indices are dense and generations small steps apart: the multiplication spreads both halves
  // over all bits, for tables that use only the low ones.
  std::size_t operator()(kestrel::timer_id id) const noexcept {
    const std::uint64_t mixed = (id.value() ^ (id.value() >> 32)) * 0x9E3779B97F4A7C15u;
    return static_cast<std::size_t>(mixed ^ (mixed >> 32));
  }
};

#if defined(__cpp_lib_format)
// As `operator<<`. Options are those of a number, for each of the two.
template <class Char>
struct std::formatter<kestrel::timer_id, Char> : std::formatter<std::uint32_t, Char> {
  template <class Context>
  auto format(kestrel::timer_id id, Context& context) const {
    using base = std::formatter<std::uint32_t, Char>;
    auto out = base::format(id.index(), context);
    *out++ = Char('.');
    context.advance_to(out);
    return base::format(id.generation(), context);
  }
};
#endif
/// @endcond

#endif // KESTREL_TIMER_ID_HPP
