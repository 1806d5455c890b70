# SPDX-License-Identifier: MIT
#
# Builds Kestrel's tests and runs them, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/test.cmake                    the preset dev
#   cmake -DPRESET=tsan -P cmake/test.cmake      another one of CMakePresets.json
#
# The environment variable CXX chooses the compiler, as always, except for the presets of Clang.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

if(NOT DEFINED PRESET)
  set(PRESET dev)
endif()

set(dependencies asio Catch2)
if(PRESET STREQUAL "release")
  # The others leave out the benchmarks: their figures would mean nothing.
  list(APPEND dependencies benchmark)
elseif(PRESET MATCHES "^boost")
  list(APPEND dependencies Boost)
endif()
kestrel_setup(failure arguments "${KESTREL_SOURCE_DIR}/build/${PRESET}" ${dependencies})
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

if(PRESET MATCHES "clang$")
  # The newest, since what is called clang++ may be too old for coroutines.
  kestrel_find_tool(clang clang-19 clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++)
  if(NOT clang)
    message(FATAL_ERROR " kestrel: Clang was not found; install it (Debian: apt-get install clang-19) \
and run this command again.")
  endif()
  list(APPEND arguments "-DCMAKE_CXX_COMPILER=${clang}")
endif()

# What is built once, and from nothing, is built fastest with several sources in one translation unit.
# Presets are looked up in the working directory.
execute_process(
  COMMAND "${CMAKE_COMMAND}" --preset "${PRESET}" -DCMAKE_UNITY_BUILD=ON ${arguments}
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build --preset "${PRESET}" --parallel ${KESTREL_JOBS}
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${CMAKE_CTEST_COMMAND}" --preset "${PRESET}" --parallel ${KESTREL_JOBS}
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ECHO_OUTPUT_VARIABLE)

# The verdict comes last, where eyes and scripts look for it.
string(REGEX MATCH "[0-9]+% tests passed[^\n]*" verdict "${output}")
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: ${verdict}")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "${verdict}")
