// SPDX-License-Identifier: MIT
//
// For members that are most often empty and then take no room. Compilers for Windows have a name of
// their own for that, since they ignore the standard's.

#ifndef KESTREL_DETAIL_NO_UNIQUE_ADDRESS_HPP
#define KESTREL_DETAIL_NO_UNIQUE_ADDRESS_HPP

#if defined(_MSC_VER)
#define KESTREL_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#else
#define KESTREL_NO_UNIQUE_ADDRESS [[no_unique_address]]
#endif

#endif // KESTREL_DETAIL_NO_UNIQUE_ADDRESS_HPP
