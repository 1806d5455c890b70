# SPDX-License-Identifier: MIT
#
# What the pages in Markdown link to in the repository is there, files and headings.

cmake_minimum_required(VERSION 3.23)

cmake_path(SET root NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../..")
include("${root}/cmake/markdown.cmake")

file(GLOB pages RELATIVE "${root}" "${root}/*.md" "${root}/docs/*.md")
kestrel_check_links(broken "${root}" ${pages})
if(broken)
  message(FATAL_ERROR "links lead nowhere:\n${broken}")
endif()
