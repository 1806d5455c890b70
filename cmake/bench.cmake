# SPDX-License-Identifier: MIT
#
# Builds the benchmarks and runs them, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/bench.cmake                    all timers, in about an hour
#   cmake -DARGS=--quick -P cmake/bench.cmake     in less than three minutes
#   cmake -DARGS=--help -P cmake/bench.cmake      other arguments for the benchmarks
#   cmake -DRESULTS=<directory> -P cmake/bench.cmake     where results go, else build/bench/results
#   cmake -DBENCH=timer_service -P cmake/bench.cmake     bench_timer_service instead of all this
#
# Of the timers, it measures what each operation costs (timers.csv, timers.json), draws that as far as
# there is a Python (SVG), and measures what including Kestrel costs (include_cost.csv).

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/include_cost.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/bench")
separate_arguments(ARGS UNIX_COMMAND "${ARGS}")

# kestrel_run_bench(<name> <argument>...)
function(kestrel_run_bench name)
  kestrel_build(failure "${build_dir}" BENCHMARKS bench_${name} asio benchmark)
  if(failure)
    # The space at the front keeps CMake from breaking the line.
    message(FATAL_ERROR " ${failure}")
  endif()
  execute_process(COMMAND "${build_dir}/bin/bench_${name}" ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR " kestrel: the benchmarks failed (${result}).")
  endif()
endfunction()

if(BENCH)
  kestrel_run_bench(${BENCH} ${ARGS})
  return()
endif()

# What is nice to have: header or program, and Debian package.
set(packages "")
foreach(pair IN ITEMS uv.h=libuv1-dev event2/event.h=libevent-dev boost/version.hpp=libboost1.81-dev)
  string(REPLACE "=" ";" pair "${pair}")
  list(GET pair 0 header)
  list(GET pair 1 package)
  find_path(where_${package} ${header})
  if(NOT where_${package})
    list(APPEND packages ${package})
  endif()
endforeach()
find_program(PYTHON NAMES python3 python)
if(NOT PYTHON)
  list(APPEND packages python3)
endif()
if(packages)
  kestrel_apt_install(${packages})
  find_program(PYTHON NAMES python3 python)
endif()

if(NOT RESULTS)
  set(RESULTS "${build_dir}/results")
endif()
get_filename_component(RESULTS "${RESULTS}" ABSOLUTE)
file(MAKE_DIRECTORY "${RESULTS}")
file(REMOVE "${RESULTS}/timers.csv")
kestrel_run_bench(timer_wheel "--out=${RESULTS}/timers" ${ARGS})
if(NOT EXISTS "${RESULTS}/timers.csv")
  return() # something else was asked for, such as help
endif()

set(repetitions 9)
if("--quick" IN_LIST ARGS)
  set(repetitions 1)
endif()
kestrel_include_cost("${build_dir}" ${repetitions} "${RESULTS}/include_cost.csv")

if(PYTHON)
  execute_process(COMMAND "${PYTHON}" "${KESTREL_SOURCE_DIR}/bench/plot.py" "${RESULTS}/timers.csv"
                          "${RESULTS}" COMMAND_ERROR_IS_FATAL ANY)
else()
  message(STATUS "kestrel: there is no Python, so nothing was drawn")
endif()
message(STATUS "kestrel: the results are in ${RESULTS}")
