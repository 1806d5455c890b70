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
  run("${CXX}" -std=c++20 -Ivendored "-I${ASIO_INCLUDE_DIR}"
      "${CMAKE_CURRENT_LIST_DIR}/main.cpp" -o consumer -pthread)
  run("${WORK_DIR}/consumer")

else()
  message(FATAL_ERROR "There is no consumer called ${CONSUMER}.")
endif()
