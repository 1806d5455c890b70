// SPDX-License-Identifier: MIT
//
// For functions that are short and hot, but have so many callers that GCC would not inline them.

#ifndef KESTREL_DETAIL_ALWAYS_INLINE_HPP
#define KESTREL_DETAIL_ALWAYS_INLINE_HPP

#if defined(__GNUC__)
#define KESTREL_ALWAYS_INLINE [[gnu::always_inline]]
#else
#define KESTREL_ALWAYS_INLINE
#endif

#endif // KESTREL_DETAIL_ALWAYS_INLINE_HPP
