# SPDX-License-Identifier: MIT
#
# Code that the README shows is code that is compiled and run: each block is in one of the examples,
# word for word.

cmake_minimum_required(VERSION 3.23)

set(root "${CMAKE_CURRENT_LIST_DIR}/..")
include("${root}/cmake/markdown.cmake")

file(READ "${root}/README.md" rest)
file(GLOB examples "${root}/examples/*.cpp")
set(shown 0)
kestrel_take(before rest "${rest}" "```cpp\n")
while(DEFINED rest)
  kestrel_take(block rest "${rest}" "```")
  set(found OFF)
  foreach(example IN LISTS examples)
    file(READ "${example}" program)
    string(FIND "${program}" "${block}" where)
    if(NOT where EQUAL -1)
      set(found ON)
    endif()
  endforeach()
  if(NOT found)
    message(SEND_ERROR "README.md shows code that is none of the examples:\n${block}")
  endif()
  math(EXPR shown "${shown} + 1")
  kestrel_take(before rest "${rest}" "```cpp\n")
endwhile()
if(shown EQUAL 0)
  message(SEND_ERROR "README.md shows no code")
endif()
