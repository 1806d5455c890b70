# SPDX-License-Identifier: MIT
#
# Builds the fuzz targets and runs each of them for a while, on all cores, from the corpora in
# tests/fuzz/corpus. Says how much each one tried; what one has found is a failure, and a file.
#
#   cmake -P cmake/fuzz.cmake                       every target for a minute
#   cmake -DSECONDS=600 -P cmake/fuzz.cmake         for ten
#   cmake -DTARGETS=wheel -P cmake/fuzz.cmake       one target; separate several by commas
#   cmake -DMERGE=ON -P cmake/fuzz.cmake            then adds inputs that reach more to tests/fuzz/corpus
#
# What was found is run again with: build/fuzz/bin/fuzz_<target> <file>

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

if(NOT DEFINED SECONDS)
  set(SECONDS 60)
endif()
if(NOT DEFINED TARGETS)
  set(TARGETS slot_arena,wheel,timer_wheel,steady_timer)
endif()
string(REPLACE "," ";" TARGETS "${TARGETS}")

set(build_dir "${KESTREL_SOURCE_DIR}/build/fuzz")
kestrel_setup(failure arguments "${build_dir}" asio Catch2)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()
kestrel_find_tool(clang "clang-19;libclang-rt-19-dev" clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++)
if(NOT clang)
  message(FATAL_ERROR " kestrel: Clang was not found; install it (Debian: apt-get install clang-19 \
libclang-rt-19-dev) and run this command again.")
endif()

execute_process(
  COMMAND "${CMAKE_COMMAND}" --preset fuzz ${arguments} "-DCMAKE_CXX_COMPILER=${clang}"
          "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY=${build_dir}/bin"
          "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_DEBUG=${build_dir}/bin"
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  COMMAND_ERROR_IS_FATAL ANY)
list(TRANSFORM TARGETS PREPEND fuzz_ OUTPUT_VARIABLE programs)
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --config Debug --parallel ${KESTREL_JOBS} --target
          ${programs}
  COMMAND_ERROR_IS_FATAL ANY)

# Inputs are kept from one run to the next, beside the committed ones.
file(MAKE_DIRECTORY "${build_dir}/found")
set(report "")
set(failed "")
foreach(target IN LISTS TARGETS)
  set(corpus "${KESTREL_SOURCE_DIR}/tests/fuzz/corpus/${target}")
  set(more "${build_dir}/corpus/${target}")
  file(MAKE_DIRECTORY "${more}")
  file(GLOB old_logs "${more}.logs/fuzz-*.log")
  if(old_logs)
    file(REMOVE ${old_logs})
  endif()
  file(MAKE_DIRECTORY "${more}.logs")
  message(STATUS "kestrel: ${target}, ${SECONDS} s on ${KESTREL_JOBS} cores")
  # Each job writes a log, fuzz-<n>.log, where it runs.
  execute_process(
    COMMAND
      "${build_dir}/bin/fuzz_${target}" "${more}" "${corpus}" "-max_total_time=${SECONDS}"
      -jobs=${KESTREL_JOBS} -workers=${KESTREL_JOBS} -timeout=30 -max_len=600 -len_control=10
      -print_final_stats=1 "-artifact_prefix=${build_dir}/found/${target}-"
    WORKING_DIRECTORY "${more}.logs"
    RESULT_VARIABLE result
    OUTPUT_VARIABLE output
    ERROR_VARIABLE output)

  set(executions 0)
  file(GLOB logs "${more}.logs/fuzz-*.log")
  foreach(log IN LISTS logs)
    file(STRINGS "${log}" lines REGEX "stat::number_of_executed_units|Test unit written to|found: ")
    foreach(line IN LISTS lines)
      if(line MATCHES "number_of_executed_units: +([0-9]+)")
        math(EXPR executions "${executions} + ${CMAKE_MATCH_1}")
      elseif(line MATCHES "Test unit written to (.*)")
        string(APPEND report "  ${target}: reproduced by ${CMAKE_MATCH_1}\n")
      else()
        string(APPEND report "  ${target}: ${line}\n")
      endif()
    endforeach()
  endforeach()
  string(APPEND report "  ${target}: ${executions} executions\n")
  if(NOT result EQUAL 0 OR executions EQUAL 0)
    list(APPEND failed ${target})
    if(executions EQUAL 0)
      message(STATUS "${output}")
    endif()
  endif()
endforeach()

message("\nkestrel: fuzzed for ${SECONDS} s each, on ${KESTREL_JOBS} cores\n\n${report}")
if(MERGE)
  foreach(target IN LISTS TARGETS)
    set(corpus "${KESTREL_SOURCE_DIR}/tests/fuzz/corpus/${target}")
    # Few and small ones, and not for how often something is reached, which would be many more.
    execute_process(
      COMMAND
        "${build_dir}/bin/fuzz_${target}" -set_cover_merge=1 -max_len=300 -use_counters=0 -timeout=30
        "-artifact_prefix=${build_dir}/found/${target}-" "${corpus}" "${build_dir}/corpus/${target}"
      OUTPUT_QUIET ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
    # Their names are hashes, of which a part is enough.
    file(GLOB inputs "${corpus}/*")
    foreach(input IN LISTS inputs)
      cmake_path(GET input FILENAME name)
      string(SUBSTRING "${name}" 0 12 name)
      file(RENAME "${input}" "${corpus}/${name}")
    endforeach()
    list(LENGTH inputs count)
    message(STATUS "kestrel: the corpus of ${target} has ${count} inputs")
  endforeach()
endif()

if(failed)
  list(JOIN failed ", " failed)
  message(FATAL_ERROR " kestrel: ${failed} found something, or did not run; logs are in \
${build_dir}/corpus.")
endif()
