"""Which compilers for other systems and C libraries distributions have as packages, and what Debian calls those.

They are tried as every toolchain is (``toolchains.py``). Tested by tests/adapters/host/test_packaged_toolchains.py.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from buildtool.adapters.host.toolchains import NamedToolchain
from buildtool.adapters.host.zig.targets import STATIC
from buildtool.model.platforms import ARCHES

_OWN_ARCH = ""

_BINUTILS = {"AR": "ar", "RANLIB": "ranlib", "STRIP": "strip", "LD": "ld", "NM": "nm"}
_LLVM = {"AR": "llvm-ar", "RANLIB": "llvm-ranlib", "STRIP": "llvm-strip", "LD": "wasm-ld", "NM": "llvm-nm"}
_WASI_PLACES = ("usr/lib/wasm32-wasi", "usr/wasm32-wasi/lib")
"""Where Debian and Fedora have the C library of WASI: a clang without it is none for WASI, and nothing is wrong."""


@frozen
class Package:
    """A compiler of a distribution: ``triple`` with the machine's own architecture before it where it has no ``arch``.

    ``words`` say what it makes programs for, "" where hardly anybody asks for that; ``packages`` are Debian's. Where
    there are ``places``, one of them has to be there. What is not in ``tools`` is called after the triple, and only the
    compiler has to be there.
    """

    triple: str
    arch: str
    os: str
    words: str
    packages: str
    tools: Mapping[str, str] = field(factory=dict)
    libc: str | None = None
    libc_version: str | None = None
    places: tuple[str, ...] = ()


PACKAGES = (
    # Static, as zig makes them: they run on every Linux of their architecture, and need no musl there.
    Package(
        "linux-musl", _OWN_ARCH, "linux", "musl", "musl-tools", {"CC": "musl-gcc -static", **_BINUTILS}, "musl", STATIC
    ),
    Package("x86_64-w64-mingw32", "x86_64", "windows", "Windows", "gcc-mingw-w64-x86-64"),
    Package("i686-w64-mingw32", "i686", "windows", "", "gcc-mingw-w64-i686"),
    Package(
        "wasm32-wasi", "wasm32", "wasi", "WASI", "clang lld llvm wasi-libc libclang-rt-dev-wasm32",
        {"CC": "clang --target=wasm32-wasi", **_LLVM}, "wasi-libc", None, _WASI_PLACES,
    ),
)  # fmt: skip
"""What is looked for. A compiler of C++ is named where its package has the triple's name for it."""


def packaged_toolchains(
    own_os: object, own_arch: object, search: str | None = None, files: Path = Path("/")
) -> Iterator[NamedToolchain]:
    """Yield those whose compiler is in PATH, which ``search`` replaces, with the tools that are there. Blocks.

    ``files`` is where the machine's files begin.
    """
    for one in PACKAGES:
        arch = one.arch or str(own_arch)
        if arch not in ARCHES or (one.arch == _OWN_ARCH and own_os != "linux"):
            continue
        if one.places and not any((files / place).is_dir() for place in one.places):
            continue
        triple = one.triple if one.arch else f"{arch}-{one.triple}"
        tools = {role: words for role, words in one.tools.items() if shutil.which(shlex.split(words)[0], path=search)}
        if "CC" in tools or ("CC" not in one.tools and shutil.which(f"{triple}-gcc", path=search)):
            yield NamedToolchain(
                triple, arch, tools=tools, libc=one.libc, libc_version=one.libc_version, os=one.os, packaged=True
            )
