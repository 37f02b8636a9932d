"""The packages of common tools, for recipes that name none of their own: of Debian, Fedora and Homebrew.

Tested by tests/model/checkup/test_machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping

_SAME = ("autoconf", "automake", "bison", "ccache", "clang", "cmake", "curl", "doxygen", "flex", "gawk", "git", "gzip",
         "libtool", "m4", "make", "meson", "nasm", "openssl", "perl", "rsync", "ruby", "unzip", "wget", "yasm", "zip",
         "zstd")  # fmt: skip

_OTHERS: Mapping[str, tuple[str, str, str]] = {
    "ar": ("binutils", "binutils", "binutils"),
    "c++": ("g++", "gcc-c++", "gcc"),
    "cargo": ("cargo", "cargo", "rust"),
    "cc": ("gcc", "gcc", "gcc"),
    "clang++": ("clang", "clang", "llvm"),
    "g++": ("g++", "gcc-c++", "gcc"),
    "gcc": ("gcc", "gcc", "gcc"),
    "gfortran": ("gfortran", "gcc-gfortran", "gcc"),
    "go": ("golang-go", "golang", "go"),
    "java": ("default-jre-headless", "java-latest-openjdk-headless", "openjdk"),
    "javac": ("default-jdk-headless", "java-latest-openjdk-devel", "openjdk"),
    "ld": ("binutils", "binutils", "binutils"),
    "makeinfo": ("texinfo", "texinfo", "texinfo"),
    "ninja": ("ninja-build", "ninja-build", "ninja"),
    "node": ("nodejs", "nodejs", "node"),
    "pkg-config": ("pkg-config", "pkgconf-pkg-config", "pkgconf"),
    "python3": ("python3", "python3", "python"),
    "rustc": ("rustc", "rust", "rust"),
    "strip": ("binutils", "binutils", "binutils"),
    "svn": ("subversion", "subversion", "subversion"),
    "xz": ("xz-utils", "xz", "xz"),
}

FAMILIES = ("debian", "fedora", "homebrew")
"""The families of systems for which a recipe names packages."""

COMMON: Mapping[str, Mapping[str, str]] = {
    **{name: dict.fromkeys(FAMILIES, name) for name in _SAME},
    **{name: dict(zip(FAMILIES, packages, strict=True)) for name, packages in _OTHERS.items()},
}
"""Packages by tool, then by family."""
