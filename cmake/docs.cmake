# SPDX-License-Identifier: MIT
#
# Builds the documentation: build/docs/html/index.html, from the headers and from the pages in docs/.
# It can be read without a network, and on a phone.
#
#   cmake -P cmake/docs.cmake
#
# A warning of Doxygen's, a public name without a comment, Markdown that is left over and a link that
# leads nowhere are failures.

cmake_minimum_required(VERSION 3.23...3.31)
include("${CMAKE_CURRENT_LIST_DIR}/setup.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/markdown.cmake")

kestrel_find_tool(doxygen doxygen doxygen)
if(NOT doxygen)
  # The space at the front keeps CMake from breaking the line.
  message(FATAL_ERROR " kestrel: Doxygen was not found; install it (Debian: apt-get install doxygen) \
and run this command again.")
endif()

set(root "${KESTREL_SOURCE_DIR}")
set(out "${root}/build/docs")
file(REMOVE_RECURSE "${out}")
file(GLOB pages RELATIVE "${root}" "${root}/docs/*.md")
list(PREPEND pages README.md)

# --- The pages, as Doxygen wants them --------------------------------------------------------------

# What pages link to, and is no page, goes along.
set(files "")

# site_link(<out> <page> <target>)
#
# The link that does on the site what <target> does between the files here; empty if there is nothing
# on the site to link to.
function(site_link out page target)
  string(REGEX REPLACE "#.*$" "" file "${target}")
  string(REGEX REPLACE "^.*#" "" anchor "${target}")
  if(target MATCHES "^[a-z]+:")
    set(link "${target}")
  else()
    if(file STREQUAL "")
      set(path "${page}")
    else()
      cmake_path(GET page PARENT_PATH directory)
      cmake_path(APPEND directory "${file}" OUTPUT_VARIABLE path)
      cmake_path(NORMAL_PATH path)
    endif()
    cmake_path(GET path STEM name)
    if(path STREQUAL "README.md")
      set(link index.html)
      set(name readme)
    elseif(path IN_LIST pages)
      set(link ${name}.html)
    elseif(path MATCHES "^include/")
      set(link namespacekestrel.html)
    elseif(IS_DIRECTORY "${root}/${path}")
      set(link "")
    else()
      # Browsers show a text, and would rather save what they take for a program.
      set(link "files/${path}")
      if(NOT path MATCHES "\\.(svg|png)$")
        string(APPEND link ".txt")
      endif()
      list(APPEND files "${path}=${link}")
      set(files "${files}" PARENT_SCOPE)
    endif()
    if(path IN_LIST pages AND target MATCHES "#")
      string(APPEND link "#${name}-${anchor}")
    endif()
  endif()
  set(${out} "${link}" PARENT_SCOPE)
endfunction()

# translate_links(<variable> <page>)
function(translate_links variable page)
  # A picture that is a link itself.
  string(REGEX REPLACE "\\[(!\\[[^]]*\\]\\([^)]+\\))\\]\\(([^)]+)\\)" "<a href=\"\\2\">\\1</a>" rest
                       "${${variable}}")
  set(text "")
  while(rest MATCHES "\\[([^]]*)\\]\\(([^)]+)\\)|(src|srcset|href)=\"([^\"]+)\"")
    set(match "${CMAKE_MATCH_0}")
    set(words "${CMAKE_MATCH_1}")
    set(attribute "${CMAKE_MATCH_3}")
    set(target "${CMAKE_MATCH_2}${CMAKE_MATCH_4}")
    kestrel_take(before rest "${rest}" "${match}")
    site_link(link "${page}" "${target}")
    if(attribute)
      string(APPEND text "${before}${attribute}=\"${link}\"")
    elseif(link)
      string(APPEND text "${before}[${words}](${link})")
    else()
      string(APPEND text "${before}${words}")
    endif()
  endwhile()
  string(APPEND text "${rest}")
  set(${variable} "${text}" PARENT_SCOPE)
  set(files "${files}" PARENT_SCOPE)
endfunction()

# name_headings(<variable> <page>)
#
# Gives each heading the anchor that it has elsewhere, after the name of the page: Doxygen has one set
# of anchors for the whole site. The first heading is the page itself.
function(name_headings variable page)
  cmake_path(GET page STEM name)
  if(page STREQUAL "README.md")
    set(name readme)
  endif()
  set(rest "\n${${variable}}")
  set(text "")
  set(id "${name}")
  while(rest MATCHES "\n(#+) ([^\n]+)")
    set(match "${CMAKE_MATCH_0}")
    kestrel_anchor(anchor "${CMAKE_MATCH_2}")
    kestrel_take(before rest "${rest}" "${match}")
    string(APPEND text "${before}${match} {#${id}}")
    set(id "")
    if(rest MATCHES "\n#+ ([^\n]+)")
      kestrel_anchor(anchor "${CMAKE_MATCH_1}")
      set(id "${name}-${anchor}")
    endif()
  endwhile()
  string(APPEND text "${rest}")
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

string(ASCII 1 no_heading)
foreach(page IN LISTS pages)
  file(READ "${root}/${page}" rest)
  # Code is left as it is, and what the reader is spared is left out.
  kestrel_leave_out(rest "<!--" "-->\n")
  set(text "")
  set(code 0)
  while(DEFINED rest)
    kestrel_take(part rest "${rest}" "\n```")
    if(NOT code)
      translate_links(part "${page}")
    else()
      string(REGEX REPLACE "\n# " "\n#${no_heading}" part "${part}") # of a shell, say
    endif()
    math(EXPR code "1 - ${code}")
    string(APPEND text "${part}")
    if(DEFINED rest)
      string(APPEND text "\n```")
    endif()
  endwhile()
  name_headings(text "${page}")
  string(REPLACE "#${no_heading}" "# " text "${text}")
  # Doxygen calls a language by the ending of its files.
  string(REPLACE "```cpp" "```{.cpp}" text "${text}")
  string(REGEX REPLACE "```(sh|diff|cmake|text)\n" "```\n" text "${text}")
  cmake_path(GET page FILENAME name)
  file(WRITE "${out}/pages/${name}" "${text}")
endforeach()

# --- The site --------------------------------------------------------------------------------------

file(READ "${root}/include/kestrel/version.hpp" version)
string(REGEX MATCH "VERSION_MAJOR ([0-9]+).*VERSION_MINOR ([0-9]+).*VERSION_PATCH ([0-9]+)" version
             "${version}")
set(version "${CMAKE_MATCH_1}.${CMAKE_MATCH_2}.${CMAKE_MATCH_3}")

file(READ "${root}/docs/site/Doxyfile" doxyfile)
file(
  WRITE "${out}/Doxyfile"
  "${doxyfile}
PROJECT_NUMBER = ${version}
OUTPUT_DIRECTORY = \"${out}\"
INPUT = \"${root}/include/kestrel\" \"${root}/include/kestrel/detail/wheel_levels.hpp\" \"${out}/pages\"
STRIP_FROM_PATH = \"${root}/include\" \"${out}/pages\"
STRIP_FROM_INC_PATH = \"${root}/include\"
USE_MDFILE_AS_MAINPAGE = \"${out}/pages/README.md\"
")
execute_process(
  COMMAND "${doxygen}" "${out}/Doxyfile"
  WORKING_DIRECTORY "${root}/docs/site"
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR " kestrel: Doxygen has something to say about the documentation.")
endif()

list(REMOVE_DUPLICATES files)
foreach(file IN LISTS files)
  if(file MATCHES "^([^=]*)=(.*)$")
    configure_file("${root}/${CMAKE_MATCH_1}" "${out}/html/${CMAKE_MATCH_2}" COPYONLY)
  endif()
endforeach()

# Nothing refers to these.
file(
  GLOB
  unused
  "${out}/html/*.js"
  "${out}/html/*.png"
  "${out}/html/tabs.css"
  "${out}/html/doxygen.svg"
  "${out}/html/dir_*.html"
  "${out}/html/functions*.html"
  "${out}/html/namespacemembers*.html"
  "${out}/html/*-members.html"
  "${out}/html/annotated.html"
  "${out}/html/classes.html"
  "${out}/html/concepts.html"
  "${out}/html/hierarchy.html"
  "${out}/html/namespaces.html"
  "${out}/html/pages.html")
file(REMOVE ${unused})

file(GLOB sites RELATIVE "${out}/html" "${out}/html/*.html")
foreach(site IN LISTS sites)
  if(site MATCHES "^(class|struct|namespace)")
    file(READ "${out}/html/${site}" html)
    # Doxygen's table of contents has links to sections that are not shown.
    string(REGEX REPLACE "<div class=\"summary\">[^/]*(/[^d][^/]*)*</div>" "" html "${html}")
    # What the comments of classes always tell begins a paragraph.
    set(labels "(Thread safety|Complexity|Exceptions|Reentrancy|Errors|Lifetime): ")
    string(REGEX REPLACE "[\n ]${labels}" "</p>\n<p><b>\\1:</b> " html "${html}")
    string(REGEX REPLACE "<p[^>]*>${labels}" "<p><b>\\1:</b> " html "${html}")
    # Nor is anything overloaded for convenience.
    string(REPLACE "This is an overloaded member function, provided for convenience. It differs from \
the above function only in what argument(s) it accepts." "The same with other arguments." html "${html}")
    file(WRITE "${out}/html/${site}" "${html}")
  endif()
endforeach()

# --- Its text ----------------------------------------------------------------------------------------

# Nothing is left of the Markdown that Doxygen did not understand.
set(left "")
foreach(site IN LISTS sites)
  file(READ "${out}/html/${site}" html)
  kestrel_leave_out(html "<div class=\"fragment\">" "</div><!-- fragment -->")
  kestrel_leave_out(html "<pre class=\"fragment\">" "</pre>")
  kestrel_leave_out(html "<code>" "</code>")
  string(REGEX REPLACE "<[^>]*>" "" html "${html}")
  foreach(mark IN ITEMS "![" "**")
    kestrel_take(before rest "${html}" "${mark}")
    if(DEFINED rest)
      string(SUBSTRING "${rest}" 0 60 rest)
      string(APPEND left "${site}: ${mark}${rest}\n")
    endif()
  endforeach()
endforeach()
if(left)
  message(FATAL_ERROR " kestrel: Doxygen left Markdown as it is:\n${left}")
endif()

# --- Its links -------------------------------------------------------------------------------------

kestrel_check_links(broken "${root}" ${pages})

foreach(site IN LISTS sites)
  file(READ "${out}/html/${site}" html)
  string(REPLACE ";" "," html "${html}")
  string(REPLACE "[" "(" html "${html}")
  string(REPLACE "]" ")" html "${html}")
  string(REGEX MATCHALL "(id|name)=\"[^\"]+\"" anchors "${html}")
  string(REGEX REPLACE "(id|name)=" "" anchors "${anchors}")
  set(anchors_of_${site} "${anchors}")
  string(REGEX MATCHALL "(href|src|srcset|data)=\"[^\"]+\"" links "${html}")
  list(REMOVE_DUPLICATES links)
  set(links_of_${site} "${links}")
endforeach()
foreach(site IN LISTS sites)
  foreach(link IN LISTS links_of_${site})
    string(REGEX REPLACE "^[a-z]+=\"(.*)\"$" "\\1" link "${link}")
    if(link MATCHES "^[a-z]+:")
      continue()
    endif()
    string(REGEX REPLACE "#.*$" "" file "${link}")
    if(file STREQUAL "")
      set(file "${site}")
    endif()
    if(NOT EXISTS "${out}/html/${file}")
      string(APPEND broken "${site}: ${link}: there is no such file\n")
    elseif(link MATCHES "#(.+)$" AND DEFINED anchors_of_${file})
      string(FIND "${anchors_of_${file}}" "\"${CMAKE_MATCH_1}\"" at)
      if(at EQUAL -1)
        string(APPEND broken "${site}: ${link}: there is no such anchor\n")
      endif()
    endif()
  endforeach()
endforeach()

# The reference leads to each class.
foreach(site IN LISTS sites)
  if(site MATCHES "^(class|struct|concept)kestrel_1_1" AND NOT site MATCHES "_1_1.*_1_1")
    string(FIND "${links_of_reference.html}" "\"${site}\"" at)
    if(at EQUAL -1)
      string(APPEND broken "docs/reference.md does not name what ${site} is about\n")
    endif()
  endif()
endforeach()
if(broken)
  message(FATAL_ERROR " kestrel: links lead nowhere:\n${broken}")
endif()

execute_process(COMMAND "${CMAKE_COMMAND}" -E echo "kestrel: ${out}/html/index.html")
