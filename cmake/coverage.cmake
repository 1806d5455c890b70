# SPDX-License-Identifier: MIT
#
# Runs tests, built by Clang so that they count what they execute, and prints for each header how many
# of its lines and branches were.
#
#   cmake -P cmake/coverage.cmake                       every room of tests, and the fuzzers' corpora
#   cmake -DROOMS=core,waits -P cmake/coverage.cmake    some rooms; fuzz stands for the corpora
#
# Every line, with its counts: build/coverage/html/index.html.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

if(NOT DEFINED ROOMS)
  set(ROOMS core,asio,steady_timer,waits,memory,newer_asio,schedules,fuzz)
endif()
string(REPLACE "," ";" ROOMS "${ROOMS}")

set(build_dir "${KESTREL_SOURCE_DIR}/build/coverage")
kestrel_setup(failure arguments "${build_dir}" asio Catch2)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()
# The profile that one version writes is read by the tools of the same version.
set(packages clang-19 libclang-rt-19-dev llvm-19)
kestrel_find_tool(clang "${packages}" clang++-19)
kestrel_find_tool(llvm_profdata "${packages}" llvm-profdata-19)
kestrel_find_tool(llvm_cov "${packages}" llvm-cov-19)
if(NOT clang OR NOT llvm_profdata OR NOT llvm_cov)
  message(FATAL_ERROR " kestrel: Clang 19 with llvm-profdata and llvm-cov was not found; install it \
(Debian: apt-get install clang-19 libclang-rt-19-dev llvm-19) and run this command again.")
endif()

set(targets "")
set(tests "")
foreach(room IN LISTS ROOMS)
  list(APPEND tests "^${room}[.]")
  if(room STREQUAL "fuzz")
    list(APPEND targets fuzz_targets)
  else()
    list(APPEND targets test_${room})
  endif()
endforeach()
list(JOIN tests "|" tests)

execute_process(
  COMMAND "${CMAKE_COMMAND}" --preset coverage -DCMAKE_UNITY_BUILD=ON ${arguments}
          "-DCMAKE_CXX_COMPILER=${clang}" "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY=${build_dir}/bin"
  WORKING_DIRECTORY "${KESTREL_SOURCE_DIR}"
  COMMAND_ERROR_IS_FATAL ANY)
file(REMOVE_RECURSE "${build_dir}/bin" "${build_dir}/profile")
execute_process(
  COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --parallel ${KESTREL_JOBS} --target ${targets}
  COMMAND_ERROR_IS_FATAL ANY)

# Each program adds to a file of its own, whichever of its tests runs.
set(ENV{LLVM_PROFILE_FILE} "${build_dir}/profile/%m.profraw")
execute_process(
  COMMAND "${CMAKE_CTEST_COMMAND}" --test-dir "${build_dir}" --output-on-failure --no-tests=error
          --parallel ${KESTREL_JOBS} --tests-regex "${tests}"
  COMMAND_ERROR_IS_FATAL ANY)

file(GLOB profiles "${build_dir}/profile/*.profraw")
execute_process(
  COMMAND "${llvm_profdata}" merge --sparse ${profiles} -o "${build_dir}/coverage.profdata"
  COMMAND_ERROR_IS_FATAL ANY)

file(GLOB programs "${build_dir}/bin/*")
list(POP_FRONT programs first)
list(TRANSFORM programs PREPEND "--object=")
set(what "${first}" ${programs} "--instr-profile=${build_dir}/coverage.profdata")
set(headers "${KESTREL_SOURCE_DIR}/include/kestrel")

execute_process(
  COMMAND "${llvm_cov}" show ${what} --format=html --show-branches=count --show-instantiations=false
          "--output-dir=${build_dir}/html" "--sources" "${headers}"
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND "${llvm_cov}" report ${what} --show-region-summary=false --show-functions=false
          "--sources" "${headers}"
  COMMAND_ERROR_IS_FATAL ANY)
