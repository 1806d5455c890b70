// SPDX-License-Identifier: MIT
//
// The block that a wait is kept in carries its handler when that is posted: it is given back to
// where it is from, and so is what did not fit into it.

#include <kestrel/detail/block_allocator.hpp>

#include <catch.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <new>

namespace {

struct balance {
  int blocks = 0;
  std::size_t bytes = 0;
};

/// Has something of its own, which must live as long as the memory that is from here.
template <class T>
class source {
public:
  using value_type = T;

  explicit source(std::shared_ptr<balance> b) : balance_(std::move(b)) {}
  template <class U>
  source(const source<U>& other) noexcept : balance_(other.balance_) {}

  T* allocate(std::size_t n) {
    ++balance_->blocks;
    balance_->bytes += n * sizeof(T);
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* p, std::size_t n) noexcept {
    --balance_->blocks;
    balance_->bytes -= n * sizeof(T);
    std::allocator<T>().deallocate(p, n);
  }

  friend bool operator==(const source& a, const source& b) noexcept {
    return a.balance_ == b.balance_;
  }

private:
  template <class>
  friend class source;

  std::shared_ptr<balance> balance_;
};

struct block;
template <class T>
using in_block = kestrel::detail::block_allocator<T, block, source<std::byte>>;

struct posted_handler {
  using allocator_type = in_block<void>;
  std::array<std::byte, 40> state;
};

struct block : kestrel::detail::posting_block<posted_handler, source<std::byte>> {};

template <std::size_t Size>
struct operation {
  void* next;
  std::array<std::byte, Size> rest;
};

template <class T>
void give_and_take_back(std::size_t n, bool fits) {
  const auto account = std::make_shared<balance>();
  source<block> from(account);
  in_block<T> allocator = in_block<void>(from.allocate(1), source<std::byte>(account));
  const std::size_t block_alone = account->bytes;
  T* const p = allocator.allocate(n);
  CHECK(account->blocks == 1);
  CHECK((account->bytes == block_alone) == fits);
  for (std::size_t i = 0; i != n; ++i)
    ::new (static_cast<void*>(p + i)) T{};
  in_block<T>(in_block<std::byte>(allocator)).deallocate(p, n);
  CHECK(account->blocks == 0);
  CHECK(account->bytes == 0);
  CHECK(account.use_count() == 2); // this one and that of `from`
}

} // namespace

TEST_CASE("What is posted takes the block of the wait, or memory from where that is", "[waits]") {
  give_and_take_back<operation<8>>(1, true);
  give_and_take_back<operation<40>>(1, true);
  give_and_take_back<operation<500>>(1, false);
  give_and_take_back<operation<8>>(30, false);
}
