// SPDX-License-Identifier: MIT
//
// Asks for a cache line ahead of its use, where the compiler knows how.

#ifndef KESTREL_DETAIL_PREFETCH_HPP
#define KESTREL_DETAIL_PREFETCH_HPP

#include <kestrel/version.hpp>

KESTREL_BEGIN_NAMESPACE
namespace detail {

inline void prefetch_line([[maybe_unused]] const void* line) noexcept {
#if defined(__GNUC__)
  __builtin_prefetch(line, 1);
  __asm__ volatile(""); // else GCC drops calls of functions that do nothing but this
#endif
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_PREFETCH_HPP
