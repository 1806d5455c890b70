// SPDX-License-Identifier: MIT
//
// A canvas as an SVG picture. Blocks are drawn as shapes, all of one colour in one path, so that
// they are seamless whatever the font; only text is text.

#ifndef KESTREL_EXAMPLES_SEE_IT_TURN_SVG_HPP
#define KESTREL_EXAMPLES_SEE_IT_TURN_SVG_HPP

#include "canvas.hpp"
#include "text.hpp"

#include <cstddef>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>

namespace turn {

class svg {
public:
  explicit svg(const canvas& picture) {
    for (std::size_t y = 0; y != picture.height(); ++y) {
      for (std::size_t x = 0; x != picture.width(); ++x) {
        draw_cell(x, y, picture.at(x, y));
      }
      for (std::size_t x = 0; x != picture.width();) {
        x = write_run(picture, x, y);
      }
    }
    const std::string size = "width=\"" + std::to_string(picture.width() * column) +
                             "\" height=\"" + std::to_string(picture.height() * row) + '"';
    text_ = "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + " viewBox=\"0 0 " +
            std::to_string(picture.width() * column) + ' ' +
            std::to_string(picture.height() * row) +
            "\" font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\""
            " font-size=\"15\">\n<rect " +
            size + " rx=\"10\" fill=\"" + hex(palette::paper) + "\"/>\n";
    for (const paths& layer : {papers_, inks_}) {
      for (const auto& [ink, path] : layer) {
        text_ += "<path fill=\"" + hex(ink) + "\" d=\"" + path + "\"/>\n";
      }
    }
    text_ += runs_ + "</svg>\n";
  }

  const std::string& text() const { return text_; }

private:
  static constexpr std::size_t column = 9; // pixels
  static constexpr std::size_t row = 18;

  static std::string hex(colour c) {
    char text[8];
    std::snprintf(text, sizeof text, "#%02x%02x%02x", c.red, c.green, c.blue);
    return text;
  }

  static bool is_block(char32_t c) { return c >= U'▀' && c <= U'▏'; }

  static std::string pixels(double n) {
    char text[16];
    std::snprintf(text, sizeof text, "%.4g", n);
    return text;
  }

  using paths = std::map<colour, std::string>;

  // In parts of the cell.
  static void fill(std::string& path, std::size_t x, std::size_t y, double top, double width,
                   double height) {
    const double w = width * column;
    path += 'M' + std::to_string(x * column) + ' ' + pixels((static_cast<double>(y) + top) * row) +
            'h' + pixels(w) + 'v' + pixels(height * row) + "h-" + pixels(w) + 'z';
  }

  void draw_cell(std::size_t x, std::size_t y, const cell& c) {
    if (c.paper != palette::paper) {
      fill(papers_[c.paper], x, y, 0, 1, 1);
    }
    if (c.glyph == U'▀') {
      fill(inks_[c.ink], x, y, 0, 1, 0.5);
    } else if (c.glyph > U'▀' && c.glyph <= U'█') {
      const double part = static_cast<double>(c.glyph - U'▀') / 8;
      fill(inks_[c.ink], x, y, 1 - part, 1, part);
    } else if (is_block(c.glyph)) {
      fill(inks_[c.ink], x, y, 0, 1 - static_cast<double>(c.glyph - U'█') / 8, 1);
    }
  }

  static bool is_text(const cell& c, colour ink) {
    return c.glyph != U' ' && !is_block(c.glyph) && c.ink == ink;
  }

  // Words of one colour that begin at `x`; returns where they end. They are made as wide as they
  // are in a terminal, whatever the font.
  std::size_t write_run(const canvas& picture, std::size_t x, std::size_t y) {
    const colour ink = picture.at(x, y).ink;
    if (!is_text(picture.at(x, y), ink)) {
      return x + 1;
    }
    std::string run;
    std::size_t end = x;
    const auto goes_on = [&](std::size_t from) {
      return from < picture.width() && is_text(picture.at(from, y), ink);
    };
    const auto is_space = [&] { return end < picture.width() && picture.at(end, y).glyph == U' '; };
    while (goes_on(end) || (is_space() && goes_on(end + 1))) {
      append_escaped(run, picture.at(end++, y).glyph);
    }
    runs_ += "<text x=\"" + std::to_string(x * column) + "\" y=\"" + std::to_string(y * row + 14) +
             "\" fill=\"" + hex(ink) + "\" textLength=\"" + std::to_string((end - x) * column) +
             "\">" + run + "</text>\n";
    return end;
  }

  static void append_escaped(std::string& text, char32_t c) {
    if (c == U'<') {
      text += "&lt;";
    } else if (c == U'&') {
      text += "&amp;";
    } else {
      append_utf8(text, c);
    }
  }

  paths papers_;
  paths inks_;
  std::string runs_;
  std::string text_;
};

} // namespace turn

#endif // KESTREL_EXAMPLES_SEE_IT_TURN_SVG_HPP
