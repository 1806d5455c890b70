// SPDX-License-Identifier: MIT
//
// What a fuzz target is, for libFuzzer and for the replay of a corpus. A target defines `fuzz`;
// what that throws is what it has found.

#ifndef KESTREL_TESTS_FUZZ_TARGET_HPP
#define KESTREL_TESTS_FUZZ_TARGET_HPP

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>

namespace kestrel_tests {

void fuzz(std::span<const std::byte> bytes);

} // namespace kestrel_tests

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    kestrel_tests::fuzz(std::as_bytes(std::span(data, size)));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "found: %s\n", e.what());
    std::abort();
  }
  return 0;
}

#endif // KESTREL_TESTS_FUZZ_TARGET_HPP
