// SPDX-License-Identifier: MIT
//
// Whether the thread sanitizer or the address sanitizer watches, and how much less tests of threads
// then do.

#ifndef KESTREL_TESTS_SANITIZERS_HPP
#define KESTREL_TESTS_SANITIZERS_HPP

#if defined(__SANITIZE_THREAD__)
inline constexpr bool thread_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool thread_sanitizer = true;
#else
inline constexpr bool thread_sanitizer = false;
#endif
#else
inline constexpr bool thread_sanitizer = false;
#endif

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool address_sanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool address_sanitizer = true;
#else
inline constexpr bool address_sanitizer = false;
#endif
#else
inline constexpr bool address_sanitizer = false;
#endif

inline constexpr int slowdown = thread_sanitizer ? 5 : 1;

#endif // KESTREL_TESTS_SANITIZERS_HPP
