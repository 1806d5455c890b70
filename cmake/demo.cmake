# SPDX-License-Identifier: MIT
#
# Builds the demo and runs it, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/demo.cmake
#   cmake -DARGS="--help" -P cmake/demo.cmake    with arguments for the demo

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/demo")
kestrel_build(failure "${build_dir}" EXAMPLES kestrel_demo asio)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

# CMake hands on what a child prints, but through a pipe. The demo had better see the terminal, if
# that is where CMake itself prints.
set(on_terminal "")
if(EXISTS /proc/self/fd/1)
  set(on_terminal
      sh -c
      [[test -c /proc/$PPID/fd/1 && test -w /proc/$PPID/fd/1 && exec "$0" "$@" >/proc/$PPID/fd/1
        exec "$0" "$@"]])
endif()
separate_arguments(ARGS UNIX_COMMAND "${ARGS}")
execute_process(COMMAND ${on_terminal} "${build_dir}/bin/kestrel_demo" ${ARGS} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: the demo failed (${result}).")
endif()
