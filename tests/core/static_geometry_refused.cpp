// SPDX-License-Identifier: MIT
//
// Does not compile, for a different reason per KESTREL_TESTS_CASE: the tests in CMakeLists.txt
// build it and look for the name of the bad field in what the compiler says.

#include <kestrel/wheel.hpp>

#if KESTREL_TESTS_CASE == 0
kestrel::wheel<int, kestrel::static_geometry<512, 64, 100>> valid;
#elif KESTREL_TESTS_CASE == 1
kestrel::wheel<int, kestrel::static_geometry<512, 64, 100, 0>> no_tick;
#elif KESTREL_TESTS_CASE == 2
kestrel::wheel<int, kestrel::static_geometry<500, 64, 100>> odd_level_0;
#elif KESTREL_TESTS_CASE == 3
kestrel::wheel<int, kestrel::static_geometry<64, 64, 100>> level_0_too_short;
#elif KESTREL_TESTS_CASE == 4
kestrel::wheel<int, kestrel::static_geometry<512, 60, 100>> odd_level_1;
#elif KESTREL_TESTS_CASE == 5
kestrel::wheel<int, kestrel::static_geometry<512, 64, 100, (1ull << 62)>> overflow;
#elif KESTREL_TESTS_CASE == 6
kestrel::wheel<int, kestrel::static_geometry<0, 64, 1>> no_slots;
#elif KESTREL_TESTS_CASE == 7
kestrel::wheel<int, kestrel::static_geometry<512, 64, 0>> no_level_1_tick;
#endif
