// SPDX-License-Identifier: MIT
//
// Every allocation of the program is counted, and may be made to fail, where counted_new.cpp is
// part of it. Not under the thread sanitizer, which replaces operator new as well.

#ifndef KESTREL_TESTS_COUNTED_NEW_HPP
#define KESTREL_TESTS_COUNTED_NEW_HPP

#include <atomic>
#include <cstddef>

namespace kestrel_tests {

inline constexpr long no_failure = -1;
inline std::atomic<long> allocations{0};
inline std::atomic<long> live_blocks{0};
inline std::atomic<std::size_t> largest_block{0};    // bytes; set it to zero to begin anew
inline thread_local long until_failure = no_failure; // how many more of this thread's succeed
inline thread_local bool fail_for_good = false;      // and not only the next one after those

} // namespace kestrel_tests

#endif // KESTREL_TESTS_COUNTED_NEW_HPP
