// SPDX-License-Identifier: MIT
//
// KESTREL_ASSERT(condition): checks of the library's own logic, never of a caller's input. A
// program may define it before the first header of Kestrel, the same in all its sources: an
// expression of type void, which reports, logs, breaks into a debugger or ends the program, but
// does not throw. It may be evaluated under the lock of a wheel, so it calls nothing of Kestrel's.

#ifndef KESTREL_DETAIL_ASSERT_HPP
#define KESTREL_DETAIL_ASSERT_HPP

#ifndef KESTREL_ASSERT
#include <cassert>
#define KESTREL_ASSERT(condition) assert(condition)
#endif

#endif // KESTREL_DETAIL_ASSERT_HPP
