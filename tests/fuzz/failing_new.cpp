// SPDX-License-Identifier: MIT
//
// Operators new and delete, and aligned_alloc, where Asio's recycling allocator gets its blocks
// from. What they hand out comes from malloc, so that sanitizers see it.

#include "failing_new.hpp"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

bool may_allocate() noexcept {
  using namespace kestrel_tests;
  if (until_failure == 0)
    return false;
  if (until_failure != no_failure)
    --until_failure;
  return true;
}

void* aligned(std::size_t alignment, std::size_t size) noexcept {
  void* p = nullptr;
  return may_allocate() && posix_memalign(&p, alignment, size) == 0 ? p : nullptr;
}

void* required(void* p) {
  if (p == nullptr)
    throw std::bad_alloc();
  return p;
}

void* allocate(std::size_t size) { return required(may_allocate() ? std::malloc(size) : nullptr); }

} // namespace

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  return aligned(alignment, size);
}

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, std::align_val_t a) {
  return required(aligned(static_cast<std::size_t>(a), size));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  return required(aligned(static_cast<std::size_t>(a), size));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return may_allocate() ? std::malloc(size) : nullptr;
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return may_allocate() ? std::malloc(size) : nullptr;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
