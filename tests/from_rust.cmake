# SPDX-License-Identifier: MIT
#
# All code in the C++ column of docs/from-rust.md is in tests/asio/from_rust_test.cpp, but for spaces.

cmake_minimum_required(VERSION 3.23)

# Characters that mean something in lists of CMake are left out, or replaced, on both sides.
function(read_plain file out)
  file(READ "${CMAKE_CURRENT_LIST_DIR}/${file}" text)
  string(REPLACE ";" "" text "${text}")
  string(REPLACE "[" "<(" text "${text}")
  string(REPLACE "]" ")>" text "${text}")
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

read_plain(asio/from_rust_test.cpp tests)
string(REGEX REPLACE "[ \t\n]" "" tests "${tests}")
read_plain(../docs/from-rust.md page)
string(REGEX MATCHALL "\n\\| [0-9]+ \\|[^\n]*" rows "${page}")
list(LENGTH rows count)
if(count LESS 36)
  message(FATAL_ERROR "docs/from-rust.md has ${count} rows only")
endif()

# Words in prose that are no code of the test.
set(prose async_wait errc std::system_error)

foreach(row IN LISTS rows)
  string(REGEX MATCH "\\|[^|]*\\|$" cell "${row}")
  string(REGEX MATCHALL "`[^`]+`" snippets "${cell}")
  foreach(snippet IN LISTS snippets)
    string(REGEX REPLACE "[` \t]" "" code "${snippet}")
    string(FIND "${tests}" "${code}" found)
    if(found EQUAL -1 AND NOT code IN_LIST prose)
      message(SEND_ERROR "docs/from-rust.md shows ${snippet}, which no test does")
    endif()
  endforeach()
endforeach()
