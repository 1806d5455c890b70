# SPDX-License-Identifier: MIT
#
# The test of the tests: plants bugs in copies of the library, one at a time, and shows that the tests
# or the fuzzers find each of them within two minutes. What is planted, and who is to find it, is in
# tests/planted_bugs/bugs.cmake.
#
#   cmake -P cmake/planted_bugs.cmake                 all of them, as many at a time as there are cores
#   cmake -DONLY=strand -P cmake/planted_bugs.cmake   those whose description matches
#   cmake -DCHECK=ON -P cmake/planted_bugs.cmake      only whether each can be planted, in no time
#
# First each of these tests passes without a bug, so that one that fails has found it. A test that hangs
# has found it, too. A fuzz target replays its corpus, and then libFuzzer goes on from there if Clang
# brings it. It is an error if a bug is not found, or cannot be planted any more.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(time_limit 110) # seconds for a test, or for the replay of a corpus
set(fuzzing_time 110) # for libFuzzer
set(found_within 120) # for all of it, without building

set(build_dir "${KESTREL_SOURCE_DIR}/build/planted_bugs")

# plant(<promise> <bug> <header> <subject> <text> <replacement>)
#
# In <header>, which lies in include/kestrel, <text> is there once and becomes <replacement>. The test
# <subject>, a <room>/<subject>, finds it, or the fuzz target that fuzz/<target> names.
function(plant promise bug header subject text replacement)
  if(DEFINED ONLY AND NOT bug MATCHES "${ONLY}")
    return()
  endif()
  file(READ "${KESTREL_SOURCE_DIR}/include/kestrel/${header}" original)
  string(FIND "${original}" "${text}" first)
  string(FIND "${original}" "${text}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    set(cannot_be_planted ON PARENT_SCOPE)
    message(SEND_ERROR " kestrel: \"${bug}\" cannot be planted: in ${header} this is not there once:\n\n\
${text}\n")
  endif()
  string(REPLACE "${text}" "${replacement}" planted "${original}")

  math(EXPR number "${bug_count} + 1")
  set(bug_count ${number} PARENT_SCOPE)
  foreach(field IN ITEMS promise bug header subject original planted)
    set(${field}_${number} "${${field}}" PARENT_SCOPE)
  endforeach()
  list(APPEND subjects ${subject})
  list(REMOVE_DUPLICATES subjects)
  set(subjects ${subjects} PARENT_SCOPE)
endfunction()

# Sets the variable to the text with spaces up to a width.
function(pad variable text width)
  string(LENGTH "${text}" length)
  math(EXPR missing "${width} - ${length}")
  if(missing GREATER 0)
    string(REPEAT " " ${missing} spaces)
  endif()
  set(${variable} "${text}${spaces}" PARENT_SCOPE)
endfunction()

function(print_row bug promise subject build run verdict)
  pad(bug "${bug}" 80)
  pad(promise "${promise}" 8)
  pad(subject "${subject}" 24)
  pad(build "${build}" 6)
  pad(run "${run}" 6)
  message("${bug} ${promise} ${subject} ${build} ${run} ${verdict}")
endfunction()

set(bug_count 0)
set(subjects "")
include("${KESTREL_SOURCE_DIR}/tests/planted_bugs/bugs.cmake")

if(cannot_be_planted) # which was told
  return()
elseif(CHECK)
  execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "all ${bug_count} bugs can be planted")
  return()
endif()

# --- The workers, which share the subjects ---------------------------------------------------------

if(NOT DEFINED WORKER)
  kestrel_setup(failure arguments "${build_dir}" asio Catch2)
  if(failure)
    # The space at the front keeps CMake from breaking the line.
    message(FATAL_ERROR " ${failure}")
  endif()
  kestrel_find_tool(clang "clang-19;libclang-rt-19-dev" clang++-21 clang++-20 clang++-19 clang++-18)
  if(clang)
    list(APPEND arguments "-DCMAKE_CXX_COMPILER=${clang}" -DLIBFUZZER=ON)
  endif()
  if(DEFINED ONLY)
    set(only "-DONLY=${ONLY}")
  endif()

  list(LENGTH subjects workers)
  if(workers GREATER KESTREL_JOBS)
    set(workers ${KESTREL_JOBS})
  endif()
  set(commands "")
  math(EXPR last "${workers} - 1")
  foreach(worker RANGE ${last})
    string(REPLACE ";" "\\;" settings "${arguments}")
    list(APPEND commands COMMAND "${CMAKE_COMMAND}" -DWORKER=${worker} -DWORKERS=${workers} ${only}
                                 "-DSETTINGS=${settings}" -P "${CMAKE_CURRENT_LIST_FILE}")
  endforeach()
  print_row("bug" "promise" "found by" "built" "ran, s" "")
  # Of a pipeline, all parts run at the same time. They print where it does not lead through.
  execute_process(${commands} RESULTS_VARIABLE results)
  foreach(result IN LISTS results)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR " kestrel: not every planted bug was found")
    endif()
  endforeach()
  execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "all ${bug_count} planted bugs were found")
  return()
endif()

# --- A worker: its subjects without a bug ----------------------------------------------------------

set(here "${build_dir}/${WORKER}")
set(copy "${here}/copy")

set(mine "")
set(number 0)
foreach(subject IN LISTS subjects)
  math(EXPR whose "${number} % ${WORKERS}")
  math(EXPR number "${number} + 1")
  if(whose EQUAL WORKER)
    list(APPEND mine ${subject})
  endif()
endforeach()

file(REMOVE_RECURSE "${copy}")
file(COPY "${KESTREL_SOURCE_DIR}/CMakeLists.txt" "${KESTREL_SOURCE_DIR}/cmake"
          "${KESTREL_SOURCE_DIR}/include" "${KESTREL_SOURCE_DIR}/tests" DESTINATION "${copy}")
# What an earlier run built may have a bug in it.
file(GLOB_RECURSE headers "${copy}/include/*.hpp")
file(TOUCH ${headers})
execute_process(
  COMMAND
    "${CMAKE_COMMAND}" -S "${KESTREL_SOURCE_DIR}/tests/planted_bugs" -B "${here}/build" ${SETTINGS}
    -DCMAKE_BUILD_TYPE= "-DKESTREL_COPY=${copy}" "-DSUBJECTS=${mine}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)

# Sets how long it is since a time.
function(seconds_since begin seconds)
  string(TIMESTAMP now "%s")
  math(EXPR took "${now} - ${begin}")
  set(${seconds} ${took} PARENT_SCOPE)
endfunction()

# Builds a test. Sets how many seconds that took.
function(build_test subject seconds)
  string(REPLACE "/" "_" target "${subject}")
  string(TIMESTAMP begin "%s")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --build "${here}/build" --target ${target} --parallel 1
    RESULT_VARIABLE built
    OUTPUT_VARIABLE log
    ERROR_VARIABLE log)
  if(NOT built EQUAL 0)
    message(FATAL_ERROR " kestrel: ${subject} does not compile:\n${log}")
  endif()
  seconds_since(${begin} took)
  set(${seconds} ${took} PARENT_SCOPE)
endfunction()

# Runs a test, a fuzz target on its corpus, for some seconds at most. Sets how it ended: 0 says that it
# found nothing.
function(run_test subject limit ended)
  string(REPLACE "/" "_" target "${subject}")
  set(corpus "")
  if(subject MATCHES "^fuzz/(.*)")
    set(corpus "${copy}/tests/fuzz/corpus/${CMAKE_MATCH_1}")
  endif()
  execute_process(
    COMMAND "${here}/build/${target}" ${ARGN} ${corpus}
    WORKING_DIRECTORY "${here}"
    TIMEOUT ${limit}
    RESULT_VARIABLE result
    OUTPUT_QUIET ERROR_QUIET)
  set(${ended} "${result}" PARENT_SCOPE)
endfunction()

# As above; libFuzzer is told to make up nothing.
function(run_or_replay subject ended)
  set(options "")
  if(subject MATCHES "^fuzz/" AND SETTINGS MATCHES "LIBFUZZER")
    set(options -runs=0 -timeout=20)
  endif()
  run_test(${subject} ${time_limit} result ${options})
  set(${ended} "${result}" PARENT_SCOPE)
endfunction()

foreach(subject IN LISTS mine)
  build_test(${subject} building)
  string(TIMESTAMP begin "%s")
  run_or_replay(${subject} result)
  seconds_since(${begin} running)
  print_row("none" "" ${subject} ${building} ${running} "passed")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR " kestrel: ${subject} fails as it is (${result}), and so cannot find a bug.")
  endif()
endforeach()

# --- With them, one at a time ----------------------------------------------------------------------

set(missed "")
foreach(n RANGE 1 ${bug_count})
  set(subject "${subject_${n}}")
  if(NOT subject IN_LIST mine)
    continue()
  endif()
  file(WRITE "${copy}/include/kestrel/${header_${n}}" "${planted_${n}}")
  build_test(${subject} building)
  string(TIMESTAMP begin "%s")
  set(verdict "found")
  run_or_replay(${subject} result)
  if(result EQUAL 0 AND subject MATCHES "^fuzz/" AND SETTINGS MATCHES "LIBFUZZER")
    set(verdict "found by new inputs")
    file(REMOVE_RECURSE "${here}/new_inputs")
    file(MAKE_DIRECTORY "${here}/new_inputs")
    run_test(${subject} ${found_within} result -max_total_time=${fuzzing_time} -timeout=20
             -max_len=600 -len_control=10 "${here}/new_inputs")
  endif()
  seconds_since(${begin} running)
  file(WRITE "${copy}/include/kestrel/${header_${n}}" "${original_${n}}")

  if(result MATCHES "timeout")
    set(verdict "found: it hangs")
  endif()
  if(result EQUAL 0 OR running GREATER found_within)
    set(verdict "MISSED")
    list(APPEND missed "${bug_${n}}")
  endif()
  print_row("${bug_${n}}" "${promise_${n}}" ${subject} ${building} ${running} "${verdict}")
endforeach()

if(missed)
  list(JOIN missed ", " missed)
  message(FATAL_ERROR " kestrel: not found: ${missed}")
endif()
