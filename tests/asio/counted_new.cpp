// SPDX-License-Identifier: MIT
//
// The operators new and delete that count, and aligned_alloc, where Asio's recycling allocator gets
// its blocks from. What they hand out comes from malloc, so that the address sanitizer sees it.

#include "counted_new.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

using namespace kestrel_tests;

namespace {

/// Counts an allocation, unless it is to fail.
bool may_allocate() noexcept {
  if (until_failure == 0) {
    if (!fail_for_good)
      until_failure = no_failure;
    return false;
  }
  if (until_failure != no_failure)
    --until_failure;
  ++allocations;
  return true;
}

void* counted(std::size_t size, std::size_t alignment) {
  void* p = nullptr;
  if (alignment > alignof(std::max_align_t))
    p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment); // counts
  else if (may_allocate())
    p = std::malloc(size);
  if (p == nullptr)
    throw std::bad_alloc();
  ++live_blocks;
  for (std::size_t largest = largest_block; size > largest;) {
    if (largest_block.compare_exchange_weak(largest, size))
      break;
  }
  return p;
}

void give_back(void* p) noexcept {
  if (p != nullptr)
    --live_blocks;
  std::free(p);
}

} // namespace

#if defined(__GLIBC__)

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  void* p = nullptr;
  return may_allocate() && posix_memalign(&p, alignment, size) == 0 ? p : nullptr;
}

#endif

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return counted(size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return counted(size, 1);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return operator new(size, std::nothrow);
}
void operator delete(void* p) noexcept { give_back(p); }
void operator delete[](void* p) noexcept { give_back(p); }
void operator delete(void* p, std::size_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t) noexcept { give_back(p); }
void operator delete(void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::align_val_t) noexcept { give_back(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { give_back(p); }
