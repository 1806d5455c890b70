// SPDX-License-Identifier: MIT
//
// The version of Kestrel, and the namespace that carries it.
//
// The three numbers below are the only place where the version is written: CMake reads them from
// here, and the inline namespace is pasted from them, so that a program may hold two vendored
// copies of different versions, and one copy on standalone Asio beside one on Boost.Asio. Needs
// nothing else.

#ifndef KESTREL_VERSION_HPP
#define KESTREL_VERSION_HPP

// Every header of Kestrel comes here before it says anything in C++20.
#if __cplusplus < 202002L && (!defined(_MSVC_LANG) || _MSVC_LANG < 202002L)
#error "Kestrel needs C++20"
#endif

#define KESTREL_VERSION_MAJOR 0
#define KESTREL_VERSION_MINOR 1
#define KESTREL_VERSION_PATCH 0

// For comparisons in the preprocessor, in Asio's layout: 0.1.0 is 100, 1.2.3 is 100203.
#define KESTREL_VERSION                                                                            \
  (KESTREL_VERSION_MAJOR * 100000 + KESTREL_VERSION_MINOR * 100 + KESTREL_VERSION_PATCH)

// Each helper calls a second one, so that its arguments are expanded before # and ## see them.
#define KESTREL_DETAIL_VERSION_STRING(major, minor, patch)                                         \
  KESTREL_DETAIL_VERSION_STRING_I(major, minor, patch)
#define KESTREL_DETAIL_VERSION_STRING_I(major, minor, patch) #major "." #minor "." #patch
#define KESTREL_DETAIL_VERSION_NAMESPACE(major, minor, asio)                                       \
  KESTREL_DETAIL_VERSION_NAMESPACE_I(major, minor, asio)
#define KESTREL_DETAIL_VERSION_NAMESPACE_I(major, minor, asio) v##major##_##minor##asio

// "0.1.0"
#define KESTREL_VERSION_STRING                                                                     \
  KESTREL_DETAIL_VERSION_STRING(KESTREL_VERSION_MAJOR, KESTREL_VERSION_MINOR, KESTREL_VERSION_PATCH)

// Users define KESTREL_USE_BOOST_ASIO, or link kestrel::boost, which does, to have Boost.Asio
// instead of standalone Asio. Within a source it must be the same for all headers of Kestrel.
// Sources of one program may differ, and then have nothing of Kestrel in common: to the linker, the
// types of one are not those of the other, even those that know no Asio.
#if defined(KESTREL_USE_BOOST_ASIO)
#define KESTREL_DETAIL_VERSION_ASIO _boost
#else
#define KESTREL_DETAIL_VERSION_ASIO
#endif

// v0_1, or v0_1_boost: while below 1.0, a minor version may change the layout of what it holds, a
// patch may not.
#define KESTREL_VERSION_NAMESPACE                                                                  \
  KESTREL_DETAIL_VERSION_NAMESPACE(KESTREL_VERSION_MAJOR, KESTREL_VERSION_MINOR,                   \
                                   KESTREL_DETAIL_VERSION_ASIO)

// Every header of Kestrel puts what it declares between these two. No semicolon follows them.
#define KESTREL_BEGIN_NAMESPACE                                                                    \
  namespace kestrel {                                                                              \
  inline namespace KESTREL_VERSION_NAMESPACE {
#define KESTREL_END_NAMESPACE                                                                      \
  }                                                                                                \
  }

#endif // KESTREL_VERSION_HPP
