# SPDX-License-Identifier: MIT
#
# Builds RESTinio's server and compares its timers with Kestrel's, under load by wrk.
#
#   cmake -P examples/restinio/compare.cmake
#   cmake -DARGS="--threads 2" -P examples/restinio/compare.cmake     with arguments for the comparison

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/../../cmake/setup.cmake")

# A script does not know where headers usually are.
set(CMAKE_PREFIX_PATH /usr /usr/local)
find_path(restinio_headers restinio/all.hpp)
find_program(wrk wrk)
if(NOT restinio_headers OR NOT wrk)
  kestrel_apt_install(librestinio-dev wrk)
  find_path(restinio_headers restinio/all.hpp)
endif()
if(NOT restinio_headers)
  message(FATAL_ERROR " kestrel: RESTinio was not found; install it (Debian: apt-get install \
librestinio-dev) and run this command again.")
endif()

set(build_dir "${KESTREL_SOURCE_DIR}/build/restinio")
kestrel_build(failure "${build_dir}" EXAMPLES restinio_server asio)
if(failure)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " ${failure}")
endif()

separate_arguments(ARGS UNIX_COMMAND "${ARGS}")
execute_process(COMMAND "${build_dir}/bin/restinio_server" compare ${ARGS} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: the comparison failed (${result}).")
endif()
