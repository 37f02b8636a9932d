"""What this machine is: the detectors that system options name, each a small function over what the system says.

A detector returns None for what cannot be known here; it never fails, since a machine that cannot be described in
one respect can still build. The functions called ``parse_...`` are pure. Everything here blocks.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attrs import define

from buildtool.adapters.host.processors import memory_limit, usable_processors
from buildtool.adapters.host.programs import find_tools, output_of, parse_compiler
from buildtool.model.platforms import canonical_arch
from buildtool.model.properties import TOOLS

Detected = str | int | tuple[str, ...] | None
"""What a detector returns: None if the machine does not tell. A set is a sorted tuple."""

MIB = 1024 * 1024

_32_BITS_OF = {"x86_64": "i686", "aarch64": "armv7l", "ppc64": "ppc"}
_LEVELS = (
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v1", {"cx8", "fxsr", "mmx", "sse", "sse2"}),
)  # the psABI's lists, by the names that Linux gives to the flags (abm is LZCNT)
_DARWIN_FLAGS = {"sse4.1": "sse4_1", "sse4.2": "sse4_2", "avx1.0": "avx", "lzcnt": "abm", "lahf": "lahf_lm"}


@define
class Machine:
    """The machine, as the detectors see it; what is slow to find out is found out once.

    ``disk_at`` is the directory in which builds will write; it need not be there yet. ``named`` are programs to look
    for besides those that builds commonly need; ``path`` replaces PATH. Programs that are not ``seen`` do not count.
    """

    disk_at: Path
    named: frozenset[str] = frozenset()
    path: str | None = None
    seen: Callable[[str], bool] = lambda _: True
    _tools: dict[str, str] | None = None

    def tools(self) -> dict[str, str]:
        """Return the usable programs among those that are looked for, with their versions."""
        if self._tools is None:
            self._tools = find_tools(sorted({*TOOLS, *self.named}), self.path, seen=self.seen)
        return self._tools


def detect_machine(
    disk_at: Path,
    named: Iterable[str] = (),
    path: str | None = None,
    seen: Callable[[str], bool] = lambda _: True,
) -> dict[str, Detected]:
    """Return what every detector finds, by name; programs ``named`` are looked for too, in ``path``, where ``seen``.

    Takes about as long as the slowest program needs to tell its version, each at most 5 s.
    """
    machine = Machine(disk_at, frozenset(named), path, seen)
    return {name: detector(machine) for name, detector in DETECTORS.items()}


def _os(_: Machine) -> str:
    return {"win32": "windows", "cygwin": "windows"}.get(sys.platform, sys.platform)


def _os_release(_: Machine) -> str | None:
    if sys.platform == "darwin":
        return f"macos-{platform.mac_ver()[0]}"
    for place in ("/etc/os-release", "/usr/lib/os-release"):
        text = _read(place)
        if text is not None:
            return parse_os_release(text)
    return None


def _arch(_: Machine) -> str:
    return userland_arch(platform.machine(), _pointer_bits())


def _bits(_: Machine) -> int:
    return _pointer_bits()


def _byteorder(_: Machine) -> str:
    return sys.byteorder


def _libc_family(_: Machine) -> str | None:
    return _libc()[0]


def _libc_version(_: Machine) -> str | None:
    return _libc()[1]


def _cpus(_: Machine) -> int:
    return usable_processors()


def _memory(_: Machine) -> int | None:
    limit = memory_limit()
    amounts = [] if limit is None else [limit]
    try:
        amounts.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        said = output_of(["sysctl", "-n", "hw.memsize"])
        amounts += [int(said)] if said is not None and said.strip().isdecimal() else []
    return min(amounts) // MIB if amounts else None


def _disk(machine: Machine) -> int | None:
    for place in (machine.disk_at, *machine.disk_at.parents):
        try:
            return shutil.disk_usage(place).free // MIB
        except FileNotFoundError:
            continue  # the directory is made later, on the disk of its parent
        except OSError:
            return None
    return None


def _tool_names(machine: Machine) -> tuple[str, ...]:
    return tuple(sorted(machine.tools()))


def _tool_versions(machine: Machine) -> tuple[str, ...]:
    return tuple(sorted(f"{name}={version}" for name, version in machine.tools().items() if version))


def _cc_version(machine: Machine) -> str | None:
    if "cc" not in machine.tools():
        return None
    return parse_compiler(output_of(["cc", "--version"], path=machine.path) or "")


def _cpu_level(machine: Machine) -> str | None:
    if _arch(machine) != "x86_64":
        return None
    if sys.platform == "darwin":
        names = ("machdep.cpu.features", "machdep.cpu.extfeatures", "machdep.cpu.leaf7_features")
        words = (output_of(["sysctl", "-n", *names]) or "").lower().split()
        return cpu_level(_DARWIN_FLAGS.get(word, word) for word in words)
    return cpu_level(parse_cpu_flags(_read("/proc/cpuinfo") or ""))


DETECTORS: Mapping[str, Callable[[Machine], Detected]] = {
    "os": _os,
    "os_release": _os_release,
    "arch": _arch,
    "bits": _bits,
    "byteorder": _byteorder,
    "libc": _libc_family,
    "libc_version": _libc_version,
    "cpus": _cpus,
    "cpu_level": _cpu_level,
    "memory": _memory,
    "disk": _disk,
    "tools": _tool_names,
    "tool_versions": _tool_versions,
    "cc_version": _cc_version,
}
"""Every detector by the name that an option's ``detector`` gives; memory and disk are in MiB."""


def userland_arch(machine: str, bits: int) -> str:
    """Return the canonical name of what programs here are made for; a 64-bit kernel may run a 32-bit userland."""
    arch = canonical_arch(machine)
    return _32_BITS_OF.get(arch, arch) if bits == 32 else arch  # noqa: PLR2004 - bits are bits


def parse_os_release(text: str) -> str | None:
    """Return ``debian-12`` from os-release(5); only the id if there is no version (a rolling release)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            found[key] = value.strip("\"'")
    return "-".join(part for part in (found.get("ID"), found.get("VERSION_ID")) if part) or None


def parse_gnu_libc(said: str | None) -> tuple[str, str] | None:
    """Return family and version from what confstr says (``glibc 2.36``), or None."""
    match = re.fullmatch(r"(glibc)\s+([0-9][0-9.]*)\S*", (said or "").strip())
    return (match[1], match[2]) if match else None


def parse_musl(said: str) -> tuple[str, str | None] | None:
    """Return family and version from what musl's loader (which is its ldd) prints, or None if it is another's."""
    if not re.search(r"^musl libc", said, re.MULTILINE):
        return None
    version = re.search(r"^Version ([0-9][0-9.]*)", said, re.MULTILINE)
    return "musl", version[1] if version else None


def parse_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """Return the flags that every processor of a Linux ``/proc/cpuinfo`` has."""
    each = [frozenset(flags.split()) for flags in re.findall(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)]
    return frozenset.intersection(*each) if each else frozenset()


def cpu_level(flags: Iterable[str]) -> str | None:
    """Return the highest x86-64 level whose flags, and those of all levels below, are there; None for none."""
    there = set(flags)
    reached = None
    for name, needed in reversed(_LEVELS):
        if not needed <= there:
            break
        reached = name
    return reached


def _pointer_bits() -> int:
    return struct.calcsize("P") * 8


def _libc() -> tuple[str | None, str | None]:
    if sys.platform == "darwin":
        return "macos", platform.mac_ver()[0]
    try:
        gnu = parse_gnu_libc(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError, AttributeError):
        gnu = None  # not the GNU library: it does not know the name
    if gnu is not None:
        return gnu
    for loader in sorted(Path("/lib").glob("ld-musl-*.so.1")):
        musl = parse_musl(output_of([str(loader)], any_code=True) or "")
        if musl is not None:
            return musl
    return None, None


def _read(place: str) -> str | None:
    try:
        return Path(place).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
