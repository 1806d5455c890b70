// SPDX-License-Identifier: MIT
//
// For functions that are short and hot, but have so many callers that GCC would not inline them,
// and for those that are hardly ever called, from the hot ones.

#ifndef KESTREL_DETAIL_ALWAYS_INLINE_HPP
#define KESTREL_DETAIL_ALWAYS_INLINE_HPP

#if defined(__GNUC__)
#define KESTREL_ALWAYS_INLINE [[gnu::always_inline]]
#define KESTREL_COLD [[gnu::noinline, gnu::cold]]
#elif defined(_MSC_VER)
#define KESTREL_ALWAYS_INLINE __forceinline
#define KESTREL_COLD __declspec(noinline)
#else
#define KESTREL_ALWAYS_INLINE
#define KESTREL_COLD
#endif

#endif // KESTREL_DETAIL_ALWAYS_INLINE_HPP
