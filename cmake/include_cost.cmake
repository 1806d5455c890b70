# SPDX-License-Identifier: MIT
#
# kestrel_include_cost(<build directory> <repetitions> <file>)
#
# Compiles a source that includes <kestrel/timer_wheel.hpp> and one that includes
# <asio/steady_timer.hpp>, in turn, as often as it is told, and writes the medians of seconds:
#
#   syntax_only    of -fsyntax-only, for a source with nothing but the includes
#   include_only   of -O2 -c, for the same
#   used           of -O2 -c, for a program with one timer
#   binary_bytes   how large that program is, linked and stripped
#
# The compiler and the include directories are those of the build directory. GCC and Clang.

function(kestrel_include_cost build_dir repetitions out)
  load_cache("${build_dir}" READ_WITH_PREFIX "" CMAKE_CXX_COMPILER asio_INCLUDE_DIR)
  set(sources "${KESTREL_SOURCE_DIR}/bench/include_cost")
  set(work "${build_dir}/include_cost")
  set(flags -std=c++20 -DASIO_STANDALONE -I "${KESTREL_SOURCE_DIR}/include")
  if(asio_INCLUDE_DIR AND NOT asio_INCLUDE_DIR MATCHES "^/usr/include/?$")
    list(APPEND flags -isystem "${asio_INCLUDE_DIR}")
  endif()
  file(MAKE_DIRECTORY "${work}")

  set(syntax_only -fsyntax-only)
  set(include_only -O2 -c -o "${work}/object.o")
  set(used -O2 -DUSED -c -o "${work}/object.o")
  set(programs asio kestrel)
  set(ways syntax_only include_only used)
  foreach(repetition RANGE 1 ${repetitions})
    foreach(way IN LISTS ways)
      foreach(program IN LISTS programs)
        string(TIMESTAMP start "%s%f")
        execute_process(COMMAND "${CMAKE_CXX_COMPILER}" ${flags} ${${way}} "${sources}/${program}.cpp"
                        RESULT_VARIABLE result ERROR_VARIABLE log)
        string(TIMESTAMP end "%s%f")
        if(NOT result EQUAL 0)
          message(STATUS "kestrel: what including costs was not measured:\n${log}")
          return()
        endif()
        math(EXPR taken "(${end} - ${start}) / 1000") # milliseconds
        list(APPEND ${program}_${way} ${taken})
      endforeach()
    endforeach()
  endforeach()

  set(rows "")
  set(csv "program,syntax_only,include_only,used,binary_bytes\n")
  math(EXPR middle "${repetitions} / 2")
  foreach(program IN LISTS programs)
    execute_process(
      COMMAND "${CMAKE_CXX_COMPILER}" ${flags} -O2 -DUSED -s -pthread -o "${work}/${program}"
              "${sources}/${program}.cpp"
      COMMAND_ERROR_IS_FATAL ANY)
    file(SIZE "${work}/${program}" bytes)
    set(fields "${program}")
    foreach(way IN LISTS ways)
      list(SORT ${program}_${way} COMPARE NATURAL)
      list(GET ${program}_${way} ${middle} ms)
      math(EXPR whole "${ms} / 1000")
      math(EXPR rest "${ms} % 1000 + 1000")
      string(SUBSTRING ${rest} 1 3 rest)
      list(APPEND fields ${whole}.${rest})
    endforeach()
    list(APPEND fields ${bytes})
    string(REPLACE ";" "," fields "${fields}")
    string(APPEND csv "${fields}\n")
  endforeach()
  file(WRITE "${out}" "${csv}")
  message(STATUS "kestrel: what including costs, seconds of compiling and bytes of the program:\n${csv}")
endfunction()
