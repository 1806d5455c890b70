# SPDX-License-Identifier: MIT
#
# What pages in Markdown are asked for by the scripts that build the site and by the tests: their
# headings and anchors, where they link to, and the code they show.
#
# All code in docs/*.md is compiled. A page is the source of one translation unit: its blocks of code,
# ```cpp, one after the other, and between them what the reader is spared, in comments that begin with
# "<!-- cpp".

# kestrel_anchor(<out> <heading>)
#
# The anchor of a heading, as GitHub makes it.
function(kestrel_anchor out heading)
  string(REGEX REPLACE "\\]\\([^)]*\\)" "" anchor "${heading}") # of a link the text counts
  string(TOLOWER "${anchor}" anchor)
  string(REGEX REPLACE "[^a-z0-9 _-]" "" anchor "${anchor}")
  string(REPLACE " " "-" anchor "${anchor}")
  set(${out} "${anchor}" PARENT_SCOPE)
endfunction()

# kestrel_take(<before> <rest> <text> <mark>)
#
# Splits a text at a mark. If there is none, <before> is all of it, and <rest> is not defined.
function(kestrel_take before rest text mark)
  string(FIND "${text}" "${mark}" at)
  if(at EQUAL -1)
    set(${before} "${text}" PARENT_SCOPE)
    unset(${rest} PARENT_SCOPE)
    return()
  endif()
  string(SUBSTRING "${text}" 0 ${at} head)
  string(LENGTH "${mark}" length)
  math(EXPR at "${at} + ${length}")
  string(SUBSTRING "${text}" ${at} -1 tail)
  set(${before} "${head}" PARENT_SCOPE)
  set(${rest} "${tail}" PARENT_SCOPE)
endfunction()

# kestrel_leave_out(<variable> <begin> <end>)
#
# Takes out of a text what is between two marks, and the marks.
function(kestrel_leave_out variable begin end)
  set(rest "${${variable}}")
  set(text "")
  while(DEFINED rest)
    kestrel_take(before rest "${rest}" "${begin}")
    string(APPEND text "${before}")
    if(DEFINED rest)
      kestrel_take(left_out rest "${rest}" "${end}")
    endif()
  endwhile()
  set(${variable} "${text}" PARENT_SCOPE)
endfunction()

# kestrel_prose(<out> <text>)
#
# The text without its blocks of code and its comments.
function(kestrel_prose out text)
  kestrel_leave_out(text "<!--" "-->")
  kestrel_leave_out(text "\n```" "\n```")
  set(${out} "${text}" PARENT_SCOPE)
endfunction()

# kestrel_anchors(<out> <text>)
#
# The anchors of a page, each between spaces.
function(kestrel_anchors out text)
  kestrel_prose(prose "${text}")
  string(PREPEND prose "\n")
  set(anchors " ")
  while(prose MATCHES "\n#+ ([^\n]+)")
    set(heading "${CMAKE_MATCH_1}")
    kestrel_anchor(anchor "${heading}")
    string(APPEND anchors "${anchor} ")
    kestrel_take(before prose "${prose}" "# ${heading}")
  endwhile()
  set(${out} "${anchors}" PARENT_SCOPE)
endfunction()

# kestrel_code(<out> <page>)
#
# The translation unit that the page is. What a compiler has to say about it names the page's lines.
function(kestrel_code out page)
  file(READ "${page}" text)
  set(code "// Generated from ${page}.\n")
  set(line 1)
  set(shown 0)
  while(TRUE)
    string(FIND "${text}" "```cpp\n" block)
    string(FIND "${text}" "<!-- cpp\n" comment)
    if(block EQUAL -1 AND comment EQUAL -1)
      break()
    endif()
    if(comment EQUAL -1 OR (NOT block EQUAL -1 AND block LESS comment))
      set(begin "```cpp\n")
      set(end "```")
      math(EXPR shown "${shown} + 1")
    else()
      set(begin "<!-- cpp\n")
      set(end "-->")
    endif()
    kestrel_take(before text "${text}" "${begin}")
    kestrel_take(part text "${text}" "${end}")
    if(NOT DEFINED text)
      message(FATAL_ERROR "${page}: a block of code has no end")
    endif()
    string(REGEX REPLACE "[^\n]" "" lines "${before}")
    string(LENGTH "${lines}" lines)
    math(EXPR line "${line} + ${lines} + 1")
    string(APPEND code "#line ${line} \"${page}\"\n${part}")
    string(REGEX REPLACE "[^\n]" "" lines "${part}")
    string(LENGTH "${lines}" lines)
    math(EXPR line "${line} + ${lines}")
  endwhile()
  if(shown EQUAL 0)
    set(code "")
  endif()
  set(${out} "${code}" PARENT_SCOPE)
endfunction()

# kestrel_check_links(<broken> <root> <page>...)
#
# Follows what the pages link to in this directory: files, and headings in other pages. Sets <broken>
# to a line for each link that leads nowhere. Paths are relative to <root>.
function(kestrel_check_links broken root)
  set(found "")
  foreach(page IN LISTS ARGN)
    file(READ "${root}/${page}" text)
    kestrel_prose(prose "${text}")
    get_filename_component(directory "${root}/${page}" DIRECTORY)
    while(prose MATCHES "\\]\\(([^)]+)\\)|(src|srcset|href)=\"([^\"]+)\"")
      set(target "${CMAKE_MATCH_1}${CMAKE_MATCH_3}")
      kestrel_take(before prose "${prose}" "${CMAKE_MATCH_0}")
      if(target MATCHES "^(https?|mailto):")
        continue()
      endif()
      string(REGEX REPLACE "#.*$" "" file "${target}")
      set(path "${directory}/${file}")
      if(file STREQUAL "")
        set(path "${root}/${page}")
      endif()
      if(NOT EXISTS "${path}")
        string(APPEND found "${page}: ${target}: there is no such file\n")
      elseif(target MATCHES "#(.+)$")
        set(anchor "${CMAKE_MATCH_1}")
        file(READ "${path}" other)
        kestrel_anchors(anchors "${other}")
        string(FIND "${anchors}" " ${anchor} " at)
        if(at EQUAL -1)
          string(APPEND found "${page}: ${target}: there is no such heading\n")
        endif()
      endif()
    endwhile()
  endforeach()
  set(${broken} "${found}" PARENT_SCOPE)
endfunction()
