"""What an ELF file needs: its C library, the newest of its symbols' versions, and the level of its processor.

It is read as the loader does it, by the program's segments: whoever strips a file leaves them. The test is
tests/model/binaries/test_need.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, evolve, field

from buildtool.model.binaries.elf import elf_targets
from buildtool.model.binaries.need import FileNeed, name_at
from buildtool.model.binaries.target import BinaryKind, BinaryTarget, FileBytes, unpacked
from buildtool.model.platforms import CPU_LEVELS, version_key

SEGMENTS_MOST = 512
DYNAMIC_MOST = 4096
VERSIONS_MOST = 10_000
NOTED_MOST = 16
NOTES_MOST = 64 * 1024
PROPERTIES_MOST = 1000

_NEEDED, _STRINGS, _VERSIONS = 1, 5, 0x6FFFFFFE
_LEVELS_NEEDED = 0xC0008002
_GNU_PROPERTIES = 5

_FAMILIES = (
    (re.compile(r"libc\.so\.6(\.1)?|ld-linux.*|ld64\.so\.[12]|ld\.so\.1"), "glibc"),
    (re.compile(r"libc\.musl-.*|ld-musl-.*"), "musl"),
    (re.compile(r"libc\.so\.[01]|ld-?uClibc.*|ld64-uClibc.*"), "uclibc"),
    (re.compile(r"linker(64)?"), "bionic"),
    (re.compile(r"libc\.so"), "musl"),  # bionic's is called so too: its programs say so by their loader
)
_GLIBC = re.compile(r"GLIBC_([0-9]{1,4}(\.[0-9]{1,4}){1,3})\Z")
_ALIKE = {"GLIBC_ABI_DT_RELR": "2.36", "GLIBC_ABI_GNU_TLS": "2.42"}


@define
class _Elf:
    """An ELF file with the layouts of its numbers; ``cut`` is whether something that it names is not in it."""

    data: FileBytes
    wide: bool
    order: str
    cut: bool = False
    loads: list[tuple[int, int, int]] = field(factory=list)
    notes: list[tuple[int, int]] = field(factory=list)
    dynamic: tuple[int, int] | None = None
    interpreter: str | None = None

    def numbers(self, layout: str, offset: int) -> tuple[int, ...] | None:
        found = unpacked(self.order + layout, self.data, offset)
        self.cut |= found is None
        return found

    def place(self, address: int) -> int:
        """Return the offset in bytes of what is loaded at an address; -1 for what is not in the file."""
        for start, offset, size in self.loads:
            if start <= address < start + size:
                return offset + address - start
        self.cut = True
        return -1


def elf_need(data: FileBytes) -> tuple[FileNeed, ...]:
    """Return what an ELF file needs, once or not at all."""
    return tuple(_need(data, target) for target in elf_targets(data))


def _need(data: FileBytes, target: BinaryTarget) -> FileNeed:
    if target.kind not in {BinaryKind.PROGRAM, BinaryKind.LIBRARY}:
        return FileNeed(target)
    elf = _Elf(data, target.bits == 64, "<" if target.byteorder == "little" else ">")  # noqa: PLR2004 - bits
    _read_segments(elf)
    names, versions = _linked(elf)
    libc = _family(elf.interpreter, names)
    found = [version for name in versions if (version := _version(name)) is not None]
    private = any(name.startswith("GLIBC_") and _version(name) is None for name in versions)
    newest = max(found, key=version_key, default=None) if libc == "glibc" else None
    if elf.interpreter is not None:
        target = evolve(target, kind=BinaryKind.PROGRAM)
    level = _level(elf) if target.arch == "x86_64" else None
    return FileNeed(target, libc, newest, level, whole=not (elf.cut or private))


def _read_segments(elf: _Elf) -> None:
    head = elf.numbers("QQIHHH" if elf.wide else "IIIHHH", 32 if elf.wide else 28)
    if head is None:
        return
    start, size, count = head[0], head[4], head[5]
    if size != (56 if elf.wide else 32) or not 0 < count <= SEGMENTS_MOST:
        elf.cut = True
        return
    for number in range(count):
        segment = elf.numbers("IIQQQQ" if elf.wide else "IIIIII", start + number * size)
        if segment is None:
            return
        if elf.wide:
            kind, _, offset, address, _, length = segment
        else:
            kind, offset, address, _, length, _ = segment
        match kind:
            case 1:  # PT_LOAD
                elf.loads.append((address, offset, length))
            case 2:  # PT_DYNAMIC
                elf.dynamic = offset, length
            case 3:  # PT_INTERP
                elf.interpreter = name_at(elf.data, offset)
                elf.cut |= elf.interpreter is None
            case 4 | 0x6474E553:  # PT_NOTE, PT_GNU_PROPERTY
                elf.notes.append((offset, length))


def _linked(elf: _Elf) -> tuple[list[str], list[str]]:
    """Return the libraries that are linked to, and the versions of their symbols."""
    if elf.dynamic is None:
        return [], []
    start, length = elf.dynamic
    step = 16 if elf.wide else 8
    needed, tags = [], {}
    for offset in range(start, start + min(length, DYNAMIC_MOST * step), step):
        entry = elf.numbers("QQ" if elf.wide else "II", offset)
        if entry is None or entry[0] == 0:
            break
        if entry[0] == _NEEDED:
            needed.append(entry[1])
        else:
            tags[entry[0]] = entry[1]
    else:
        elf.cut = True  # no end where there has to be one
    strings = elf.place(tags[_STRINGS]) if _STRINGS in tags else -1
    names = [name for one in needed if (name := _string(elf, strings, one)) is not None]
    versions = []
    if _VERSIONS in tags:
        place = elf.place(tags[_VERSIONS])
        versions = [name for one in _versions(elf, place) if (name := _string(elf, strings, one)) is not None]
    return names, versions


def _string(elf: _Elf, strings: int, offset: int) -> str | None:
    name = name_at(elf.data, strings + offset) if strings >= 0 else None
    elf.cut |= name is None
    return name


def _versions(elf: _Elf, place: int) -> Iterator[int]:
    """Yield where in the table of strings each version's name is that symbols are needed in."""
    left = VERSIONS_MOST
    while left:
        need = elf.numbers("HHIII", place)
        if need is None:
            return
        one = place + need[3]
        for _ in range(need[1]):
            version = elf.numbers("IHHII", one)
            left -= 1
            if version is None or not left:
                break
            yield version[3]
            if version[4] == 0:
                break
            one += version[4]
        left = max(0, left - 1)
        if need[4] == 0:
            return
        place += need[4]
    elf.cut = True


def _family(interpreter: str | None, names: list[str]) -> str | None:
    for name in ([interpreter.rpartition("/")[2]] if interpreter else []) + names:
        for pattern, family in _FAMILIES:
            if pattern.fullmatch(name):
                return family
    return None


def _version(name: str) -> str | None:
    match = _GLIBC.match(name)
    return match[1] if match else _ALIKE.get(name)


def _level(elf: _Elf) -> str | None:
    """Return the level of x86-64 that the linker wrote down as needed, or None where it wrote none."""
    bits = 0
    for start, length in elf.notes[:NOTED_MOST]:
        for kind, offset, size in _properties(elf.data, start, min(length, NOTES_MOST)):
            found = unpacked("<I", elf.data, offset) if kind == _LEVELS_NEEDED and size == 4 else None  # noqa: PLR2004
            bits |= found[0] if found else 0
    levels = [level for number, level in enumerate(CPU_LEVELS) if bits >> number & 1]
    return levels[-1] if levels else None


def _properties(data: FileBytes, start: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield kind, offset and size in bytes of each property of a segment of notes."""
    at, end, left = start, start + length, PROPERTIES_MOST
    while at + 12 <= end and left:
        left -= 1
        note = unpacked("<III", data, at)
        if note is None:
            return
        body = at + 12 + (note[0] + 3) // 4 * 4
        if note[2] == _GNU_PROPERTIES and data[at + 12 : at + 16] == b"GNU\0":
            inside = body
            while inside + 8 <= min(end, body + note[1]) and left:
                left -= 1
                one = unpacked("<II", data, inside)
                if one is None:
                    return
                yield one[0], inside + 8, one[1]
                inside += 8 + (one[1] + 7) // 8 * 8
        at = body + (note[1] + 7) // 8 * 8 if note[2] == _GNU_PROPERTIES else body + (note[1] + 3) // 4 * 4
