// SPDX-License-Identifier: MIT
//
// vacated_places: the places that timers have left, until their entries there are counted as stale.

#ifndef KESTREL_DETAIL_VACATED_PLACES_HPP
#define KESTREL_DETAIL_VACATED_PLACES_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// A few places, see detail::place. The one moved from is empty.
class vacated_places {
public:
  vacated_places() = default;

  vacated_places(vacated_places&& other) noexcept
      : at_{other.at_}, size_{std::exchange(other.size_, 0)} {}

  vacated_places& operator=(vacated_places&&) = delete;
  ~vacated_places() = default;

  [[nodiscard]] bool full() const noexcept { return size_ == at_.size(); }

  void push(std::uint32_t place) noexcept {
    KESTREL_ASSERT(!full());
    at_[size_++] = place;
  }

  void clear() noexcept { size_ = 0; }

  [[nodiscard]] const std::uint32_t* begin() const noexcept { return at_.data(); }
  [[nodiscard]] const std::uint32_t* end() const noexcept { return at_.data() + size_; }

private:
  std::array<std::uint32_t, 128> at_{};
  std::size_t size_ = 0;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_VACATED_PLACES_HPP
