# SPDX-License-Identifier: MIT
#
# What can be said about the sources without running them: their format (clang-format 14), and what
# clang-tidy 19 (.clang-tidy) and cppcheck find in the headers. A finding is a failure.
#
#   cmake -P cmake/lint.cmake
#
# The analysers look at tests/lint/everything.cpp, which uses each of the main templates once: that
# is as much as all the tests would show them, in a minute.
#
# What -Wthread-safety has to say (see include/kestrel/detail/guarded.hpp), Clang says when it builds the
# tests.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

# Their findings differ from version to version, so it has to be these.
kestrel_find_tool(clang_format clang-format-14 clang-format-14)
kestrel_find_tool(clang_tidy clang-tidy-19 clang-tidy-19)
kestrel_find_tool(cppcheck cppcheck cppcheck)
if(NOT clang_format OR NOT clang_tidy OR NOT cppcheck)
  message(FATAL_ERROR " kestrel: clang-format 14, clang-tidy 19 or cppcheck was not found; install them \
(Debian: apt-get install clang-format-14 clang-tidy-19 cppcheck) and run this command again.")
endif()
kestrel_setup(failure arguments "${KESTREL_SOURCE_DIR}/build/lint" asio)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

set(failed "")

# lint(<what> <command>...)
function(lint what)
  message(STATUS "kestrel: ${what}")
  execute_process(
    COMMAND ${ARGN}
    WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
    RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    set(failed ${failed} "${what}" PARENT_SCOPE)
  endif()
endfunction()

# The checkout may be another user's.
execute_process(
  COMMAND git -c safe.directory=* ls-files --cached --others --exclude-standard *.hpp *.cpp
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  OUTPUT_VARIABLE sources
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
string(REPLACE "\n" ";" sources "${sources}")
lint("clang-format" "${clang_format}" --dry-run --Werror ${sources})

lint(
  "cppcheck"
  "${cppcheck}"
  --quiet
  --error-exitcode=1
  --std=c++20
  --language=c++
  --enable=warning,performance,portability
  --suppressions-list=tests/lint/cppcheck.txt
  -DASIO_STANDALONE
  -DASIO_VERSION=102201 # of which it sees nothing else
  -Iinclude
  include/kestrel/kestrel.hpp
  include/kestrel/testing.hpp)

# Asio 1.22 looks for the coroutines that Clang had before C++20.
lint(
  "clang-tidy"
  "${clang_tidy}"
  --quiet
  tests/lint/everything.cpp
  --
  -std=c++20
  -DASIO_STANDALONE
  -DASIO_HAS_CO_AWAIT=1
  -DASIO_HAS_STD_COROUTINE=1
  -Iinclude)

if(failed)
  list(JOIN failed ", " failed)
  message(FATAL_ERROR " kestrel: ${failed} found something.")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "kestrel: nothing was found")
