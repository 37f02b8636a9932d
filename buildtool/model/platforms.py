"""What is known of processor architectures: names, aliases, and what follows from them.

Canonical names are those of ``uname -m`` on Linux, except that 32-bit PowerPC is ``ppc`` (as in Debian and
GCC's ``powerpc``) and 32-bit x86 is ``i686``.
"""

from __future__ import annotations

from attrs import frozen

Value = str | int | bool | tuple[str, ...]
"""What an option or a property may hold. A set is a sorted tuple of distinct strings."""


@frozen
class Arch:
    """One architecture: ``bits`` of a pointer (32 or 64) and ``byteorder`` (``little`` or ``big``)."""

    name: str
    bits: int
    byteorder: str
    aliases: tuple[str, ...] = ()


_TABLE = (
    Arch("x86_64", 64, "little", ("amd64", "x86-64", "x64")),
    Arch("i686", 32, "little", ("i386", "i486", "i586", "x86", "ia32")),
    Arch("aarch64", 64, "little", ("arm64", "armv8")),
    Arch("armv7l", 32, "little", ("armhf", "armv7", "arm")),
    Arch("ppc", 32, "big", ("powerpc", "ppc32")),
    Arch("ppc64", 64, "big", ("powerpc64",)),
    Arch("ppc64le", 64, "little", ("ppc64el", "powerpc64le")),
    Arch("riscv64", 64, "little", ("riscv",)),
    Arch("s390x", 64, "big", ("s390",)),
    Arch("mips", 32, "big", ()),
    Arch("mipsel", 32, "little", ()),
    Arch("mips64el", 64, "little", ("mips64le",)),
    Arch("mips64", 64, "big", ()),
    Arch("loongarch64", 64, "little", ("loong64",)),
    Arch("riscv32", 32, "little", ()),
    Arch("armv6l", 32, "little", ("armv6",)),
    Arch("armv5tel", 32, "little", ("armel", "armv5")),
    Arch("sparc", 32, "big", ("sparcv8",)),
    Arch("sparc64", 64, "big", ("sparcv9",)),
    Arch("alpha", 64, "little", ()),
    Arch("hppa", 32, "big", ("parisc",)),
    Arch("m68k", 32, "big", ()),
    Arch("sh4", 32, "little", ()),
    Arch("ia64", 64, "little", ()),
    Arch("wasm32", 32, "little", ("wasm",)),
)

ARCHES: dict[str, Arch] = {arch.name: arch for arch in _TABLE}
"""Every known architecture by its canonical name."""

ALIASES: dict[str, str] = {alias: arch.name for arch in _TABLE for alias in arch.aliases}
"""Other names that people and systems use, to the canonical one."""

TRIPLES: dict[str, str] = {
    "powerpc-linux-gnu": "ppc",
    "powerpc64le-linux-gnu": "ppc64le",
    "aarch64-linux-gnu": "aarch64",
    "riscv64-linux-gnu": "riscv64",
    "s390x-linux-gnu": "s390x",
    "x86_64-linux-gnu": "x86_64",
    "i686-linux-gnu": "i686",
    "arm-linux-gnueabihf": "armv7l",
}
"""The architecture of each host triple by which cross toolchains for Linux are called."""

CPU_LEVELS = ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4")
"""The x86-64 micro-architecture levels of the psABI, lowest first."""

LIBCS: dict[str, str] = {
    "glibc": "linux",
    "musl": "linux",
    "uclibc": "linux",
    "bionic": "linux",
    "macos": "darwin",
    "msvcrt": "windows",
    "ucrt": "windows",
    "wasi-libc": "wasi",
}
"""Every known C library family, and the operating system that it is of."""

OS_ARCHES: dict[str, tuple[str, ...]] = {
    "darwin": ("x86_64", "aarch64", "i686", "ppc", "ppc64"),
    "windows": ("x86_64", "aarch64", "i686", "armv7l"),
    "wasi": ("wasm32",),
}
"""The architectures of operating systems that have not all of them."""

ARCH_OSES: dict[str, str] = {"wasm32": "wasi"}
"""The operating system of each architecture that has only one."""

FOLLOWS_FROM: dict[str, tuple[str, ...]] = {
    "arch": ("bits", "byteorder", "cpu_level", "libc", "libc_version"),
    "os": ("libc", "libc_version", "os_release"),
    "libc": ("libc_version",),
}
"""Which properties of the requester's own machine say nothing once they ask for another arch, os or libc."""


def canonical_arch(name: str) -> str:
    """Return the canonical name for ``name``; an unknown name is returned in lower case, as it may be real."""
    lowered = name.strip().lower()
    return ALIASES.get(lowered, lowered)


def derived(properties: dict[str, Value]) -> dict[str, Value]:
    """Return what follows from the properties given and is not among them.

    These are bits and byte order of the arch, and arch or os where the other leaves no choice.
    """
    known: dict[str, Value] = {}
    arches = OS_ARCHES.get(str(properties.get("os", "")), ())
    name = str(properties.get("arch", arches[0] if len(arches) == 1 else ""))
    arch = ARCHES.get(name)
    if arch is not None:
        known = {"arch": name, "bits": arch.bits, "byteorder": arch.byteorder}
    if name in ARCH_OSES:
        known["os"] = ARCH_OSES[name]
    return {name: value for name, value in known.items() if name not in properties}


def contradiction(properties: dict[str, Value]) -> str | None:
    """Return why no machine can be like this (``arch=ppc`` with ``bits=64``), or None when one can."""
    name, os = str(properties.get("arch", "")), properties.get("os")
    arch = ARCHES.get(name)
    if arch is not None:
        for what, true in (("bits", arch.bits), ("byteorder", arch.byteorder)):
            if what in properties and properties[what] != true:
                return f"{what}={properties[what]} contradicts arch={arch.name}, whose {what} is {true}"
    if name and name != "x86_64" and properties.get("cpu_level") in CPU_LEVELS:
        return f"cpu_level={properties['cpu_level']} contradicts arch={name}: it is a level of x86_64"
    family = LIBCS.get(str(properties.get("libc", "")))
    if family is not None and os is not None and os != family:
        return f"libc={properties['libc']} contradicts os={os}: it is a C library of {family}"
    if arch is not None and arch.name not in OS_ARCHES.get(str(os), (arch.name,)):
        return f"arch={arch.name} contradicts os={os}, which there is for {', '.join(OS_ARCHES[str(os)])}"
    if os is not None and ARCH_OSES.get(name, os) != os:
        return f"arch={name} contradicts os={os}: it is of {ARCH_OSES[name]} only"
    return None


def version_key(text: str) -> tuple[int | str, ...]:
    """Return a key that orders dotted versions by number: ``2.9`` before ``2.36``, ``x86-64-v2`` before ``-v3``.

    Numbers sort before letters at the same place, so that every pair of texts can be compared.
    """
    parts: list[int | str] = []
    number = ""
    word = ""
    for char in text + "\0":
        if char.isdigit() and char.isascii():
            if word:
                parts.append(word)
                word = ""
            number += char
            continue
        if number:
            parts.append(int(number))
            number = ""
        if char not in ".-_ \0":
            word += char
        elif word:
            parts.append(word)
            word = ""
    return tuple(parts)


def compare_versions(left: str, right: str) -> int:
    """Return -1, 0 or 1 as ``left`` is an older, the same, or a newer version than ``right``."""
    for a, b in zip(version_key(left), version_key(right), strict=False):
        if a == b:
            continue
        if isinstance(a, int) and isinstance(b, int):
            return -1 if a < b else 1
        if isinstance(a, str) and isinstance(b, str):
            return -1 if a < b else 1
        return -1 if isinstance(a, int) else 1
    lengths = len(version_key(left)), len(version_key(right))
    return (lengths[0] > lengths[1]) - (lengths[0] < lengths[1])
