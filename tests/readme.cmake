# SPDX-License-Identifier: MIT
#
# The first program in the README is examples/quick_start.cpp, word for word, from its first include on.

cmake_minimum_required(VERSION 3.23)

set(root "${CMAKE_CURRENT_LIST_DIR}/..")
file(READ "${root}/README.md" readme)
file(READ "${root}/examples/quick_start.cpp" program)
string(FIND "${program}" "#include" begin)
string(SUBSTRING "${program}" ${begin} -1 program)
string(FIND "${readme}" "```cpp\n${program}```" found)
if(found EQUAL -1)
  message(FATAL_ERROR "README.md does not show examples/quick_start.cpp as it is")
endif()
