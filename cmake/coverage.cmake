# SPDX-License-Identifier: MIT
#
# Runs tests, built by Clang so that they count what they execute, and prints for each header how many
# of its lines and branches were. Fails unless every branch of what places timers, brings them down, wakes
# and dispatches went both ways, whatever the types that it was compiled for.
#
#   cmake -P cmake/coverage.cmake                       every room of tests, and the fuzzers' corpora
#   cmake -DROOMS=core,waits -P cmake/coverage.cmake    some rooms; fuzz stands for the corpora. Tells
#                                                       what they leave out, and is content
#
# A branch that cannot go both ways says so where it is, or on the line above: `// one way: <reason>`.
# Every line, with its counts: build/coverage/html/index.html.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(covered
    wheel.hpp
    detail/driver.hpp
    detail/entry_chain.hpp
    detail/occupancy.hpp
    detail/timer_dispatcher.hpp
    detail/timer_engine.hpp
    detail/wheel_levels.hpp)
set(complaint STATUS)
if(NOT DEFINED ROOMS)
  set(complaint FATAL_ERROR)
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

# --- Branches that must go both ways ----------------------------------------------------------------

# kestrel_branches(<result> <header>): how many branches it has, and a line of text for each that went
# one way only and for each mark at one that did not.
function(kestrel_branches count wrong header)
  set(path "${headers}/${header}")
  set(listing "${build_dir}/branches.txt")
  execute_process(
    COMMAND "${llvm_cov}" show ${what} --show-branches=count --show-instantiations=false --sources
            "${path}"
    OUTPUT_FILE "${listing}" ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)

  # A branch is listed once for each instantiation of what it is in.
  file(STRINGS "${listing}" lines REGEX "Branch [(][0-9]+:[0-9]+[)]: .True")
  set(places "")
  foreach(line IN LISTS lines)
    string(REGEX MATCH "[(]([0-9]+:[0-9]+)[)]: .True: ([^,]+), False: ([^]]+)" line "${line}")
    set(place "${CMAKE_MATCH_1}")
    list(APPEND places "${place}")
    if(NOT CMAKE_MATCH_2 STREQUAL "0")
      set(true_${place} ON)
    endif()
    if(NOT CMAKE_MATCH_3 STREQUAL "0")
      set(false_${place} ON)
    endif()
  endforeach()
  list(REMOVE_DUPLICATES places)
  list(LENGTH places n)

  file(READ "${path}" text)
  string(REGEX REPLACE "[][;]" " " text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(report "")
  set(marks_needed "")
  foreach(place IN LISTS places)
    if(true_${place} AND false_${place})
      continue()
    endif()
    string(REGEX MATCH "^[0-9]+" line "${place}")
    math(EXPR index "${line} - 1")
    math(EXPR above "${line} - 2")
    list(GET text ${index} code)
    set(mark "${code}")
    if(above GREATER_EQUAL 0 AND NOT mark MATCHES "// one way: .")
      list(GET text ${above} mark)
      set(index ${above})
    endif()
    if(mark MATCHES "// one way: .")
      list(APPEND marks_needed ${index})
    elseif(true_${place})
      string(APPEND report "  ${header}:${place} is never false\n")
    elseif(false_${place})
      string(APPEND report "  ${header}:${place} is never true\n")
    else()
      string(APPEND report "  ${header}:${place} is never reached\n")
    endif()
  endforeach()

  set(index 0)
  foreach(code IN LISTS text)
    if(code MATCHES "// one way: ." AND NOT index IN_LIST marks_needed)
      math(EXPR line "${index} + 1")
      string(APPEND report "  ${header}:${line} goes both ways, or is no branch; its mark is to go\n")
    endif()
    math(EXPR index "${index} + 1")
  endforeach()
  set(${count} ${n} PARENT_SCOPE)
  set(${wrong} "${report}" PARENT_SCOPE)
endfunction()

set(total 0)
set(complaints "")
foreach(header IN LISTS covered)
  kestrel_branches(n wrong "${header}")
  if(n EQUAL 0)
    string(APPEND wrong "  ${header}: no branch was found\n")
  endif()
  math(EXPR total "${total} + ${n}")
  string(APPEND complaints "${wrong}")
endforeach()
if(complaints)
  message(${complaint} " kestrel: not every branch went both ways:\n${complaints}")
else()
  message(STATUS "kestrel: all ${total} branches of placing, coming down, waking and dispatching went both ways")
endif()
