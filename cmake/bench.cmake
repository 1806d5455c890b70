# SPDX-License-Identifier: MIT
#
# Builds the benchmarks and runs them, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/bench.cmake                    all of it, in about eight minutes
#   cmake -DARGS=--quick -P cmake/bench.cmake     with arguments for the benchmarks; --help lists them
#   cmake -DBENCH=timer_service -P cmake/bench.cmake     bench_timer_service instead of bench_timer_wheel

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/bench")
if(NOT BENCH)
  set(BENCH timer_wheel)
endif()
kestrel_build(failure "${build_dir}" BENCHMARKS bench_${BENCH} asio benchmark)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

separate_arguments(ARGS UNIX_COMMAND "${ARGS}")
execute_process(COMMAND "${build_dir}/bin/bench_${BENCH}" ${ARGS} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: the benchmarks failed (${result}).")
endif()
