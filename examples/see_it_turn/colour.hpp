// SPDX-License-Identifier: MIT
//
// Colours: 24 bits, mixed linearly, and the scale of heat from nothing to the most there is.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_COLOUR_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_COLOUR_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace turn {

struct colour {
  std::uint8_t red = 0;
  std::uint8_t green = 0;
  std::uint8_t blue = 0;

  friend auto operator<=>(const colour&, const colour&) = default;
};

// From `a` (part 0) to `b` (part 1).
constexpr colour mix(colour a, colour b, double part) {
  const auto between = [part](std::uint8_t x, std::uint8_t y) {
    return static_cast<std::uint8_t>(x + (y - x) * part + 0.5);
  };
  return {between(a.red, b.red), between(a.green, b.green), between(a.blue, b.blue)};
}

// 0 to 1, as eyes weigh it.
constexpr double brightness(colour c) {
  return (0.30 * c.red + 0.59 * c.green + 0.11 * c.blue) / 255;
}

namespace palette {
inline constexpr colour paper{13, 15, 24};
inline constexpr colour empty{27, 30, 44};
inline constexpr colour dim{110, 118, 145};
inline constexpr colour plain{190, 196, 214};
inline constexpr colour bright{245, 247, 255};
inline constexpr colour falling{110, 231, 242};
inline constexpr colour good{118, 211, 128};
} // namespace palette

// `heat` from 0 to 1, in steps that are few enough for a picture to be small.
constexpr colour colour_of_heat(double heat) {
  constexpr std::array<colour, 6> stops{{{45, 27, 78},
                                         {114, 31, 106},
                                         {187, 55, 84},
                                         {238, 105, 37},
                                         {252, 181, 50},
                                         {252, 246, 170}}};
  constexpr int steps = 30;
  const double position = static_cast<int>(std::clamp(heat, 0.0, 1.0) * steps + 0.5) *
                          static_cast<double>(stops.size() - 1) / steps;
  const auto stop = std::min(static_cast<std::size_t>(position), stops.size() - 2);
  return mix(stops[stop], stops[stop + 1], position - static_cast<double>(stop));
}

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_COLOUR_HPP
