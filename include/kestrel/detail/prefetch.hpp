// SPDX-License-Identifier: MIT
//
// Asks for a cache line ahead of its use, where the compiler knows how.

#ifndef KESTREL_DETAIL_PREFETCH_HPP
#define KESTREL_DETAIL_PREFETCH_HPP

#include <kestrel/version.hpp>

#include <cstddef>

#if !defined(__GNUC__) && (defined(_M_X64) || defined(_M_IX86))
#include <xmmintrin.h>
#endif

KESTREL_BEGIN_NAMESPACE
namespace detail {

inline void prefetch_line([[maybe_unused]] const void* line) noexcept {
#if defined(__GNUC__)
  __builtin_prefetch(line, 1);
  __asm__ volatile(""); // else GCC drops calls of functions that do nothing but this
#elif defined(_M_X64) || defined(_M_IX86)
  _mm_prefetch(static_cast<const char*>(line), _MM_HINT_T0);
#endif
}

/// The lines of the first and the last byte of an object.
inline void prefetch_ends(const void* object, std::size_t size) noexcept {
  prefetch_line(object);
  prefetch_line(static_cast<const char*>(object) + size - 1);
}

/// All the lines of an object, if there is one, that begins at one.
template <class T>
void prefetch_object(const T* object) noexcept {
  if (object == nullptr)
    return;
  for (std::size_t offset = 0; offset < sizeof(T); offset += 64)
    prefetch_line(reinterpret_cast<const char*>(object) + offset);
}

} // namespace detail
KESTREL_END_NAMESPACE

#endif // KESTREL_DETAIL_PREFETCH_HPP
