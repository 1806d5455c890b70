// SPDX-License-Identifier: MIT
//
// KESTREL_ASSERT(condition): checks of the library's own logic, never of a caller's input.
// Define it before the first Kestrel header to route failures into a program's own handler.

#ifndef KESTREL_DETAIL_ASSERT_HPP
#define KESTREL_DETAIL_ASSERT_HPP

#ifndef KESTREL_ASSERT
#include <cassert>
#define KESTREL_ASSERT(condition) assert(condition)
#endif

#endif // KESTREL_DETAIL_ASSERT_HPP
