// SPDX-License-Identifier: MIT
//
// occupancy: which slots of one level hold entries. A bitmap with a summary bit per word, so that
// the next occupied slot is found by two bit scans and empty stretches cost nothing.

#ifndef KESTREL_DETAIL_OCCUPANCY_HPP
#define KESTREL_DETAIL_OCCUPANCY_HPP

#include <kestrel/version.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Allocator>
class occupancy {
  using word = std::uint64_t;
  using words =
      std::vector<word, typename std::allocator_traits<Allocator>::template rebind_alloc<word>>;
  static constexpr std::size_t word_bits = 64;

public:
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

  explicit occupancy(std::size_t bits, const Allocator& allocator)
      : bits_((bits + word_bits - 1) / word_bits, 0, allocator),
        summary_((bits_.size() + word_bits - 1) / word_bits, 0, allocator) {}

  void set(std::size_t i) noexcept {
    bits_[i / word_bits] |= mask(i);
    summary_[i / word_bits / word_bits] |= mask(i / word_bits);
  }

  void clear(std::size_t i) noexcept {
    const std::size_t w = i / word_bits;
    bits_[w] &= ~mask(i);
    if (bits_[w] == 0)
      summary_[w / word_bits] &= ~mask(w);
  }

  [[nodiscard]] bool test(std::size_t i) const noexcept {
    return (bits_[i / word_bits] & mask(i)) != 0;
  }

  /// The first set bit at or after `from`, or none.
  [[nodiscard]] std::size_t find_from(std::size_t from) const noexcept {
    const std::size_t w = from / word_bits;
    if (w >= bits_.size())
      return none;
    if (const word here = bits_[w] & (~word{0} << (from % word_bits)); here != 0)
      return w * word_bits + lowest(here);
    const std::size_t next = find_word_from(w + 1);
    return next == none ? none : next * word_bits + lowest(bits_[next]);
  }

  /// The first set bit at or after `from`, going round to those before it; or none.
  [[nodiscard]] std::size_t find_cyclic(std::size_t from) const noexcept {
    const std::size_t ahead = find_from(from);
    return ahead != none ? ahead : find_from(0);
  }

private:
  static constexpr word mask(std::size_t i) noexcept { return word{1} << (i % word_bits); }

  static std::size_t lowest(word w) noexcept {
    return static_cast<std::size_t>(std::countr_zero(w));
  }

  std::size_t find_word_from(std::size_t w) const noexcept {
    if (w >= bits_.size())
      return none;
    std::size_t s = w / word_bits;
    word here = summary_[s] & (~word{0} << (w % word_bits));
    while (here == 0) {
      if (++s == summary_.size())
        return none;
      here = summary_[s];
    }
    return s * word_bits + lowest(here);
  }

  words bits_;
  words summary_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_OCCUPANCY_HPP
