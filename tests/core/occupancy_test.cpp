// SPDX-License-Identifier: MIT
//
// The bitmap of occupied slots against a plain vector of flags.

#include <kestrel/detail/occupancy.hpp>

#include <catch.hpp>

#include <cstddef>
#include <memory>
#include <random>
#include <vector>

namespace {

using bitmap = kestrel::detail::occupancy<std::allocator<int>>;

std::size_t next_set(const std::vector<bool>& flags, std::size_t from) {
  for (std::size_t i = from; i < flags.size(); ++i) {
    if (flags[i])
      return i;
  }
  return bitmap::none;
}

std::size_t next_set_cyclic(const std::vector<bool>& flags, std::size_t from) {
  const std::size_t ahead = next_set(flags, from);
  return ahead != bitmap::none ? ahead : next_set(flags, 0);
}

// How often the two disagree when asked from everywhere.
std::size_t differences(const bitmap& bits, const std::vector<bool>& flags, std::size_t step) {
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < flags.size(); i += step) {
    wrong += bits.test(i) == flags[i] ? 0u : 1u;
    wrong += bits.find_from(i) == next_set(flags, i) ? 0u : 1u;
    wrong += bits.find_cyclic(i) == next_set_cyclic(flags, i) ? 0u : 1u;
  }
  return wrong + (bits.find_from(flags.size()) == bitmap::none ? 0u : 1u);
}

} // namespace

TEST_CASE("An empty bitmap finds nothing", "[occupancy]") {
  const std::size_t size = GENERATE(as<std::size_t>{}, 1, 2, 64, 512, 4096, 8192, 1u << 20);
  const bitmap bits(size, {});
  CHECK(bits.find_from(0) == bitmap::none);
  CHECK(bits.find_from(size - 1) == bitmap::none);
  CHECK(bits.find_from(size) == bitmap::none);
  CHECK(bits.find_cyclic(size / 2) == bitmap::none);
}

TEST_CASE("A single bit is found from everywhere", "[occupancy]") {
  const std::size_t size = GENERATE(as<std::size_t>{}, 1, 2, 8, 64, 128, 512, 8192);
  std::size_t wrong = 0;
  const std::size_t step = size > 1000 ? 61 : 1;
  for (std::size_t i = 0; i < size; i += step) {
    bitmap bits(size, {});
    std::vector<bool> flags(size);
    bits.set(i);
    flags[i] = true;
    wrong += differences(bits, flags, step);
    bits.clear(i);
    wrong += bits.find_from(0) == bitmap::none ? 0u : 1u;
  }
  CHECK(wrong == 0);
}

TEST_CASE("Any history of setting and clearing is remembered", "[occupancy]") {
  const std::size_t size = GENERATE(as<std::size_t>{}, 1, 4, 64, 512, 4096, 16'384);
  const std::size_t density = GENERATE(as<std::size_t>{}, 2, 20, 1000);
  std::mt19937_64 random(size + density);
  bitmap bits(size, {});
  std::vector<bool> flags(size);
  std::size_t wrong = 0;
  for (int i = 0; i != 4'000; ++i) {
    const std::size_t at = random() % size;
    if (random() % density == 0) {
      bits.set(at);
      flags[at] = true;
    } else {
      const std::size_t set = next_set_cyclic(flags, at);
      if (set != bitmap::none) {
        bits.clear(set);
        flags[set] = false;
      }
    }
    wrong += bits.find_cyclic(at) == next_set_cyclic(flags, at) ? 0u : 1u;
    if (i % 400 == 0)
      wrong += differences(bits, flags, size > 1000 ? 173 : 1);
  }
  CHECK(wrong == 0);
}
