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
              $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>
              $<$<BOOL:${KESTREL_WERROR}>:-Werror>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 17)
    # Asio 1.22 looks for the coroutines that Clang had before C++20.
    target_compile_definitions(kestrel_dev_flags INTERFACE ASIO_HAS_CO_AWAIT=1
                                                           ASIO_HAS_STD_COROUTINE=1)
  endif()
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
