# SPDX-License-Identifier: MIT
#
# Code that pages show is code that is compiled and run. The first program in the README is
# examples/quick_start.cpp, word for word, from its first include on; what docs/from-steady-timer.md
# shows is in a test, but for spaces.

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

# Semicolons mean something in lists of CMake.
file(READ "${root}/docs/from-steady-timer.md" page)
file(READ "${root}/tests/asio/steady_timer_programs_test.cpp" tests)
string(REGEX REPLACE "[ \n;]" "" tests "${tests}")
string(REPLACE ";" "" page "${page}")
string(REGEX MATCHALL "```cpp\n[^`]*```" blocks "${page}")
if(NOT blocks)
  message(FATAL_ERROR "docs/from-steady-timer.md shows no code")
endif()
foreach(block IN LISTS blocks)
  string(REGEX REPLACE "```(cpp)?" "" code "${block}")
  string(REGEX REPLACE "[ \n]" "" code "${code}")
  string(FIND "${tests}" "${code}" found)
  if(found EQUAL -1)
    message(SEND_ERROR "docs/from-steady-timer.md shows what no test does: ${block}")
  endif()
endforeach()
