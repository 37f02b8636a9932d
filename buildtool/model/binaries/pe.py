"""PE files: programs and libraries (DLLs) for Windows. The test is tests/model/binaries/test_recognition.py."""

from __future__ import annotations

from attrs import frozen

from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget, FileBytes, unpacked

MAGIC = b"MZ"

MACHINES: dict[int, tuple[str | None, int]] = {
    0x014C: ("i686", 32),
    0x01C0: ("armv7l", 32),
    0x01C2: ("armv7l", 32),
    0x01C4: ("armv7l", 32),
    0x0200: ("ia64", 64),
    0x5032: ("riscv32", 32),
    0x5064: ("riscv64", 64),
    0x6264: ("loongarch64", 64),
    0x8664: ("x86_64", 64),
    0xAA64: ("aarch64", 64),
}
"""``Machine`` of the COFF header, as Microsoft's description of the format has them, and its bits."""

_LIBRARY = 0x2000
_LAYOUTS = {0x10B: (32, 92), 0x20B: (64, 108)}  # by the optional header's magic: bits, where the directories' number is
_MANAGED = 14
_WINDOWS = frozenset({2, 3, 5, 7, 9})  # subsystems: windows with and without a console, OS/2's, POSIX's and CE's


@frozen
class PeHead:
    """The head of a PE file: ``optional`` is where its optional header begins, ``sections`` where their table does.

    Offsets are in bytes. ``directories`` is where the table of directories begins, and ``count`` how many it has.
    """

    machine: int
    characteristics: int
    bits: int
    subsystem: int
    subsystem_version: tuple[int, int]
    directories: int
    count: int
    sections: int
    section_count: int

    def directory(self, data: FileBytes, number: int) -> tuple[int, int]:
        """Return address and size of a directory, in bytes; zeros where there is none."""
        found = unpacked("<II", data, self.directories + 8 * number) if number < self.count else None
        return (found[0], found[1]) if found else (0, 0)


def pe_head(data: FileBytes) -> PeHead | None:
    """Return the head of a PE file, or None for another file."""
    place = unpacked("<I", data, 60) if data[:2] == MAGIC else None
    if place is None or data[place[0] : place[0] + 4] != b"PE\0\0":
        return None
    start = place[0] + 4
    coff = unpacked("<HHIIIHH", data, start)
    magic = unpacked("<H", data, start + 20)
    layout = _LAYOUTS.get(magic[0]) if magic else None
    if coff is None or layout is None:
        return None
    optional = start + 20
    bits, number = layout
    about = unpacked("<HH", data, optional + 48)
    subsystem = unpacked("<H", data, optional + 68)
    count = unpacked("<I", data, optional + number)
    if about is None or subsystem is None or count is None:
        return None
    version = (about[0], about[1])
    table = optional + coff[5]
    return PeHead(
        coff[0], coff[6], bits, subsystem[0], version, optional + number + 4, min(count[0], 16), table, coff[1]
    )


def pe_targets(data: FileBytes) -> tuple[BinaryTarget, ...]:
    """Return what a PE file is for. Managed code (.NET) is for no processor, and firmware for no system."""
    head = pe_head(data)
    if head is None:
        return ()
    arch, bits = MACHINES.get(head.machine, (None, head.bits))
    if bits != head.bits:
        arch = None
    kind = BinaryKind.LIBRARY if head.characteristics & _LIBRARY else BinaryKind.PROGRAM
    if head.directory(data, _MANAGED)[0] or head.subsystem not in _WINDOWS:
        kind = BinaryKind.OTHER
    os = None if kind is BinaryKind.OTHER else "windows"
    return (BinaryTarget(BinaryFormat.PE, kind, os, arch, head.bits, "little", head.machine),)
