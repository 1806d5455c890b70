// SPDX-License-Identifier: MIT
//
// What is drawn on: a rectangle of characters with an ink and a paper each. It knows nothing of
// terminals or files; text.hpp and svg.hpp turn it into what those show.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_CANVAS_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_CANVAS_HPP

#include "colour.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace turn {

struct cell {
  char32_t glyph = U' ';
  colour ink = palette::plain;
  colour paper = palette::paper;

  friend bool operator==(const cell&, const cell&) = default;
};

// A slot in a heat map: with a shadow, so that rows are told apart.
constexpr cell tile(colour c) { return {U'▀', c, mix(c, palette::paper, 0.7)}; }

class canvas {
public:
  canvas(std::size_t width, std::size_t height) : width_{width}, cells_(width * height) {}

  std::size_t width() const { return width_; }
  std::size_t height() const { return cells_.size() / width_; }

  cell& at(std::size_t x, std::size_t y) { return cells_[y * width_ + x]; }
  const cell& at(std::size_t x, std::size_t y) const { return cells_[y * width_ + x]; }

  void fill(const cell& c) { std::ranges::fill(cells_, c); }

  // Cut off at the right edge. Returns where it ends.
  std::size_t write(std::size_t x, std::size_t y, std::u32string_view text, colour ink) {
    for (const char32_t glyph : text.substr(0, width_ - std::min(width_, x))) {
      at(x, y).glyph = glyph;
      at(x++, y).ink = ink;
    }
    return x;
  }

  std::size_t write(std::size_t x, std::size_t y, std::string_view ascii, colour ink) {
    return write(x, y, std::u32string(ascii.begin(), ascii.end()), ink);
  }

  // Ends before `x`.
  template <class Text>
  void write_before(std::size_t x, std::size_t y, const Text& text, colour ink) {
    write(x - text.size(), y, text, ink);
  }

  // A dot half as high as a character: `half_y` counts those.
  void dot(std::size_t x, std::size_t half_y, colour ink) {
    cell& c = at(x, half_y / 2);
    const bool upper = half_y % 2 == 0;
    if (c.glyph == (upper ? U'▄' : U'▀')) {
      c.paper = ink; // the other half is there
    } else {
      c = {upper ? U'▀' : U'▄', ink, c.paper};
    }
  }

  // A column that stands on the bottom of row `y` and is `height` rows high, to the eighth.
  void column(std::size_t x, std::size_t y, double height, colour ink) {
    for (auto eighths = static_cast<std::size_t>(height * 8 + 0.5); eighths != 0; --y) {
      const std::size_t here = std::min<std::size_t>(eighths, 8);
      at(x, y) = {U" ▁▂▃▄▅▆▇█"[here], ink, at(x, y).paper};
      eighths -= here;
    }
  }

  // A bar that begins at the left of column `x` and is `length` columns long, to the eighth.
  void bar(std::size_t x, std::size_t y, double length, colour ink) {
    for (auto eighths = static_cast<std::size_t>(length * 8 + 0.5); eighths != 0; ++x) {
      const std::size_t here = std::min<std::size_t>(eighths, 8);
      at(x, y) = {U" ▏▎▍▌▋▊▉█"[here], ink, at(x, y).paper};
      eighths -= here;
    }
  }

private:
  std::size_t width_;
  std::vector<cell> cells_;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_CANVAS_HPP
