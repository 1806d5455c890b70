# SPDX-License-Identifier: MIT
#
# Builds the benchmarks and runs them, on a machine that need not have more than CMake and git.
#
#   cmake -P cmake/bench.cmake                    all of them, in about forty minutes
#   cmake -DARGS=--quick -P cmake/bench.cmake     a first impression, in less than three minutes
#   cmake -DRESULTS=<directory> -P cmake/bench.cmake     where results go, else build/bench/results
#   cmake -DPUBLISH=ON -P cmake/bench.cmake       into bench/results and docs/pictures, to be committed
#   cmake -DBENCH=timer_wheel -P cmake/bench.cmake       one of them, and nothing is drawn
#   cmake -DBENCH=timer_wheel -DARGS=--help -P cmake/bench.cmake     its arguments
#
# Each writes <name>.csv and <name>.json, which names the processor, the compiler, versions and the
# date. From timers.csv it draws what each operation costs, as far as there is a Python (SVG). What
# including Kestrel costs is in include_cost.csv, with the compiler that timers.json names.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/include_cost.cmake")

set(build_dir "${KESTREL_SOURCE_DIR}/build/bench")
separate_arguments(ARGS UNIX_COMMAND "${ARGS}")

# kestrel_build_bench(<target>)
function(kestrel_build_bench target)
  kestrel_build(failure "${build_dir}" BENCHMARKS ${target} asio benchmark)
  if(failure)
    # The space at the front keeps CMake from breaking the line.
    message(FATAL_ERROR " ${failure}")
  endif()
endfunction()

# kestrel_run_bench(<name> <argument>...)
function(kestrel_run_bench name)
  execute_process(COMMAND "${build_dir}/bin/bench_${name}" ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR " kestrel: bench_${name} failed (${result}).")
  endif()
endfunction()

if(BENCH)
  kestrel_build_bench(bench_${BENCH})
  kestrel_run_bench(${BENCH} ${ARGS})
  return()
endif()

# --- What is nice to have: header or program, and Debian package ---------------------------------------

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

# --- Running -------------------------------------------------------------------------------------------

set(pictures "")
if(PUBLISH)
  set(RESULTS "${KESTREL_SOURCE_DIR}/bench/results")
  set(pictures "${KESTREL_SOURCE_DIR}/docs/pictures")
elseif(NOT RESULTS)
  set(RESULTS "${build_dir}/results")
endif()
get_filename_component(RESULTS "${RESULTS}" ABSOLUTE)
if(NOT pictures)
  set(pictures "${RESULTS}")
endif()
file(MAKE_DIRECTORY "${RESULTS}")

kestrel_build_bench(kestrel_benchmarks)

# The programs one after the other; each shuffles what it measures.
string(TIMESTAMP start "%s")
foreach(name IN ITEMS timer_wheel lazy_deletion batches due_together threads echo_server idle cancel_after
                      timer_service)
  set(file ${name})
  if(name STREQUAL "timer_wheel")
    set(file timers)
  endif()
  if(EXISTS "${build_dir}/bin/bench_${name}")
    kestrel_run_bench(${name} "--out=${RESULTS}/${file}" ${ARGS})
  endif()
endforeach()

set(repetitions 5)
if("--quick" IN_LIST ARGS)
  set(repetitions 1)
endif()
kestrel_include_cost("${build_dir}" ${repetitions} "${RESULTS}/include_cost.csv")

if(PYTHON)
  execute_process(COMMAND "${PYTHON}" "${KESTREL_SOURCE_DIR}/bench/plot.py" "${RESULTS}/timers.csv"
                          "${pictures}" COMMAND_ERROR_IS_FATAL ANY)
else()
  message(STATUS "kestrel: there is no Python, so nothing was drawn")
endif()
string(TIMESTAMP end "%s")
math(EXPR taken "${end} - ${start}")
message(STATUS "kestrel: the results are in ${RESULTS}, the pictures in ${pictures}, after ${taken} s")
