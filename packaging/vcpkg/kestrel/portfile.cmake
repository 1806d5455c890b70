# Header-only: nothing is built, and there is nothing of a debug build.
set(VCPKG_BUILD_TYPE release)

# The checkout that this folder lies in; cmake/release.cmake puts the released archive in its place.
cmake_path(SET SOURCE_PATH NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../../..")

vcpkg_cmake_configure(
    SOURCE_PATH "${SOURCE_PATH}"
    OPTIONS
        -DKESTREL_BUILD_TESTS=OFF
        -DKESTREL_BUILD_BENCHMARKS=OFF
        -DKESTREL_BUILD_EXAMPLES=OFF
        -DKESTREL_INSTALL=ON
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/kestrel)
vcpkg_fixup_pkgconfig()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib" "${CURRENT_PACKAGES_DIR}/share/licenses")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
