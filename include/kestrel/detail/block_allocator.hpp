// SPDX-License-Identifier: MIT
//
// block_allocator: hands memory that is there already to what is posted, so that it can be posted
// when there is no other. An io_context needs none besides.

#ifndef KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP
#define KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP

#include <kestrel/version.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// What an io_context makes of a handler that is posted to it, at most.
template <class Posted>
struct queued {
  std::byte link[32];
  Posted handler;
  typename Posted::allocator_type allocator;
};

/// Room for a `Posted` on its way, or for something else before it; and for the allocator that the
/// block is from, since posting copies the one it is given again and again.
template <class Posted, class Source, class Before = std::byte>
struct posting_block {
  using holds = Before;
  alignas(std::max_align_t) alignas(
      Before) std::byte bytes[(std::max)(sizeof(queued<Posted>), sizeof(Before))];
  alignas(Source) std::byte source[sizeof(Source)];
};

/// Allocates one block, which `Source` was asked for before; and what does not fit into it from
/// there, in place of the block. So it is for one allocation.
template <class T, class Block, class Source>
class block_allocator {
  template <class U>
  using rebound = typename std::allocator_traits<Source>::template rebind_alloc<U>;

public:
  using value_type = T;

  template <class U>
  struct rebind {
    using other = block_allocator<U, Block, Source>;
  };

  block_allocator(Block* block, const Source& source) noexcept : block_{block} {
    ::new (static_cast<void*>(block->source)) Source(source);
  }

  template <class U>
  block_allocator(const block_allocator<U, Block, Source>& other) noexcept : block_{other.block_} {}

  T* allocate(std::size_t n) {
    static_assert(alignof(Source) <= alignof(T));
    if (fits(n))
      return reinterpret_cast<T*>(block_);
    const Source source = take(block_->source);
    rebound<Block>(source).deallocate(block_, 1);
    T* const p = rebound<T>(source).allocate(n + more);
    ::new (static_cast<void*>(p + n)) Source(source);
    return p;
  }

  void deallocate(T* p, std::size_t n) noexcept {
    if (fits(n)) {
      const Source source = take(block_->source);
      rebound<Block>(source).deallocate(block_, 1);
    } else {
      const Source source = take(p + n);
      rebound<T>(source).deallocate(p, n + more);
    }
  }

  friend bool operator==(const block_allocator& a, const block_allocator& b) noexcept {
    return a.block_ == b.block_;
  }

private:
  template <class, class, class>
  friend class block_allocator;

  static constexpr bool fits(std::size_t n) noexcept {
    return n * sizeof(T) <= sizeof(Block::bytes) && alignof(T) <= alignof(Block);
  }

  /// Behind what did not fit, there is the source.
  static constexpr std::size_t more = (sizeof(Source) + sizeof(T) - 1) / sizeof(T);

  static Source take(void* place) noexcept {
    Source* const kept = std::launder(static_cast<Source*>(place));
    Source source(std::move(*kept));
    kept->~Source();
    return source;
  }

  Block* block_;
};

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_BLOCK_ALLOCATOR_HPP
