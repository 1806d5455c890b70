# SPDX-License-Identifier: MIT
#
# The test of the tests: plants bugs in a copy of the library, one at a time, and shows that the tests
# find each of them. What is planted, and who is to find it, is in tests/planted_bugs/bugs.cmake.
#
#   cmake -P cmake/planted_bugs.cmake                 all of them, in about ten minutes
#   cmake -DONLY=strand -P cmake/planted_bugs.cmake   those whose description matches
#
# First each of these tests passes without a bug, so that one that fails has found it. A test that hangs
# has found it, too. It is an error if one is not found, or cannot be planted any more.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")

set(time_limit 80) # seconds for a test

set(build_dir "${KESTREL_SOURCE_DIR}/build/planted_bugs")
set(copy "${build_dir}/copy")

# plant(<promise> <bug> <header> <subject> <text> <replacement>)
#
# In <header>, which lies in include/kestrel, <text> is there once and becomes <replacement>. The test
# <subject>, a <room>/<subject>, finds it.
function(plant promise bug header subject text replacement)
  if(DEFINED ONLY AND NOT bug MATCHES "${ONLY}")
    return()
  endif()
  file(READ "${KESTREL_SOURCE_DIR}/include/kestrel/${header}" original)
  string(FIND "${original}" "${text}" first)
  string(FIND "${original}" "${text}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR " kestrel: \"${bug}\" cannot be planted: in ${header} this is not there once:\n\n\
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

# Builds the test and runs it, whose result it sets, and how many seconds that took.
function(run_test subject result seconds)
  string(REPLACE "/" "_" target "${subject}")
  string(TIMESTAMP begin "%s")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --build "${build_dir}/build" --target ${target}
    RESULT_VARIABLE built
    OUTPUT_VARIABLE log
    ERROR_VARIABLE log)
  if(NOT built EQUAL 0)
    message(FATAL_ERROR " kestrel: ${subject} does not compile:\n${log}")
  endif()
  execute_process(
    COMMAND "${build_dir}/build/${target}"
    TIMEOUT ${time_limit}
    RESULT_VARIABLE ended
    OUTPUT_QUIET ERROR_QUIET)
  string(TIMESTAMP end "%s")
  math(EXPR took "${end} - ${begin}")
  set(${result} "${ended}" PARENT_SCOPE)
  set(${seconds} ${took} PARENT_SCOPE)
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

function(print_row bug promise subject seconds verdict)
  pad(bug "${bug}" 66)
  pad(promise "${promise}" 8)
  pad(subject "${subject}" 26)
  pad(seconds "${seconds}" 8)
  message("${bug} ${promise} ${subject} ${seconds} ${verdict}")
endfunction()

# --- The bugs, and the tests without them ----------------------------------------------------------

set(bug_count 0)
set(subjects "")
include("${KESTREL_SOURCE_DIR}/tests/planted_bugs/bugs.cmake")

kestrel_setup(failure arguments "${build_dir}/build" asio Catch2)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

file(REMOVE_RECURSE "${copy}")
file(COPY "${KESTREL_SOURCE_DIR}/CMakeLists.txt" "${KESTREL_SOURCE_DIR}/cmake"
          "${KESTREL_SOURCE_DIR}/include" "${KESTREL_SOURCE_DIR}/tests" DESTINATION "${copy}")
# What an earlier run built may have a bug in it.
file(GLOB_RECURSE headers "${copy}/include/*.hpp")
file(TOUCH ${headers})
execute_process(
  COMMAND
    "${CMAKE_COMMAND}" -S "${KESTREL_SOURCE_DIR}/tests/planted_bugs" -B "${build_dir}/build"
    ${arguments} -DCMAKE_BUILD_TYPE= "-DKESTREL_COPY=${copy}" "-DSUBJECTS=${subjects}"
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)

print_row("without a bug" "" "test" "seconds" "")
foreach(subject IN LISTS subjects)
  run_test(${subject} result seconds)
  print_row("" "" ${subject} ${seconds} "passed")
  if(NOT result EQUAL 0)
    message(FATAL_ERROR " kestrel: ${subject} fails as it is (${result}), and so cannot find a bug.")
  endif()
endforeach()

# --- With them, one at a time ----------------------------------------------------------------------

message("")
print_row("bug" "promise" "test" "seconds" "")
set(missed "")
foreach(n RANGE 1 ${bug_count})
  file(WRITE "${copy}/include/kestrel/${header_${n}}" "${planted_${n}}")
  run_test(${subject_${n}} result seconds)
  file(WRITE "${copy}/include/kestrel/${header_${n}}" "${original_${n}}")

  set(verdict "found")
  if(result EQUAL 0)
    set(verdict "MISSED")
    list(APPEND missed "${bug_${n}}")
  elseif(result MATCHES "timeout")
    set(verdict "found: it hangs")
  endif()
  print_row("${bug_${n}}" "${promise_${n}}" "${subject_${n}}" ${seconds} "${verdict}")
endforeach()

if(missed)
  list(JOIN missed ", " missed)
  message(FATAL_ERROR " kestrel: not found: ${missed}")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "all ${bug_count} planted bugs were found")
