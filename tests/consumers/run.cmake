# SPDX-License-Identifier: MIT
#
# Builds and runs one consumer in WORK_DIR, from nothing.
#
#   cmake -DCONSUMER=<name> -DKESTREL_SOURCE_DIR=... -DKESTREL_VERSION=... -DWORK_DIR=...
#         -DGENERATOR=... -DCXX=... -DASIO_INCLUDE_DIR=... -DBOOST_DIR=... -P run.cmake

cmake_minimum_required(VERSION 3.23...3.31)

file(REMOVE_RECURSE "${WORK_DIR}")
file(MAKE_DIRECTORY "${WORK_DIR}")

function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${WORK_DIR}" COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# configure(<source directory> <build directory> [<argument>...])
function(configure source build)
  run("${CMAKE_COMMAND}" -S "${source}" -B "${build}" -G "${GENERATOR}" -Werror=dev
      "-DCMAKE_CXX_COMPILER=${CXX}" "-Dasio_INCLUDE_DIR=${ASIO_INCLUDE_DIR}" ${ARGN})
endfunction()

# build_and_run(<build directory> <project> [<argument>...])
function(build_and_run build project)
  configure("${CMAKE_CURRENT_LIST_DIR}/${project}" "${build}" ${ARGN}
            "-DCMAKE_RUNTIME_OUTPUT_DIRECTORY_DEBUG=${WORK_DIR}/${build}" -DCMAKE_BUILD_TYPE=Debug)
  run("${CMAKE_COMMAND}" --build "${build}" --config Debug)
  run("${WORK_DIR}/${build}/consumer")
endfunction()

# compile_and_run(<source> <flag>...)
function(compile_and_run source)
  run("${CXX}" -std=c++20 "${source}" ${ARGN} -o consumer -pthread)
  run("${WORK_DIR}/consumer")
endfunction()

# install_to(<prefix> [<argument>...])
function(install_to prefix)
  configure("${KESTREL_SOURCE_DIR}" install -DKESTREL_BUILD_TESTS=OFF -DKESTREL_BUILD_BENCHMARKS=OFF
            -DKESTREL_BUILD_EXAMPLES=OFF ${ARGN})
  run("${CMAKE_COMMAND}" --install install --prefix "${prefix}")
endfunction()

if(CONSUMER STREQUAL "add_subdirectory")
  build_and_run(build add_subdirectory "-DKESTREL_SOURCE_DIR=${KESTREL_SOURCE_DIR}")
  run("${CMAKE_COMMAND}" --install build --config Debug --prefix prefix)

elseif(CONSUMER STREQUAL "fetch_content")
  build_and_run(build fetch_content "-DFETCHCONTENT_SOURCE_DIR_KESTREL=${KESTREL_SOURCE_DIR}")
  run("${CMAKE_COMMAND}" --install build --config Debug --prefix prefix)
  build_and_run(downstream fetch_content/downstream "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix")

elseif(CONSUMER STREQUAL "find_package")
  install_to("${WORK_DIR}/prefix")
  build_and_run(build find_package "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix"
                -DKESTREL_VERSION=${KESTREL_VERSION})

elseif(CONSUMER STREQUAL "wheel_alone")
  set(without_asio -DCMAKE_DISABLE_FIND_PACKAGE_asio=ON)
  build_and_run(in_tree wheel_alone ${without_asio} "-DKESTREL_SOURCE_DIR=${KESTREL_SOURCE_DIR}")
  install_to("${WORK_DIR}/prefix" ${without_asio})
  build_and_run(installed wheel_alone ${without_asio} "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix")

elseif(CONSUMER STREQUAL "boost")
  set(without_asio -DCMAKE_DISABLE_FIND_PACKAGE_asio=ON "-DBoost_DIR=${BOOST_DIR}")
  build_and_run(in_tree boost ${without_asio} "-DKESTREL_SOURCE_DIR=${KESTREL_SOURCE_DIR}")
  install_to("${WORK_DIR}/prefix" ${without_asio})
  build_and_run(installed boost ${without_asio} "-DCMAKE_PREFIX_PATH=${WORK_DIR}/prefix")

elseif(CONSUMER STREQUAL "copied_folder")
  file(COPY "${KESTREL_SOURCE_DIR}/include/kestrel" DESTINATION "${WORK_DIR}/vendored")
  compile_and_run("${CMAKE_CURRENT_LIST_DIR}/main.cpp" -DASIO_STANDALONE -Ivendored
                  "-I${ASIO_INCLUDE_DIR}")

elseif(CONSUMER STREQUAL "single_header")
  foreach(output IN ITEMS vendored again)
    run("${CMAKE_COMMAND}" "-DOUTPUT=${WORK_DIR}/${output}" -P
        "${KESTREL_SOURCE_DIR}/cmake/single_header.cmake")
  endforeach()
  foreach(header IN ITEMS kestrel.hpp kestrel_wheel.hpp)
    run("${CMAKE_COMMAND}" -E compare_files vendored/${header} again/${header})
  endforeach()

  # All of it is in there.
  file(READ "${WORK_DIR}/vendored/kestrel.hpp" text)
  file(GLOB_RECURSE headers RELATIVE "${KESTREL_SOURCE_DIR}/include"
       "${KESTREL_SOURCE_DIR}/include/*.hpp")
  foreach(header IN LISTS headers)
    string(FIND "${text}" "\n// ---- ${header} " position)
    if(position EQUAL -1)
      message(FATAL_ERROR "${header} is not in the single header.")
    endif()
  endforeach()

  compile_and_run("${CMAKE_CURRENT_LIST_DIR}/single_header/main.cpp" -DASIO_STANDALONE -Ivendored
                  "-I${KESTREL_SOURCE_DIR}/include" "-I${ASIO_INCLUDE_DIR}")

elseif(CONSUMER STREQUAL "pkg_config")
  find_program(PKG_CONFIG NAMES pkg-config pkgconf)
  if(NOT PKG_CONFIG)
    message("skipped: pkg-config was not found (Debian: apt-get install pkg-config)")
    return()
  endif()
  # Not the prefix that was configured: what is installed may be moved.
  install_to("${WORK_DIR}/prefix")
  set(ENV{PKG_CONFIG_PATH} "${WORK_DIR}/prefix/share/pkgconfig")
  run("${PKG_CONFIG}" "kestrel = ${KESTREL_VERSION}" "kestrel-wheel = ${KESTREL_VERSION}"
      "kestrel-boost = ${KESTREL_VERSION}")
  execute_process(COMMAND "${PKG_CONFIG}" "kestrel > ${KESTREL_VERSION}" RESULT_VARIABLE found)
  if(found EQUAL 0)
    message(FATAL_ERROR "Only a newer version was asked for, and ${KESTREL_VERSION} must not do.")
  endif()

  # flags(<module>): what it says, as a list
  function(flags module result)
    execute_process(
      COMMAND "${PKG_CONFIG}" --cflags --libs "${module}" COMMAND_ERROR_IS_FATAL ANY
      OUTPUT_VARIABLE said)
    separate_arguments(said UNIX_COMMAND "${said}")
    set(${result} ${said} PARENT_SCOPE)
  endfunction()

  flags(kestrel flags)
  compile_and_run("${CMAKE_CURRENT_LIST_DIR}/main.cpp" ${flags} "-I${ASIO_INCLUDE_DIR}")
  flags(kestrel-wheel flags)
  compile_and_run("${CMAKE_CURRENT_LIST_DIR}/wheel_alone/main.cpp" ${flags})

else()
  message(FATAL_ERROR "There is no consumer called ${CONSUMER}.")
endif()
