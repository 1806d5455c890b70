// SPDX-License-Identifier: MIT
//
// block_allocator: hands memory that is there already to what is posted, so that it can be posted
// when there is no other. An io_context needs none besides.

#ifndef KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP
#define KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP

#include <kestrel/detail/no_unique_address.hpp>
#include <kestrel/version.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What an io_context adds to a handler that is posted to it, at most: what it queues handlers
/// with, before it, and a copy of its allocator, behind it.
template <class Posted>
inline constexpr std::size_t posting_overhead = (std::max)(std::size_t{32}, alignof(Posted)) +
                                                sizeof(typename Posted::allocator_type) +
                                                alignof(Posted);

/// Room for a `Posted` on its way, or for something else before it.
template <class Posted, class Before = std::byte>
struct posting_block {
  using holds = Before;
  alignas(std::max_align_t) alignas(Before)
      std::byte bytes[(std::max)(sizeof(Posted) + posting_overhead<Posted>, sizeof(Before))];
};

/// Allocates one block, which `Allocator` was asked for before; and what does not fit into it from
/// there, in place of the block. So it is for one allocation.
template <class T, class Block, class Allocator>
class block_allocator {
  template <class U>
  using rebound = typename std::allocator_traits<Allocator>::template rebind_alloc<U>;

public:
  using value_type = T;

  template <class U>
  struct rebind {
    using other = block_allocator<U, Block, Allocator>;
  };

  block_allocator(Block* block, const Allocator& source) noexcept
      : block_{block}, source_(source) {}

  template <class U>
  block_allocator(const block_allocator<U, Block, Allocator>& other) noexcept
      : block_{other.block_}, source_(other.source_) {}

  T* allocate(std::size_t n) {
    if (fits(n))
      return reinterpret_cast<T*>(block_);
    rebound<Block>(source_).deallocate(block_, 1);
    return rebound<T>(source_).allocate(n);
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if (fits(n))
      rebound<Block>(source_).deallocate(reinterpret_cast<Block*>(p), 1);
    else
      rebound<T>(source_).deallocate(p, n);
  }

  friend bool operator==(const block_allocator& a, const block_allocator& b) noexcept {
    return a.block_ == b.block_;
  }

private:
  template <class, class, class>
  friend class block_allocator;

  static constexpr bool fits(std::size_t n) noexcept {
    return n * sizeof(T) <= sizeof(Block) && alignof(T) <= alignof(Block);
  }

  Block* block_;
  KESTREL_NO_UNIQUE_ADDRESS Allocator source_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP
