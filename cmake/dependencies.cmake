# SPDX-License-Identifier: MIT
#
# What Kestrel is built with, in one place for the project and for the scripts beside this file.

set(KESTREL_ASIO_MINIMUM 1.22.1)
set(KESTREL_BOOST_MINIMUM 1.81)

# By the name of the CMake package: what people call it; the Debian package; the release to fetch. Boost
# is only for tests that can be left out, and too large to fetch for that.
set(KESTREL_DEPENDENCY_asio "Asio" libasio-dev https://github.com/chriskohlhoff/asio.git asio-1-30-2)
set(KESTREL_DEPENDENCY_Boost "Boost ${KESTREL_BOOST_MINIMUM}" libboost1.81-dev "" "")
set(KESTREL_DEPENDENCY_Catch2 "Catch2" catch2 https://github.com/catchorg/Catch2.git v3.7.1)
set(KESTREL_DEPENDENCY_benchmark "Google Benchmark" libbenchmark-dev
                                 https://github.com/google/benchmark.git v1.9.1)

# Sets title, debian_package, repository and tag for the dependency called name.
macro(kestrel_describe_dependency name)
  list(GET KESTREL_DEPENDENCY_${name} 0 title)
  list(GET KESTREL_DEPENDENCY_${name} 1 debian_package)
  list(GET KESTREL_DEPENDENCY_${name} 2 repository)
  list(GET KESTREL_DEPENDENCY_${name} 3 tag)
endmacro()

# A script cannot have options, and asks only for the table above.
if(CMAKE_SCRIPT_MODE_FILE)
  return()
endif()

option(KESTREL_FETCH_DEPENDENCIES "Fetch pinned releases of what Kestrel needs and is not installed" OFF)

# kestrel_find_dependency(<name> [<minimum version>])
#
# Finds the package, or fetches it where KESTREL_FETCH_DEPENDENCIES allows that; sets <name>_FOUND.
macro(kestrel_find_dependency name)
  find_package(${name} ${ARGN} QUIET)
  if(NOT ${name}_FOUND AND KESTREL_FETCH_DEPENDENCIES)
    kestrel_fetch_dependency(${name})
    if("${name}" STREQUAL "asio")
      # What was fetched are headers without CMake, and a finder for such headers is at hand. What it
      # found before, if anything, was too old.
      unset(asio_INCLUDE_DIR CACHE)
      set(asio_ROOT "${asio_SOURCE_DIR}")
      find_package(asio ${ARGN} QUIET REQUIRED)
    endif()
    set(${name}_FOUND TRUE)
  endif()
endmacro()

# kestrel_require_dependency(<name> [<minimum version>])
#
# The same, and says what to do when there is nothing to be found.
macro(kestrel_require_dependency name)
  kestrel_find_dependency(${name} ${ARGN})
  if(NOT ${name}_FOUND)
    kestrel_describe_dependency(${name})
    message(FATAL_ERROR "kestrel: ${title} was not found; install it (Debian: apt-get install "
                        "${debian_package}) or configure with -DKESTREL_FETCH_DEPENDENCIES=ON.")
  endif()
endmacro()

macro(kestrel_fetch_dependency name)
  kestrel_describe_dependency(${name})
  message(STATUS "kestrel: fetching ${title}, ${tag} of ${repository}")

  include(FetchContent)
  set(arguments GIT_REPOSITORY "${repository}" GIT_TAG "${tag}" GIT_SHALLOW TRUE)
  if(CMAKE_VERSION VERSION_GREATER_EQUAL 3.25)
    # Warnings in their headers are not ours to mend.
    list(APPEND arguments SYSTEM)
  endif()
  FetchContent_Declare(${name} ${arguments})

  # A tag that was fetched does not change: no network is needed a second time.
  set(FETCHCONTENT_UPDATES_DISCONNECTED ON)
  set(BENCHMARK_ENABLE_TESTING OFF)
  set(BENCHMARK_ENABLE_INSTALL OFF)
  set(BENCHMARK_ENABLE_WERROR OFF)
  FetchContent_MakeAvailable(${name})
endmacro()
