# SPDX-License-Identifier: MIT
#
# Packages the checkout that this folder lies in, or, with the conandata.yml that cmake/release.cmake
# writes beside a copy of it, a release.

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, get, load, rmdir

required_conan_version = ">=2.0"


class KestrelConan(ConanFile):
    name = "kestrel"
    description = "Timers for Asio by the hundred thousand: a hierarchical timing wheel"
    license = "MIT"
    topics = ("timer", "timing-wheel", "asio", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"asio": ["standalone", "boost", "none"]}
    default_options = {"asio": "standalone"}

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        if self.conan_data:
            return  # which version, is said by whoever packages a release
        text = load(self, os.path.join(self._checkout, "include", "kestrel", "version.hpp"))
        numbers = re.findall(r"^#define KESTREL_VERSION_[A-Z]+ ([0-9]+)$", text, re.MULTILINE)
        self.version = ".".join(numbers)

    def export_sources(self):
        if self.conan_data:
            return
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*"):
            copy(self, pattern, src=self._checkout, dst=self.export_sources_folder)

    def requirements(self):
        if self.options.asio == "standalone":
            self.requires("asio/[>=1.22.1 <2]", transitive_headers=True)
        elif self.options.asio == "boost":
            self.requires("boost/[>=1.81.0 <2]", transitive_headers=True, options={"header_only": True})

    def validate(self):
        if self.settings.get_safe("compiler.cppstd"):
            check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def package_id(self):
        self.info.settings.clear()

    def source(self):
        if self.conan_data:
            get(self, **self.conan_data["sources"][self.version], strip_root=True)

    def generate(self):
        toolchain = CMakeToolchain(self)
        for part in ("TESTS", "BENCHMARKS", "EXAMPLES"):
            toolchain.cache_variables[f"KESTREL_BUILD_{part}"] = False
        toolchain.cache_variables["KESTREL_INSTALL"] = True
        toolchain.generate()

    def build(self):
        CMake(self).configure()

    def package(self):
        CMake(self).install()
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        # Conan writes the files for CMake and pkg-config itself.
        rmdir(self, os.path.join(self.package_folder, "share"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "kestrel")
        self.cpp_info.bindirs = []
        self.cpp_info.libdirs = []

        def component(name, requires, defines=()):
            part = self.cpp_info.components[name]
            part.set_property("cmake_target_name", f"kestrel::{name}")
            part.set_property("pkg_config_name", "kestrel" if name == "kestrel" else f"kestrel-{name}")
            part.requires = requires
            part.defines = list(defines)
            part.bindirs = []
            part.libdirs = []
            if name != "wheel" and self.settings.get_safe("os") in ("Linux", "FreeBSD"):
                part.system_libs = ["pthread"]

        component("wheel", [])
        if self.options.asio == "standalone":
            component("kestrel", ["wheel", "asio::asio"])
        elif self.options.asio == "boost":
            component("boost", ["wheel", "boost::headers"], ["KESTREL_USE_BOOST_ASIO"])
