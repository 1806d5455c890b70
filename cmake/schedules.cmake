# SPDX-License-Identifier: MIT
#
# Runs small programs of several threads in every schedule up to two preemptions, and tells how many
# schedules that were.
#
#   cmake -P cmake/schedules.cmake                     all of them
#   cmake -DPREEMPTIONS=3 -P cmake/schedules.cmake     up to three

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/schedules")
kestrel_build(failure "${build_dir}" TESTS test_schedules asio Catch2)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

if(PREEMPTIONS)
  set(ENV{KESTREL_PREEMPTIONS} ${PREEMPTIONS})
endif()
execute_process(
  COMMAND "${build_dir}/bin/test_schedules"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ECHO_OUTPUT_VARIABLE)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: there is a schedule that does not hold (${result}).")
endif()

# What the tests print of each program: its name, and how many schedules it has.
string(REGEX MATCHALL "[^\n]: [0-9]+ schedules\n" programs "${output}")
set(total 0)
foreach(program IN LISTS programs)
  string(REGEX MATCH "[0-9]+ schedules" schedules "${program}")
  string(REGEX MATCH "[0-9]+" schedules "${schedules}")
  math(EXPR total "${total} + ${schedules}")
endforeach()
list(LENGTH programs count)
message(STATUS "kestrel: all ${total} schedules of ${count} programs hold")
