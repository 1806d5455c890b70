// SPDX-License-Identifier: MIT
//
// A hint to the system: back this memory by large pages if you can. Timers are touched at random,
// and with small pages most of the cost of a big wheel is address translation. Linux; nothing
// elsewhere.

#ifndef KESTREL_DETAIL_LARGE_PAGES_HPP
#define KESTREL_DETAIL_LARGE_PAGES_HPP

#include <kestrel/version.hpp>

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

KESTREL_BEGIN_NAMESPACE
namespace detail {

inline void prefer_large_pages([[maybe_unused]] void* memory,
                               [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t small_page = 4096;
  constexpr std::size_t worth_while = std::size_t{4} << 20; // holds an aligned 2 MiB page for sure
  if (bytes < worth_while)
    return;
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const std::size_t before = (small_page - address % small_page) % small_page; // the first page
  const std::size_t whole_pages = (bytes - before) / small_page * small_page;
  static_cast<void>(
      ::madvise(static_cast<std::byte*>(memory) + before, whole_pages, MADV_HUGEPAGE));
#endif
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_LARGE_PAGES_HPP
