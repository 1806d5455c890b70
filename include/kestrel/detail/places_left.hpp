// SPDX-License-Identifier: MIT
//
// places_left: a note of where timers were filed that are not there any more, for it to be counted
// later.

#ifndef KESTREL_DETAIL_PLACES_LEFT_HPP
#define KESTREL_DETAIL_PLACES_LEFT_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// A few places, see detail::place. The one moved from is empty.
class places_left {
public:
  places_left() = default;

  places_left(places_left&& other) noexcept
      : at_{other.at_}, size_{std::exchange(other.size_, 0)} {}

  places_left& operator=(places_left&&) = delete;
  ~places_left() = default;

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

#endif // KESTREL_DETAIL_PLACES_LEFT_HPP
