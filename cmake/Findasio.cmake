# SPDX-License-Identifier: MIT
#
# Finds standalone Asio and defines the target asio::asio.
#
# It looks, in this order, for the target (the project may have it from anywhere), for a package
# configuration (as vcpkg and Conan provide), and for the headers, which is all that Debian and Asio
# itself install. Set asio_ROOT to a prefix or to a checkout of Asio to prefer that one.
#
# It is installed beside Kestrel's package configuration, so that users of the installed library find
# Asio the same way.

if(TARGET asio::asio)
  set(asio_FOUND TRUE)
  return()
endif()

if(NOT asio_INCLUDE_DIR AND NOT asio_ROOT)
  find_package(asio CONFIG QUIET)
  if(TARGET asio::asio)
    set(asio_FOUND TRUE)
    return()
  endif()
endif()

# asio/include is where the headers are in a checkout.
find_path(asio_INCLUDE_DIR asio/version.hpp PATH_SUFFIXES asio/include)
mark_as_advanced(asio_INCLUDE_DIR)

if(asio_INCLUDE_DIR)
  # 102201 is 1.22.1
  file(STRINGS "${asio_INCLUDE_DIR}/asio/version.hpp" asio_VERSION REGEX "^#define ASIO_VERSION [0-9]+")
  string(REGEX REPLACE "^#define ASIO_VERSION ([0-9]+).*" "\\1" asio_VERSION "${asio_VERSION}")
  math(EXPR asio_VERSION_MAJOR "${asio_VERSION} / 100000")
  math(EXPR asio_VERSION_MINOR "${asio_VERSION} / 100 % 1000")
  math(EXPR asio_VERSION_PATCH "${asio_VERSION} % 100")
  set(asio_VERSION "${asio_VERSION_MAJOR}.${asio_VERSION_MINOR}.${asio_VERSION_PATCH}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  asio
  REQUIRED_VARS asio_INCLUDE_DIR
  VERSION_VAR asio_VERSION)

if(asio_FOUND)
  find_package(Threads REQUIRED)
  add_library(asio::asio INTERFACE IMPORTED)
  target_include_directories(asio::asio INTERFACE "${asio_INCLUDE_DIR}")
  target_compile_definitions(asio::asio INTERFACE ASIO_STANDALONE)
  target_link_libraries(asio::asio INTERFACE Threads::Threads)
  if(MINGW)
    # Other compilers for Windows follow the pragmas in Asio's headers.
    target_link_libraries(asio::asio INTERFACE ws2_32 mswsock)
  endif()
endif()
