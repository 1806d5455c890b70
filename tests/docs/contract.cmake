# SPDX-License-Identifier: MIT
#
# The tests that docs/contract.md names as proof of its promises are there, under these names. Rows
# of its tables are | name of a test | `file` |.

cmake_minimum_required(VERSION 3.23)

set(tests "${CMAKE_CURRENT_LIST_DIR}/..")
file(READ "${tests}/../docs/contract.md" page)

set(count 0)
while(page MATCHES "\n\\| ([^\n|]+) \\| `([a-z_/]+)` \\|(\n.*)")
  set(name "${CMAKE_MATCH_1}")
  set(file "${tests}/${CMAKE_MATCH_2}.cpp")
  set(page "${CMAKE_MATCH_3}")
  math(EXPR count "${count} + 1")
  set(text "")
  if(EXISTS "${file}")
    file(READ "${file}" text)
  endif()
  # A long name goes over several lines.
  string(REGEX REPLACE "\"\n *\"" "" text "${text}")
  string(FIND "${text}" "\"${name}\"" at)
  if(at EQUAL -1)
    message(SEND_ERROR "docs/contract.md names a test that is not there: ${file}: ${name}")
  endif()
endwhile()
if(count LESS 60)
  message(SEND_ERROR "docs/contract.md names ${count} tests only")
endif()
