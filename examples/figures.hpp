// SPDX-License-Identifier: MIT
//
// Numbers as the examples print them.

#ifndef KESTREL_EXAMPLES_FIGURES_HPP
#define KESTREL_EXAMPLES_FIGURES_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace figures {

inline std::string fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// 1234567 as "1,234,567"
inline std::string grouped(std::uint64_t n) {
  std::string text = std::to_string(n);
  for (std::size_t i = text.size(); i > 3; i -= 3) {
    text.insert(i - 3, 1, ',');
  }
  return text;
}

inline std::string grouped(double value) {
  return grouped(static_cast<std::uint64_t>(value + 0.5));
}

} // namespace figures

#endif // KESTREL_EXAMPLES_FIGURES_HPP
