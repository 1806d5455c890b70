# SPDX-License-Identifier: MIT
#
# Builds the benchmarks and runs them, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/bench.cmake                    all of it, in about four minutes
#   cmake -DARGS=--quick -P cmake/bench.cmake     with arguments for the benchmarks; --help lists them

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/bench")
kestrel_setup(failure arguments "${build_dir}" asio benchmark)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

execute_process(
  COMMAND
    "${CMAKE_COMMAND}" -S "${KESTREL_SOURCE_DIR}" -B "${build_dir}" ${arguments}
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_RELEASE=${build_dir}/bin"
    -DKESTREL_BUILD_TESTS=OFF -DKESTREL_BUILD_BENCHMARKS=ON -DKESTREL_BUILD_EXAMPLES=OFF
    -DKESTREL_INSTALL=OFF
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --config Release --target bench_timer_wheel
          --parallel ${KESTREL_JOBS}
  COMMAND_ERROR_IS_FATAL ANY)

separate_arguments(ARGS UNIX_COMMAND "${ARGS}")
execute_process(COMMAND "${build_dir}/bin/bench_timer_wheel" ${ARGS} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: the benchmarks failed (${result}).")
endif()
