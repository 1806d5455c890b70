# SPDX-License-Identifier: MIT
#
# Flags for Kestrel's own tests, benchmarks and examples. They sit on a target of their own, which is
# linked PRIVATE and never installed, so that no flag reaches a program that uses the library.

option(KESTREL_WERROR "Treat warnings in Kestrel's own sources as errors" OFF)
set(KESTREL_SANITIZE "" CACHE STRING "Sanitizers for Kestrel's own programs: address,undefined or thread")

add_library(kestrel_dev_flags INTERFACE)

if(MSVC)
  target_compile_options(kestrel_dev_flags INTERFACE /W4 /permissive- /bigobj
                                                     $<$<BOOL:${KESTREL_WERROR}>:/WX>)
  if(KESTREL_SANITIZE)
    target_compile_options(kestrel_dev_flags INTERFACE /fsanitize=${KESTREL_SANITIZE})
  endif()
else()
  target_compile_options(
    kestrel_dev_flags
    INTERFACE -Wall
              -Wextra
              -Wpedantic
              -Wshadow
              -Wconversion
              -Wsign-conversion
              $<$<BOOL:${KESTREL_WERROR}>:-Werror>)
  if(KESTREL_SANITIZE)
    target_compile_options(
      kestrel_dev_flags INTERFACE -fsanitize=${KESTREL_SANITIZE} -fno-sanitize-recover=all
                                  -fno-omit-frame-pointer)
    target_link_options(kestrel_dev_flags INTERFACE -fsanitize=${KESTREL_SANITIZE})
    if(KESTREL_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # It warns that it does not understand fences. Asio has some, beside the locks that count.
      target_compile_options(kestrel_dev_flags INTERFACE -Wno-tsan)
    endif()
  endif()
endif()
