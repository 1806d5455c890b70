# SPDX-License-Identifier: MIT
#
# Builds the demo and runs it, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/demo.cmake
#   cmake -DARGS="--help" -P cmake/demo.cmake    with arguments for the demo

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/demo")
kestrel_setup(failure arguments "${build_dir}" asio)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

execute_process(
  COMMAND
    "${CMAKE_COMMAND}" -S "${KESTREL_SOURCE_DIR}" -B "${build_dir}" ${arguments}
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_RELEASE=${build_dir}/bin"
    -DKESTREL_BUILD_TESTS=OFF -DKESTREL_BUILD_BENCHMARKS=OFF -DKESTREL_BUILD_EXAMPLES=ON
    -DKESTREL_INSTALL=OFF
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --config Release --target kestrel_demo --parallel
          ${KESTREL_JOBS}
  COMMAND_ERROR_IS_FATAL ANY)

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
