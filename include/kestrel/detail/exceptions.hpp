// SPDX-License-Identifier: MIT
//
// try, catch (...) and throw, for compilers that were told to do without. What would have thrown
// ends the program there, so that a handler is never reached.

#ifndef KESTREL_DETAIL_EXCEPTIONS_HPP
#define KESTREL_DETAIL_EXCEPTIONS_HPP

#if defined(__cpp_exceptions)
#define KESTREL_TRY try
#define KESTREL_CATCH_ALL catch (...)
#define KESTREL_RETHROW throw
#else
#define KESTREL_TRY if constexpr (true)
#define KESTREL_CATCH_ALL else
#define KESTREL_RETHROW static_cast<void>(0)
#endif

#endif // KESTREL_DETAIL_EXCEPTIONS_HPP
