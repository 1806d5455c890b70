# SPDX-License-Identifier: MIT
#
# Installs the headers and the package kestrel, with the components wheel, kestrel and boost.

include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# Nothing here depends on the architecture, hence share/ and not lib/.
set(package_dir ${CMAKE_INSTALL_DATADIR}/cmake/kestrel)

# An export set for each, since each must be usable where what the others need is missing.
install(TARGETS kestrel_wheel EXPORT kestrel_wheel_targets FILE_SET HEADERS)
install(TARGETS kestrel EXPORT kestrel_kestrel_targets FILE_SET HEADERS)
install(TARGETS kestrel_boost EXPORT kestrel_boost_targets)
foreach(component IN ITEMS wheel kestrel boost)
  install(
    EXPORT kestrel_${component}_targets
    NAMESPACE kestrel::
    FILE kestrel-${component}-targets.cmake
    DESTINATION ${package_dir})
endforeach()

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/kestrel-config.cmake.in" "${PROJECT_BINARY_DIR}/kestrel-config.cmake"
  INSTALL_DESTINATION ${package_dir}
  NO_SET_AND_CHECK_MACRO)
# While below 1.0, a minor version may break what the one before promised.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/kestrel-config-version.cmake"
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(
  FILES "${PROJECT_BINARY_DIR}/kestrel-config.cmake"
        "${PROJECT_BINARY_DIR}/kestrel-config-version.cmake"
        "${CMAKE_CURRENT_LIST_DIR}/Findasio.cmake"
  DESTINATION ${package_dir})

# The same three for pkg-config, which is told where the files are by where it finds them. Asio has no
# module to require; it has headers only, and most often they are where compilers look anyway.
set(pkgconfig_dir ${CMAKE_INSTALL_DATADIR}/pkgconfig)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_INCLUDEDIR
           BASE_DIRECTORY "${CMAKE_INSTALL_PREFIX}/${pkgconfig_dir}"
           OUTPUT_VARIABLE includedir)

# install_module(<name> <description> <flags> <libraries>)
function(install_module name description flags libs)
  configure_file("${CMAKE_CURRENT_FUNCTION_LIST_DIR}/kestrel.pc.in"
                 "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION ${pkgconfig_dir})
endfunction()

install_module(kestrel "${PROJECT_DESCRIPTION}" "-DASIO_STANDALONE -pthread" "-pthread")
install_module(kestrel-boost "Timing wheel timers for Boost.Asio"
               "-DKESTREL_USE_BOOST_ASIO -pthread" "-pthread")
install_module(kestrel-wheel "A timing wheel without Asio" "" "")

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/kestrel)
