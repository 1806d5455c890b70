// SPDX-License-Identifier: MIT
//
// A canvas as text: for a terminal, or without colours for wherever text goes.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_TEXT_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_TEXT_HPP

#include "canvas.hpp"

#include <algorithm>
#include <cstddef>
#include <string>

namespace turn {

inline void append_utf8(std::string& text, char32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) {
    text += static_cast<char>(c);
  } else if (c < 0x800) {
    text += {static_cast<char>(0xc0 | (c >> 6)), tail(0)};
  } else {
    text += {static_cast<char>(0xe0 | (c >> 12)), tail(6), tail(0)};
  }
}

// Of tiles, how bright they are is left.
inline char32_t without_colour(const cell& c) {
  if (c != tile(c.ink)) {
    return c.glyph;
  }
  return U" ·░▒▓█"[std::min(static_cast<std::size_t>(brightness(c.ink) * 7), std::size_t{5})];
}

inline std::string to_plain_text(const canvas& picture) {
  std::string text;
  for (std::size_t y = 0; y != picture.height(); ++y) {
    for (std::size_t x = 0; x != picture.width(); ++x) {
      append_utf8(text, without_colour(picture.at(x, y)));
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

// The escape sequences that turn `before` into `after` where a terminal shows it from its upper
// left corner on: what is the same is not sent again, and what does not fit is left out.
inline std::string to_terminal(const canvas& before, const canvas& after, std::size_t columns,
                               std::size_t rows, bool colours) {
  const auto select = [](int ground, colour c) {
    return std::to_string(ground) + ";2;" + std::to_string(c.red) + ';' + std::to_string(c.green) +
           ';' + std::to_string(c.blue);
  };
  std::string out;
  const cell* last = nullptr;
  for (std::size_t y = 0; y != std::min(rows, after.height()); ++y) {
    bool adjacent = false;
    for (std::size_t x = 0; x != std::min(columns, after.width()); ++x) {
      const cell& c = after.at(x, y);
      if (c == before.at(x, y)) {
        adjacent = false;
        continue;
      }
      if (!adjacent) {
        out += "\x1b[" + std::to_string(y + 1) + ';' + std::to_string(x + 1) + 'H';
        adjacent = true;
      }
      if (colours && (last == nullptr || c.ink != last->ink || c.paper != last->paper)) {
        out += "\x1b[" + select(38, c.ink) + ';' + select(48, c.paper) + 'm';
      }
      append_utf8(out, colours ? c.glyph : without_colour(c));
      last = &c;
    }
  }
  return out;
}

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_TEXT_HPP
