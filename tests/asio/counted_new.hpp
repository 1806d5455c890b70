// SPDX-License-Identifier: MIT
//
// Every allocation of the program is counted, and may be made to fail. For the one source of a test
// program; not under sanitizers, which replace operator new as well.

#ifndef KESTREL_TESTS_COUNTED_NEW_HPP
#define KESTREL_TESTS_COUNTED_NEW_HPP

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

constexpr long no_failure = -1;
std::atomic<long> allocations{0};
std::atomic<long> live_blocks{0};
thread_local long until_failure = no_failure; // how many more of this thread's succeed
thread_local bool fail_for_good = false;      // and not only the next one after those

void* counted(std::size_t size, std::size_t alignment) {
  if (until_failure == 0) {
    if (!fail_for_good)
      until_failure = no_failure;
    throw std::bad_alloc();
  }
  if (until_failure != no_failure)
    --until_failure;
  void* const p =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr)
    throw std::bad_alloc();
  ++allocations;
  ++live_blocks;
  return p;
}

void give_back(void* p) noexcept {
  if (p != nullptr)
    --live_blocks;
  std::free(p);
}

} // namespace

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

#endif // KESTREL_TESTS_COUNTED_NEW_HPP
