// SPDX-License-Identifier: MIT
//
// index_table: values by the index of a timer's id, in pages that are made when they are first
// needed and that never move. Growing costs one page, however many there are.

#ifndef KESTREL_DETAIL_INDEX_TABLE_HPP
#define KESTREL_DETAIL_INDEX_TABLE_HPP

#include <kestrel/detail/assert.hpp>
#include <kestrel/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class T>
class index_table {
  static constexpr std::size_t page_size = 256; // values
  using page = std::array<T, page_size>;

public:
  /// A value at `index`, default-made if there was none. Strong guarantee.
  T& make(std::uint32_t index) {
    const std::size_t number = index / page_size;
    if (number >= pages_.size())
      pages_.resize(number + 1);
    if (pages_[number] == nullptr) {
      pages_[number] = std::make_unique<page>();
      ++made_;
    }
    return (*this)[index];
  }

  /// The one that was made.
  [[nodiscard]] T& operator[](std::uint32_t index) noexcept {
    KESTREL_ASSERT(find(index) != nullptr);
    return (*pages_[index / page_size])[index % page_size];
  }

  /// Null if none was made, nor one close to it.
  [[nodiscard]] T* find(std::uint32_t index) const noexcept {
    const std::size_t number = index / page_size;
    if (number >= pages_.size() || pages_[number] == nullptr)
      return nullptr;
    return &(*pages_[number])[index % page_size];
  }

  template <class F>
  void for_each(F&& f) const {
    for (const std::unique_ptr<page>& p : pages_) {
      if (p == nullptr)
        continue;
      for (const T& value : *p)
        f(value);
    }
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return pages_.capacity() * sizeof(pages_[0]) + made_ * sizeof(page);
  }

private:
  std::vector<std::unique_ptr<page>> pages_; // null where none is needed
  std::size_t made_ = 0;                     // how many are not
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_INDEX_TABLE_HPP
