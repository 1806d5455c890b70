// SPDX-License-Identifier: MIT
//
// watch_table: the watches of a wheel's timers, by the index of a timer's id. In pages that are
// made when they are first needed and never move: watching one of millions touches no more than
// one.

#ifndef KESTREL_DETAIL_WATCH_TABLE_HPP
#define KESTREL_DETAIL_WATCH_TABLE_HPP

#include <kestrel/detail/watch.hpp>
#include <kestrel/timer_id.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

class watch_table {
  static constexpr std::size_t page_size = 256;
  using page = std::array<std::shared_ptr<watch>, page_size>;

public:
  /// Strong guarantee.
  void make_room_for(timer_id id) {
    const std::size_t n = id.index() / page_size;
    if (n >= pages_.size())
      pages_.resize(n + 1);
    if (pages_[n] != nullptr)
      return;
    pages_[n] = std::make_unique<page>();
    ++made_;
  }

  /// There is room for it.
  [[nodiscard]] std::shared_ptr<watch>& operator[](timer_id id) noexcept {
    return (*pages_[id.index() / page_size])[id.index() % page_size];
  }

  template <class F>
  void for_each(F&& f) const {
    for (const std::unique_ptr<page>& p : pages_) {
      if (p == nullptr)
        continue;
      for (const std::shared_ptr<watch>& w : *p) {
        if (w != nullptr)
          f(*w);
      }
    }
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return pages_.capacity() * sizeof(pages_[0]) + made_ * sizeof(page);
  }

private:
  std::vector<std::unique_ptr<page>> pages_;
  std::size_t made_ = 0;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_WATCH_TABLE_HPP
