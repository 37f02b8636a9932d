"""The platforms that zig's compiler says it makes programs for, by the names that this project has for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from attrs import frozen

from buildtool.model.platforms import ARCHES, LIBCS, compare_versions

OLDEST = "2.17"
"""The oldest glibc that is offered: that of CentOS 7 and of ``manylinux2014``."""

STATIC = "1.0"
"""What a program needs of a machine's musl when it brings its own, as zig links it: no version at all."""

_ARCHES: Mapping[str, str] = {
    "x86_64": "x86_64", "x86": "i686", "aarch64": "aarch64", "arm": "armv7l", "powerpc": "ppc", "powerpc64": "ppc64",
    "powerpc64le": "ppc64le", "riscv64": "riscv64", "riscv32": "riscv32", "s390x": "s390x", "mips": "mips",
    "mipsel": "mipsel", "mips64": "mips64", "mips64el": "mips64el", "loongarch64": "loongarch64", "sparc64": "sparc64",
    "wasm32": "wasm32",
}  # fmt: skip
"""Processor architectures: zig's name, and ours."""

_ABIS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("linux", "gnu"): ("linux", "glibc"),
    ("linux", "gnueabihf"): ("linux", "glibc"),
    ("linux", "gnuabi64"): ("linux", "glibc"),
    ("linux", "musl"): ("linux", "musl"),
    ("linux", "musleabihf"): ("linux", "musl"),
    ("linux", "muslabi64"): ("linux", "musl"),
    ("windows", "gnu"): ("windows", "ucrt"),
    ("macos", "none"): ("darwin", "macos"),
    ("wasi", "musl"): ("wasi", "wasi-libc"),
}
"""System and interface: zig's, and our operating system and C library. Others are for machines that few have."""

_HOSTS: Mapping[str, str] = {"windows": "w64-mingw32", "macos": "apple-darwin", "wasi": "unknown-wasi"}


@frozen
class ZigTarget:
    """One platform of zig's: ``name`` is what ``-target`` is told, but for the version of a glibc."""

    name: str
    arch: str
    os: str
    libc: str

    def words(self, version: str | None) -> str:
        """Return what ``-target`` is told for a version of the C library, where it is one of several."""
        return f"{self.name}.{version}" if version is not None and self.libc == "glibc" else self.name

    @property
    def triple(self) -> str:
        """What ``configure --host`` is told."""
        arch, system, abi = self.name.split("-")
        return f"{'i686' if arch == 'x86' else arch}-{_HOSTS.get(system, f'{system}-{abi}')}"


@frozen
class ZigKnowledge:
    """The knowledge that a zig has of itself: its targets, and the versions of glibc, oldest first."""

    targets: tuple[ZigTarget, ...]
    glibc: tuple[str, ...]

    def target(self, words: str) -> tuple[ZigTarget, str | None] | None:
        """Return the target, and its version where it has one, that ``-target WORDS`` means; None for no known one."""
        for one in self.targets:
            if words == one.name:
                return one, None
            version = words.removeprefix(f"{one.name}.")
            if version in self.glibc and words == one.words(version):
                return one, version
        return None

    def above(self, version: str) -> str | None:
        """Return the oldest glibc that is newer than ``version``; None where there is none."""
        return next((one for one in self.glibc if compare_versions(one, version) > 0), None)

    def floor(self, said: str) -> str | None:
        """Return the oldest glibc for a target of which zig said that it can provide only a later one."""
        found = re.search(r"info: [^\n]{0,200}-gnu[a-z0-9]{0,8}\.(2\.[0-9]{1,3})(?![0-9])", said)
        return found[1] if found and found[1] in self.glibc else None


def knowledge_of(said: str) -> ZigKnowledge | None:
    """Return what ``zig targets`` said, as JSON or in zig's own notation; None where it is neither."""
    libcs, versions = _listed(said, "libc"), _listed(said, "glibc")
    found = [target for target in map(_target, libcs) if target is not None]
    glibc = dict.fromkeys(".".join(one.split(".")[:2]) for one in versions)
    usable = tuple(one for one in glibc if compare_versions(one, OLDEST) >= 0)
    if not found or not usable or any(compare_versions(one, two) >= 0 for one, two in pairwise(usable)):
        return None
    return ZigKnowledge(tuple(found), usable)


def _listed(said: str, name: str) -> list[str]:
    """Return the texts of the list that is called ``name``: ``"libc": ["a"]``, or ``.libc = .{"a"}``."""
    for head in (f'"{name}": [', f".{name} = .{{"):
        _, found, rest = said.partition(head)
        if found:
            inner = rest[: min((at for at in map(rest.find, "]}") if at >= 0), default=0)]
            return re.findall(r'"([A-Za-z0-9_.-]{1,60})"', inner)
    return []


def _target(name: str) -> ZigTarget | None:
    parts = name.split("-")
    if len(parts) != 3:  # noqa: PLR2004 - architecture, system, interface
        return None
    arch, meant = _ARCHES.get(parts[0]), _ABIS.get((parts[1], parts[2]))
    if arch not in ARCHES or meant is None or meant[1] not in LIBCS:
        return None
    return ZigTarget(name, arch, *meant)
