# SPDX-License-Identifier: MIT
#
# Writes single headers, for those who would rather copy one file: kestrel.hpp, which is everything
# (kestrel/kestrel.hpp and kestrel/testing.hpp), and kestrel_wheel.hpp, which is what knows no Asio.
#
#   cmake -P cmake/single_header.cmake                  into build/single_header
#   cmake -DOUTPUT=<folder> -P cmake/single_header.cmake
#
# The same sources give the same bytes. Each header goes in whole, behind those that it includes and
# with its include guard, so that a source may include both files, or one of them and a header of the
# folder; and everything that users define for the folder works for the file. Includes of the system's
# headers move to the top, unless a header has them for some compilers or settings only.

cmake_minimum_required(VERSION 3.23...3.31)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH source_dir)
if(NOT DEFINED OUTPUT)
  set(OUTPUT "${source_dir}/build/single_header")
endif()

# CMake's lists give a meaning to these, which may be anywhere in a source.
string(ASCII 1 bracket_open)
string(ASCII 2 bracket_close)
string(ASCII 3 semicolon)
string(ASCII 4 backslash)

function(encode text result)
  string(REPLACE "[" "${bracket_open}" text "${text}")
  string(REPLACE "]" "${bracket_close}" text "${text}")
  string(REPLACE ";" "${semicolon}" text "${text}")
  string(REPLACE "\\" "${backslash}" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(decode text result)
  string(REPLACE "${bracket_open}" "[" text "${text}")
  string(REPLACE "${bracket_close}" "]" text "${text}")
  string(REPLACE "${semicolon}" ";" text "${text}")
  string(REPLACE "${backslash}" "\\" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# Appends a header of include/ to `body`, if it is not there yet, behind those that it includes first,
# and what it includes of the system to `system_includes`.
function(paste header)
  if(header IN_LIST pasted)
    return()
  endif()
  list(APPEND pasted "${header}")

  file(READ "${source_dir}/include/${header}" lines)
  encode("${lines}" lines)
  string(REPLACE "// SPDX-License-Identifier: MIT\n//\n" "" lines "${lines}") # once is enough
  string(REGEX REPLACE "\n+$" "" lines "${lines}")
  string(REPLACE "\n" ";" lines "${lines}")
  set(text "")
  set(depth 0) # 1 within the include guard
  set(has_code FALSE)
  set(previous "")
  foreach(line IN LISTS lines)
    if(line MATCHES "^# *if")
      math(EXPR depth "${depth} + 1")
    elseif(line MATCHES "^# *endif")
      math(EXPR depth "${depth} - 1")
    elseif(line MATCHES "^#include <(kestrel/[^>]+)>")
      set(included "${CMAKE_MATCH_1}")
      if(NOT depth EQUAL 1)
        message(FATAL_ERROR " kestrel: ${header} includes ${included} under a condition, which a single \
header cannot.")
      endif()
      if(has_code) # what comes after it depends on it
        set(body_before "${body}")
        set(body "")
        paste("${included}")
        string(APPEND text "${body}")
        set(body "${body_before}")
      else()
        paste("${included}")
      endif()
      continue()
    elseif(depth EQUAL 1 AND line MATCHES "^#include <[^>]+>$")
      list(APPEND system_includes "${line}")
      continue()
    elseif(line STREQUAL "KESTREL_BEGIN_NAMESPACE")
      set(has_code TRUE)
    endif()
    if(line STREQUAL "" AND previous STREQUAL "") # what is taken out leaves no gaps
      continue()
    endif()
    string(APPEND text "${line}\n")
    set(previous "${line}")
  endforeach()

  string(LENGTH "// ---- ${header} " length)
  math(EXPR length "100 - ${length}")
  string(REPEAT "-" ${length} rule)
  string(APPEND body "// ---- ${header} ${rule}\n//\n${text}\n")
  foreach(variable IN ITEMS pasted body system_includes)
    set(${variable} "${${variable}}" PARENT_SCOPE)
  endforeach()
endfunction()

# write_single_header(<file> <what it is> <header>...)
function(write_single_header file what)
  set(pasted "")
  set(body "")
  set(system_includes "")
  foreach(header IN LISTS ARGN)
    paste("${header}")
  endforeach()
  list(SORT system_includes)
  list(REMOVE_DUPLICATES system_includes)
  list(JOIN system_includes "\n" system_includes)

  file(READ "${source_dir}/LICENSE" license)
  encode("${license}" license)
  string(REGEX REPLACE "\n+$" "" license "${license}")
  string(REPLACE "\n" "\n// " license "// ${license}")
  string(REPLACE "// \n" "//\n" license "${license}")

  string(REGEX MATCHALL "#define KESTREL_VERSION_[A-Z]+ [0-9]+" version "${body}")
  list(TRANSFORM version REPLACE "[^0-9]" "")
  list(JOIN version "." version)

  string(TOUPPER "${file}" guard)
  string(REGEX REPLACE "[^A-Z]" "_" guard "KESTREL_SINGLE_HEADER_${guard}")
  decode(
    "// SPDX-License-Identifier: MIT
//
// Kestrel ${version}, ${what}.
// cmake/single_header.cmake made it of the headers in include/kestrel.
//
${license}

#ifndef ${guard}
#define ${guard}

${system_includes}

${body}#endif // ${guard}
"
    text)
  file(WRITE "${OUTPUT}/${file}" "${text}")
  message(STATUS "kestrel: ${OUTPUT}/${file}")
endfunction()

write_single_header(
  kestrel.hpp "all of it in one header; compile with ASIO_STANDALONE or KESTREL_USE_BOOST_ASIO defined"
  kestrel/kestrel.hpp kestrel/testing.hpp)
write_single_header(kestrel_wheel.hpp "the timing wheel without Asio in one header" kestrel/wheel.hpp)
