# SPDX-License-Identifier: MIT
#
# Makes what a release consists of, from the commit that is checked out: the archive, the single
# headers, a port for vcpkg's registry, a recipe for Conan's, and what the changelog says of it.
# CONTRIBUTING.md has the steps before and after.
#
#   cmake -DURL=https://... -P cmake/release.cmake    URL is the folder that will have the archive
#
# DRAFT=ON does so before the changelog has a section for the version. TAG is what the commit is tagged
# with, to be compared. OUTPUT is another folder than build/release.

cmake_minimum_required(VERSION 3.23...3.31)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH source_dir)
if(NOT DEFINED OUTPUT)
  set(OUTPUT "${source_dir}/build/release")
endif()
if(NOT URL)
  message(FATAL_ERROR " kestrel: -DURL=https://... is missing, the folder that will have the archive.")
endif()

file(STRINGS "${source_dir}/include/kestrel/version.hpp" version
     REGEX "^#define KESTREL_VERSION_[A-Z]+ [0-9]+$")
list(TRANSFORM version REPLACE "[^0-9]" "")
list(JOIN version "." version)

if(DEFINED TAG AND NOT TAG STREQUAL "v${version}")
  message(FATAL_ERROR " kestrel: the tag is ${TAG}, and this is ${version}.")
endif()

file(READ "${source_dir}/CHANGELOG.md" changelog)
string(FIND "${changelog}" "\n## [${version}] - " section)
if(section EQUAL -1 AND NOT DRAFT)
  message(FATAL_ERROR " kestrel: CHANGELOG.md has no section \"## [${version}] - <date>\".")
endif()

file(REMOVE_RECURSE "${OUTPUT}")
file(MAKE_DIRECTORY "${OUTPUT}")

# What the section says, without its heading.
set(notes "")
if(NOT section EQUAL -1)
  math(EXPR section "${section} + 1")
  string(SUBSTRING "${changelog}" ${section} -1 notes)
  string(FIND "${notes}" "\n## [" end) # -1 where it is the last
  string(SUBSTRING "${notes}" 0 ${end} notes)
  string(FIND "${notes}" "\n\n" heading)
  math(EXPR heading "${heading} + 2")
  string(SUBSTRING "${notes}" ${heading} -1 notes)
endif()
file(WRITE "${OUTPUT}/notes.md" "${notes}")

set(archive "kestrel-${version}.tar.gz")
# The checkout may be another user's.
execute_process(
  COMMAND git -c safe.directory=* archive "--prefix=kestrel-${version}/" -o "${OUTPUT}/${archive}" HEAD
  WORKING_DIRECTORY "${source_dir}"
  COMMAND_ERROR_IS_FATAL ANY)
file(SHA512 "${OUTPUT}/${archive}" sha512)
file(SHA256 "${OUTPUT}/${archive}" sha256)

execute_process(
  COMMAND "${CMAKE_COMMAND}" "-DOUTPUT=${OUTPUT}" -P "${CMAKE_CURRENT_LIST_DIR}/single_header.cmake"
  COMMAND_ERROR_IS_FATAL ANY)

# --- vcpkg: ports/kestrel --------------------------------------------------------------------------

file(COPY "${source_dir}/packaging/vcpkg/kestrel" DESTINATION "${OUTPUT}/vcpkg/ports")
file(READ "${OUTPUT}/vcpkg/ports/kestrel/portfile.cmake" portfile)
set(download
    "vcpkg_download_distfile(ARCHIVE
    URLS \"${URL}/${archive}\"
    FILENAME \"${archive}\"
    SHA512 ${sha512}
)
vcpkg_extract_source_archive(SOURCE_PATH ARCHIVE \"\${ARCHIVE}\")
")
string(REGEX REPLACE "# The checkout[^\n]*\ncmake_path[^\n]*\n" "${download}" edited "${portfile}")
if(edited STREQUAL portfile)
  message(FATAL_ERROR " kestrel: the port does not say where the checkout is any more.")
endif()
file(WRITE "${OUTPUT}/vcpkg/ports/kestrel/portfile.cmake" "${edited}")

# --- Conan: recipes/kestrel ------------------------------------------------------------------------

file(COPY "${source_dir}/packaging/conan/" DESTINATION "${OUTPUT}/conan/recipes/kestrel/all")
file(WRITE "${OUTPUT}/conan/recipes/kestrel/config.yml" "versions:
  \"${version}\":
    folder: all
")
file(WRITE "${OUTPUT}/conan/recipes/kestrel/all/conandata.yml" "sources:
  \"${version}\":
    url: \"${URL}/${archive}\"
    sha256: \"${sha256}\"
")

message(STATUS "kestrel: ${version} is in ${OUTPUT}")
