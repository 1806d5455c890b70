// SPDX-License-Identifier: MIT
//
// What a slot of the wheel is made of: an append-only chain of small chunks of 8-byte
// entries, and the pool that the chunks of all slots come from. Filing an entry touches one line,
// dropping a whole chain is O(1), and walking one reads fifteen entries per step of the list.

#ifndef KESTREL_DETAIL_ENTRY_CHAIN_HPP
#define KESTREL_DETAIL_ENTRY_CHAIN_HPP

#include <kestrel/detail/always_inline.hpp>
#include <kestrel/detail/assert.hpp>
#include <kestrel/detail/large_pages.hpp>
#include <kestrel/detail/prefetch.hpp>
#include <kestrel/version.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

KESTREL_BEGIN_NAMESPACE
namespace detail {

/// Says that a timer was filed here. The timer's own record says whether that still holds.
struct entry {
  std::uint32_t index;
  std::uint32_t generation;
};

struct alignas(64) entry_chunk {
  static constexpr std::uint32_t capacity = 15; // two cache lines

  entry_chunk* next;
  entry entries[capacity];
};

/// A circular list of chunks known by its last one, so that both ends are a step away. All chunks
/// but the last are full; what a walk has read of the first one does not count.
struct entry_chain {
  entry_chunk* tail = nullptr;
  std::uint32_t size = 0;
  std::uint32_t room = 0; // for more entries, in the last chunk

  [[nodiscard]] entry_chunk* head() const noexcept {
    return tail != nullptr ? tail->next : nullptr;
  }
};

/// Calls `f` for `count` entries, from `position` in `chunk` on.
template <class F>
void for_each_entry(const entry_chunk* chunk, std::uint32_t position, std::uint32_t count, F&& f) {
  for (; count != 0; --count) {
    f(chunk->entries[position]);
    if (++position == entry_chunk::capacity) {
      position = 0;
      chunk = chunk->next;
    }
  }
}

template <class F>
void for_each_entry(const entry_chain& chain, F&& f) {
  for_each_entry(chain.head(), 0, chain.size, f);
}

/// Goes through a chain ahead of who reads it, a chunk per step, and asks the memory for what the
/// entries name.
class read_ahead {
public:
  read_ahead() = default;

  /// Of the first `count` entries from the start of `chunk` on.
  read_ahead(const entry_chunk* chunk, std::uint32_t count) noexcept
      : chunk_{chunk}, left_{count} {}

  template <class Prefetch>
  void step(Prefetch&& prefetch) noexcept {
    const std::uint32_t count = (std::min)(left_, entry_chunk::capacity);
    for (std::uint32_t i = 0; i != count; ++i)
      prefetch(chunk_->entries[i].index);
    left_ -= count;
    if (left_ == 0)
      return;
    chunk_ = chunk_->next;
    prefetch_ends(chunk_, sizeof(entry_chunk));
  }

private:
  const entry_chunk* chunk_ = nullptr;
  std::uint32_t left_ = 0;
};

/// Owns every chunk. `reserve_entries(n)` is the only operation that allocates; it makes sure that
/// n entries fit however they are spread over `chains` chains and a walk, so that moving entries
/// from slot to slot cannot fail.
template <class Allocator>
class entry_pool {
  using traits = typename std::allocator_traits<Allocator>::template rebind_traits<entry_chunk>;
  using allocator_type = typename traits::allocator_type;

  struct block {
    entry_chunk* chunks;
    std::size_t count;
  };
  using blocks = std::vector<block, typename traits::template rebind_alloc<block>>;

  static constexpr std::size_t walks = 1; // one chain is being read
  static constexpr std::size_t min_block = 16;
  static constexpr std::size_t max_growth = 32768; // 4 MiB at a time

public:
  entry_pool(std::size_t chains, const Allocator& allocator)
      : allocator_(allocator), blocks_(allocator), chains_(chains) {}

  entry_pool(entry_pool&& other) noexcept
      : allocator_(std::move(other.allocator_)),
        blocks_(std::move(other.blocks_)),
        chains_(other.chains_),
        chunks_(std::exchange(other.chunks_, 0)),
        entry_limit_(std::exchange(other.entry_limit_, 0)),
        free_(std::exchange(other.free_, nullptr)),
        fresh_block_(std::exchange(other.fresh_block_, 0)),
        fresh_(std::exchange(other.fresh_, 0)) {
    other.blocks_.clear();
  }

  entry_pool& operator=(entry_pool&&) = delete;

  /// An empty one, for as many chains.
  [[nodiscard]] entry_pool another() const { return entry_pool(chains_, Allocator(allocator_)); }

  /// Of one that was made by `another()`.
  void swap(entry_pool& other) noexcept {
    std::swap(blocks_, other.blocks_);
    std::swap(chunks_, other.chunks_);
    std::swap(entry_limit_, other.entry_limit_);
    std::swap(free_, other.free_);
    std::swap(fresh_block_, other.fresh_block_);
    std::swap(fresh_, other.fresh_);
  }

  ~entry_pool() {
    for (const block& b : blocks_)
      traits::deallocate(allocator_, b.chunks, b.count);
  }

  /// Strong guarantee: on failure the pool is as it was, or larger.
  void reserve_entries(std::size_t n) {
    while (n > entry_limit_)
      grow((std::max)(chunks_for(n), chunks_ + 1) - chunks_);
  }

  /// How many entries are sure to fit.
  [[nodiscard]] std::size_t entry_limit() const noexcept { return entry_limit_; }

  KESTREL_ALWAYS_INLINE void append(entry_chain& chain, entry e) noexcept {
    if (chain.room == 0)
      lengthen(chain);
    chain.tail->entries[entry_chunk::capacity - chain.room] = e;
    --chain.room;
    ++chain.size;
  }

  /// Keeps the entries for which `keep(entry)` holds, in their order; `position` is that of the
  /// first one in its chunk, and 0 afterwards. The chain is not empty.
  template <class Keep, class Prefetch>
  void filter(entry_chain& chain, std::uint32_t position, Keep&& keep,
              Prefetch&& prefetch) noexcept {
    entry_chunk* const head = chain.head();
    entry_chunk* last = nullptr; // the last chunk that holds something
    entry_chunk* to = head;      // where the next entry goes, never ahead of where one is read
    std::uint32_t fill = 0;
    std::uint32_t full = 0; // chunks
    const std::uint32_t end = position + chain.size;
    read_ahead ahead(head, end); // by two chunks, as an entry takes little time
    ahead.step(prefetch);
    ahead.step(prefetch);
    const entry_chunk* from = head;
    for (std::uint32_t left = end; left != 0; from = from->next) {
      const std::uint32_t count = (std::min)(left, entry_chunk::capacity);
      left -= count;
      ahead.step(prefetch);
      for (std::uint32_t i = std::exchange(position, 0); i != count; ++i) {
        const entry e = from->entries[i];
        to->entries[fill] = e;
        fill += keep(e) ? 1u : 0u; // no branch: which ones stay is unpredictable
        if (fill == entry_chunk::capacity) {
          fill = 0;
          ++full;
          last = std::exchange(to, to->next);
        }
      }
    }
    if (fill != 0)
      last = to;
    if (last == nullptr) {
      release(chain);
      return;
    }
    if (last != chain.tail) {
      chain.tail->next = std::exchange(free_, last->next);
      last->next = head;
      chain.tail = last;
    }
    chain.size = full * entry_chunk::capacity + fill;
    chain.room = fill != 0 ? entry_chunk::capacity - fill : 0;
  }

  /// Gives back a whole chain. O(1).
  void release(entry_chain& chain) noexcept {
    if (chain.tail == nullptr)
      return;
    entry_chunk* const head = chain.head();
    chain.tail->next = free_;
    free_ = head;
    chain = {};
  }

  /// Gives back the first chunk of a chain, which was read.
  void release_head(entry_chain& chain) noexcept {
    entry_chunk* const head = chain.head();
    if (head == chain.tail)
      chain = {};
    else
      chain.tail->next = head->next;
    head->next = free_;
    free_ = head;
  }

  [[nodiscard]] std::size_t bytes() const noexcept {
    return chunks_ * sizeof(entry_chunk) + blocks_.capacity() * sizeof(block);
  }

private:
  /// A chunk that was used before, else the next one of the blocks that never were: growing touches
  /// no memory. There is one, see reserve_entries.
  entry_chunk* take() noexcept {
    if (free_ != nullptr) {
      entry_chunk* const chunk = std::exchange(free_, free_->next);
      prefetch_line(free_); // the next call reads it
      return chunk;
    }
    if (fresh_ == blocks_[fresh_block_].count) {
      ++fresh_block_;
      fresh_ = 0;
    }
    KESTREL_ASSERT(fresh_block_ < blocks_.size());
    return ::new (blocks_[fresh_block_].chunks + fresh_++) entry_chunk;
  }

  void lengthen(entry_chain& chain) noexcept {
    entry_chunk* const chunk = take();
    if (chain.tail == nullptr) {
      chunk->next = chunk;
    } else {
      chunk->next = chain.tail->next;
      chain.tail->next = chunk;
    }
    chain.tail = chunk;
    chain.room = entry_chunk::capacity;
  }

  // Full chunks, plus one that is partly filled per chain in use, plus one partly read per walk.
  [[nodiscard]] std::size_t chunks_for(std::size_t n) const noexcept {
    return n / entry_chunk::capacity + (std::min)(n, chains_ + walks) + walks;
  }

  /// Of at least `min_block` chunks.
  [[nodiscard]] std::size_t entries_within(std::size_t chunks) const noexcept {
    // Beyond `chains_ + walks` entries each further chunk holds `capacity` more.
    const std::size_t spread = chains_ + walks;
    if (chunks >= chunks_for(spread))
      return (chunks - spread - walks) * entry_chunk::capacity;
    return (chunks - walks) * entry_chunk::capacity / (entry_chunk::capacity + 1);
  }

  void grow(std::size_t wanted) {
    const std::size_t count = (std::max)(wanted, std::clamp(chunks_ / 8, min_block, max_growth));
    if (blocks_.size() == blocks_.capacity())
      blocks_.reserve(2 * blocks_.size() + 1); // push_back below cannot lose the new block
    blocks_.push_back({traits::allocate(allocator_, count), count});
    prefer_large_pages(blocks_.back().chunks, count * sizeof(entry_chunk));
    chunks_ += count;
    entry_limit_ = entries_within(chunks_);
  }

  allocator_type allocator_;
  blocks blocks_;
  std::size_t chains_;
  std::size_t chunks_ = 0;      // in all blocks
  std::size_t entry_limit_ = 0; // how many entries they are sure to hold
  entry_chunk* free_ = nullptr;
  std::size_t fresh_block_ = 0; // the block whose chunks are being used for the first time
  std::size_t fresh_ = 0;       // the first unused chunk in it
};

/// Consumes a chain from its front. It remembers where it is, so a walk may be left and resumed,
/// entries that belong behind the others may join meanwhile, and those of no use may be cleaned
/// away.
class entry_walk {
public:
  entry_walk() = default;

  explicit entry_walk(entry_chain chain) noexcept
      : chain_{chain}, head_{chain.head()}, ahead_(head_, chain.size) {}

  [[nodiscard]] bool done() const noexcept { return chain_.size == 0; }
  [[nodiscard]] std::uint32_t left() const noexcept { return chain_.size; }

  /// Prefetches what the first chunk names.
  template <class Prefetch>
  void look_ahead(Prefetch&& prefetch) noexcept {
    ahead_.step(prefetch);
  }

  /// The next entry. `prefetch(index)` is called well before that index is returned.
  template <class Pool, class Prefetch>
  entry pop(Pool& pool, Prefetch&& prefetch) noexcept {
    if (position_ == 0)
      ahead_.step(prefetch);
    const entry e = head_->entries[position_];
    --chain_.size;
    previewed_ -= previewed_ != 0 ? 1u : 0u;
    if (++position_ == entry_chunk::capacity || chain_.size == 0) {
      pool.release_head(chain_);
      head_ = chain_.head();
      position_ = 0;
    }
    return e;
  }

  /// Calls `f` for those of the next `n` entries for which that was not done before; for a chunk of
  /// them at most.
  template <class F>
  void preview(std::uint32_t n, F&& f) {
    KESTREL_ASSERT(n <= entry_chunk::capacity);
    for (n = (std::min)(n, chain_.size); previewed_ < n; ++previewed_) {
      const std::uint32_t i = position_ + previewed_;
      f(i < entry_chunk::capacity ? head_->entries[i]
                                  : head_->next->entries[i - entry_chunk::capacity]);
    }
  }

  /// What is left, for more to be appended; it is not empty.
  [[nodiscard]] entry_chain& rest() noexcept { return chain_; }

  /// See entry_pool::filter. The walk is not done.
  template <class Pool, class Keep, class Prefetch>
  void filter(Pool& pool, Keep&& keep, Prefetch&& prefetch) noexcept {
    pool.filter(chain_, std::exchange(position_, 0), keep, prefetch);
    head_ = chain_.head();
    ahead_ = read_ahead(head_, chain_.size);
    previewed_ = 0;
  }

  template <class F>
  void for_each(F&& f) const {
    for_each_entry(head_, position_, chain_.size, f);
  }

private:
  entry_chain chain_;
  entry_chunk* head_ = nullptr; // of the chain
  std::uint32_t position_ = 0;  // of the next entry, in the first chunk
  std::uint32_t previewed_ = 0; // of the entries from there on
  read_ahead ahead_;
};

template <class F>
void for_each_entry(const entry_walk& walk, F&& f) {
  walk.for_each(f);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_ENTRY_CHAIN_HPP
