// SPDX-License-Identifier: MIT
//
// byte_reader: numbers from bytes, for tests whose operations are decoded from random bytes or from
// those of a fuzzer.

#ifndef KESTREL_TESTS_BYTE_READER_HPP
#define KESTREL_TESTS_BYTE_READER_HPP

#include <cstddef>
#include <cstdint>
#include <span>

namespace kestrel_tests {

/// Once the bytes are used up there are zeros, which should decode to harmless operations.
class byte_reader {
public:
  explicit byte_reader(std::span<const std::byte> bytes) : bytes_{bytes} {}

  [[nodiscard]] bool done() const { return bytes_.empty(); }

  std::uint64_t number(std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i != width; ++i)
      value = (value << 8) | next();
    return value;
  }

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : number(2) % limit; }

private:
  std::uint64_t next() {
    if (bytes_.empty())
      return 0;
    const std::byte b = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return std::to_integer<std::uint64_t>(b);
  }

  std::span<const std::byte> bytes_;
};

} // namespace kestrel_tests

#endif // KESTREL_TESTS_BYTE_READER_HPP
