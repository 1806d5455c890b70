// SPDX-License-Identifier: MIT
//
// page_table: raw pages that never move, found by number. Neighbouring pages come from one
// allocation, so that the system can back them by large pages.

#ifndef KESTREL_DETAIL_PAGE_TABLE_HPP
#define KESTREL_DETAIL_PAGE_TABLE_HPP

#include <kestrel/detail/exceptions.hpp>
#include <kestrel/detail/large_pages.hpp>
#include <kestrel/version.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

template <class Page, class Allocator>
class page_table {
  struct block {
    Page* first;
    std::size_t count;
  };

  using traits = typename std::allocator_traits<Allocator>::template rebind_traits<Page>;
  using allocator_type = typename traits::allocator_type;
  using blocks = std::vector<block, typename traits::template rebind_alloc<block>>;
  using pages = std::vector<Page*, typename traits::template rebind_alloc<Page*>>;

public:
  explicit page_table(const Allocator& allocator)
      : allocator_(allocator), blocks_(allocator), pages_(allocator) {}

  page_table(page_table&& other) noexcept
      : allocator_(std::move(other.allocator_)),
        blocks_(std::move(other.blocks_)),
        pages_(std::move(other.pages_)) {
    other.blocks_.clear();
    other.pages_.clear();
  }

  page_table& operator=(page_table&&) = delete;

  ~page_table() {
    for (const block& b : blocks_)
      traits::deallocate(allocator_, b.first, b.count);
  }

  [[nodiscard]] std::size_t size() const noexcept { return pages_.size(); }

  [[nodiscard]] Page& operator[](std::size_t i) const noexcept { return *pages_[i]; }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return pages_.size() * sizeof(Page) + pages_.capacity() * sizeof(Page*) +
           blocks_.capacity() * sizeof(block);
  }

  /// Strong guarantee. A large step touches no memory but the table's.
  void grow_to(std::size_t n) {
    if (n <= pages_.size())
      return;
    const std::size_t count = n - pages_.size();
    make_room(blocks_, 1);
    make_room(pages_, count);
    Page* first = traits::allocate(allocator_, count);
    prefer_large_pages(first, count * sizeof(Page));
    blocks_.push_back({first, count}); // cannot throw any more
    for (std::size_t i = 0; i != count; ++i)
      pages_.push_back(first + i);
  }

  /// Gives back the pages from number `n` on, as far as what they were allocated with does.
  void shrink_to(std::size_t n) noexcept {
    while (!blocks_.empty() && pages_.size() - blocks_.back().count >= n) {
      const block& last = blocks_.back();
      traits::deallocate(allocator_, last.first, last.count);
      pages_.resize(pages_.size() - last.count);
      blocks_.pop_back();
    }
    KESTREL_TRY {
      blocks_.shrink_to_fit();
      pages_.shrink_to_fit();
    }
    KESTREL_CATCH_ALL {} // then these remain as large as they are
  }

  [[nodiscard]] const allocator_type& get_allocator() const noexcept { return allocator_; }

private:
  template <class Vector>
  static void make_room(Vector& v, std::size_t n) {
    if (v.size() + n > v.capacity())
      v.reserve((std::max)(v.size() + n, 2 * v.size()));
  }

  allocator_type allocator_;
  blocks blocks_;
  pages pages_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_PAGE_TABLE_HPP
