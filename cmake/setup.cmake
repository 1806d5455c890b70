# SPDX-License-Identifier: MIT
#
# What the scripts beside this file have in common: kestrel_setup() sees to it that a compiler, a
# build tool and the libraries that are needed are there; kestrel_build() also builds one program.
#
# What is missing is installed where that is possible (Debian's apt-get, as root). Libraries that
# cannot be installed are fetched by the build instead, if the network allows it.

include("${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake")

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH KESTREL_SOURCE_DIR)

cmake_host_system_information(RESULT KESTREL_JOBS QUERY NUMBER_OF_LOGICAL_CORES)
if(DEFINED ENV{CMAKE_BUILD_PARALLEL_LEVEL})
  set(KESTREL_JOBS $ENV{CMAKE_BUILD_PARALLEL_LEVEL})
endif()

# Installs Debian packages if this is a system and a user that can, and if nothing has to go for them;
# otherwise does nothing. Whoever calls it looks again for what was missing.
function(kestrel_apt_install)
  find_program(KESTREL_APT_GET apt-get)
  if(NOT KESTREL_APT_GET)
    return()
  endif()
  execute_process(COMMAND id -u OUTPUT_VARIABLE user OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT user STREQUAL "0")
    return()
  endif()

  list(JOIN ARGN " " packages)
  message(STATUS "kestrel: apt-get install ${packages}")
  set(ENV{DEBIAN_FRONTEND} noninteractive)
  # A package list that could not be renewed may still do.
  execute_process(COMMAND "${KESTREL_APT_GET}" -q update OUTPUT_QUIET ERROR_QUIET)
  execute_process(
    COMMAND "${KESTREL_APT_GET}" -q install --yes --no-install-recommends --no-remove ${ARGN}
    RESULT_VARIABLE result
    OUTPUT_QUIET
    ERROR_VARIABLE log)
  if(NOT result EQUAL 0)
    message(STATUS "kestrel: apt-get could not install ${packages}\n${log}")
  endif()
endfunction()

# Looks for a program by several names, and installs a Debian package if there is none.
macro(kestrel_find_tool variable debian_package)
  find_program(${variable} NAMES ${ARGN})
  if(NOT ${variable})
    kestrel_apt_install(${debian_package})
    find_program(${variable} NAMES ${ARGN})
  endif()
endmacro()

# Sets <name>_where for each of the dependencies that is installed.
macro(kestrel_probe)
  file(REMOVE_RECURSE "${KESTREL_SOURCE_DIR}/build/probe")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/probe"
            -B "${KESTREL_SOURCE_DIR}/build/probe" ${generator} "-DDEPENDENCIES=${dependencies}"
    RESULT_VARIABLE result
    OUTPUT_VARIABLE log
    ERROR_VARIABLE log)
  if(result EQUAL 0)
    include("${KESTREL_SOURCE_DIR}/build/probe/answer.cmake")
  endif()
endmacro()

# kestrel_setup(<failure> <arguments> <build directory> <dependency>...)
#
# Sets <arguments> to what the configuration of the build directory needs to be told. If something is
# missing and cannot be had, sets <failure> to a sentence that says what to do, and otherwise to "".
function(kestrel_setup failure arguments build_dir)
  set(dependencies ${ARGN})
  set(generator "")

  # On Windows, CMake knows better where compilers are, and its generator needs no build tool.
  if(NOT CMAKE_HOST_WIN32)
    if(NOT DEFINED ENV{CXX})
      kestrel_find_tool(KESTREL_CXX g++ c++ g++ clang++)
      if(NOT KESTREL_CXX)
        set(${failure} "kestrel: no C++ compiler was found; install one (Debian: apt-get install g++) \
and run this command again." PARENT_SCOPE)
        return()
      endif()
    endif()

    if(NOT DEFINED ENV{CMAKE_GENERATOR})
      find_program(KESTREL_NINJA NAMES ninja ninja-build)
      find_program(KESTREL_MAKE NAMES make gmake)
      if(NOT KESTREL_MAKE)
        kestrel_find_tool(KESTREL_NINJA ninja-build ninja ninja-build)
      endif()
      if(KESTREL_NINJA)
        set(generator -G Ninja)
      elseif(KESTREL_MAKE)
        set(generator -G "Unix Makefiles")
      else()
        set(${failure} "kestrel: neither Ninja nor make was found; install one (Debian: apt-get \
install ninja-build) and run this command again." PARENT_SCOPE)
        return()
      endif()
    endif()
  endif()

  kestrel_probe()
  if(NOT result EQUAL 0)
    message(STATUS "${log}")
    set(${failure} "kestrel: CMake cannot configure a trivial project here, as the lines \
above tell." PARENT_SCOPE)
    return()
  endif()

  set(packages "")
  foreach(name IN LISTS dependencies)
    if(NOT ${name}_where)
      kestrel_describe_dependency(${name})
      list(APPEND packages ${debian_package})
    endif()
  endforeach()
  if(packages)
    kestrel_apt_install(${packages})
    kestrel_probe()
  endif()

  set(fetch OFF)
  set(missing "")
  set(packages "")
  foreach(name IN LISTS dependencies)
    kestrel_describe_dependency(${name})
    if(${name}_where)
      message(STATUS "kestrel: found ${title} ${${name}_where}")
      continue()
    endif()

    # Asked before the build is, which would report a failure in very many words.
    set(result "no release")
    if(repository)
      message(STATUS "kestrel: ${title} is not installed; looking for ${tag} of ${repository}")
      set(ENV{GIT_TERMINAL_PROMPT} 0)
      execute_process(
        COMMAND git ls-remote --exit-code "${repository}" "refs/tags/${tag}"
        TIMEOUT 60
        RESULT_VARIABLE result
        OUTPUT_QUIET ERROR_QUIET)
    endif()
    string(TOLOWER "${build_dir}/_deps/${name}-src" fetched)
    if(result EQUAL 0 OR EXISTS "${fetched}")
      set(fetch ON)
    else()
      list(APPEND missing "${title}")
      list(APPEND packages ${debian_package})
    endif()
  endforeach()

  if(missing)
    set(was "was")
    set(it "it")
    list(LENGTH missing count)
    if(count GREATER 1)
      set(was "were")
      set(it "them")
    endif()
    list(JOIN missing ", " missing)
    string(REGEX REPLACE ", ([^,]+)$" " and \\1" missing "${missing}")
    list(JOIN packages " " packages)
    set(${failure} "kestrel: ${missing} ${was} not found and could not be fetched; install ${it} \
(Debian: apt-get install ${packages}) and run this command again." PARENT_SCOPE)
    return()
  endif()

  # A build directory keeps the generator that it was made with.
  if(EXISTS "${build_dir}/CMakeCache.txt")
    set(generator "")
  endif()
  set(${failure} "" PARENT_SCOPE)
  set(${arguments} ${generator} -DKESTREL_FETCH_DEPENDENCIES=${fetch} PARENT_SCOPE)
endfunction()

# kestrel_build(<failure> <build directory> <part> <target> <dependency>...)
#
# Sets up the dependencies, configures a release build of one part of the project (TESTS, BENCHMARKS
# or EXAMPLES) and builds the target, a program of that part, into bin/ of the build directory. Sets
# <failure> as kestrel_setup() does; a configuration or a build that fails ends the script.
function(kestrel_build failure build_dir part target)
  kestrel_setup(problem arguments "${build_dir}" ${ARGN})
  set(${failure} "${problem}" PARENT_SCOPE)
  if(problem)
    return()
  endif()

  # Of two settings of one option, the later one holds.
  execute_process(
    COMMAND
      "${CMAKE_COMMAND}" -S "${KESTREL_SOURCE_DIR}" -B "${build_dir}" ${arguments}
      -DCMAKE_BUILD_TYPE=Release "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_RELEASE=${build_dir}/bin"
      -DKESTREL_BUILD_TESTS=OFF -DKESTREL_BUILD_BENCHMARKS=OFF -DKESTREL_BUILD_EXAMPLES=OFF
      -DKESTREL_INSTALL=OFF -DKESTREL_BUILD_${part}=ON
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --config Release --target ${target} --parallel
            ${KESTREL_JOBS}
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()
