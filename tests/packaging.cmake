# SPDX-License-Identifier: MIT
#
# The recipes for vcpkg and Conan, as far as can be told without these two: they are for this version,
# they are well-formed, and the port, from a checkout and as released, installs what it should. Here,
# functions of vcpkg's do what theirs would do.
#
#   cmake -DWORK_DIR=... -DGENERATOR=... -DCXX=... -P packaging.cmake

cmake_minimum_required(VERSION 3.23...3.31)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH source_dir)
file(REMOVE_RECURSE "${WORK_DIR}")

file(STRINGS "${source_dir}/include/kestrel/version.hpp" version
     REGEX "^#define KESTREL_VERSION_[A-Z]+ [0-9]+$")
list(TRANSFORM version REPLACE "[^0-9]" "")
list(JOIN version "." version)

# --- Versions --------------------------------------------------------------------------------------

file(READ "${source_dir}/packaging/vcpkg/kestrel/vcpkg.json" manifest)
string(JSON port_version GET "${manifest}" version)
if(NOT port_version STREQUAL version)
  message(FATAL_ERROR "packaging/vcpkg is for ${port_version}, and this is ${version}.")
endif()

string(REGEX MATCH "^[0-9]+\\.[0-9]+" minor_version "${version}")
file(READ "${source_dir}/README.md" readme)
string(REGEX MATCHALL "find_package\\(kestrel [0-9.]+" asked_for "${readme}")
list(REMOVE_DUPLICATES asked_for)
if(NOT asked_for STREQUAL "find_package(kestrel ${minor_version}")
  message(FATAL_ERROR "README.md asks for \"${asked_for}\", and this is ${version}.")
endif()

# --- The port --------------------------------------------------------------------------------------

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${CURRENT_PACKAGES_DIR}-build" -G
            "${GENERATOR}" "-DCMAKE_CXX_COMPILER=${CXX}" ${arg_OPTIONS}
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_cmake_install)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" --install "${CURRENT_PACKAGES_DIR}-build" --config Release --prefix
            "${CURRENT_PACKAGES_DIR}"
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
  file(GLOB files "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/*.cmake")
  file(INSTALL ${files} DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}")
endfunction()

function(vcpkg_fixup_pkgconfig)
  if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/share/pkgconfig/kestrel.pc")
    message(FATAL_ERROR "There is nothing to fix for pkg-config.")
  endif()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(COPY ${arg_FILE_LIST} DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  file(RENAME "${CURRENT_PACKAGES_DIR}/share/${PORT}/LICENSE"
       "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright")
endfunction()

function(vcpkg_download_distfile variable)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "FILENAME;SHA512" "URLS")
  file(
    DOWNLOAD "${arg_URLS}" "${WORK_DIR}/downloads/${arg_FILENAME}"
    EXPECTED_HASH SHA512=${arg_SHA512})
  set(${variable} "${WORK_DIR}/downloads/${arg_FILENAME}" PARENT_SCOPE)
endfunction()

function(vcpkg_extract_source_archive variable)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "ARCHIVE" "")
  file(ARCHIVE_EXTRACT INPUT "${arg_ARCHIVE}" DESTINATION "${WORK_DIR}/extracted")
  file(GLOB folder "${WORK_DIR}/extracted/*")
  set(${variable} "${folder}" PARENT_SCOPE)
endfunction()

# install_port(<name> <portfile>)
function(install_port name portfile)
  set(PORT kestrel)
  set(CURRENT_PACKAGES_DIR "${WORK_DIR}/${name}")
  include("${portfile}")
  foreach(file IN ITEMS include/kestrel/kestrel.hpp share/kestrel/kestrel-config.cmake
                        share/kestrel/Findasio.cmake share/kestrel/copyright share/kestrel/usage)
    if(NOT EXISTS "${CURRENT_PACKAGES_DIR}/${file}")
      message(FATAL_ERROR "The port does not install ${file}.")
    endif()
  endforeach()
  file(GLOB folders RELATIVE "${CURRENT_PACKAGES_DIR}" "${CURRENT_PACKAGES_DIR}/*")
  if(NOT folders STREQUAL "include;share")
    message(FATAL_ERROR "The port installs more than it should: ${folders}")
  endif()
endfunction()

install_port(checkout "${source_dir}/packaging/vcpkg/kestrel/portfile.cmake")

# What git knows nothing of is no checkout, and nothing is released from there.
execute_process(
  COMMAND git -c safe.directory=* rev-parse HEAD
  WORKING_DIRECTORY "${source_dir}"
  RESULT_VARIABLE result
  OUTPUT_QUIET ERROR_QUIET)
if(result EQUAL 0)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" "-DURL=file://${WORK_DIR}/release" "-DOUTPUT=${WORK_DIR}/release"
            -DDRAFT=ON -P "${source_dir}/cmake/release.cmake"
    COMMAND_ERROR_IS_FATAL ANY)
  install_port(released "${WORK_DIR}/release/vcpkg/ports/kestrel/portfile.cmake")
endif()

# --- The recipe ------------------------------------------------------------------------------------

find_program(python NAMES python3)
if(python)
  file(GLOB_RECURSE recipes "${source_dir}/packaging/conan/*.py")
  foreach(recipe IN LISTS recipes)
    execute_process(
      COMMAND "${python}" -c "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
              "${recipe}"
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endif()
