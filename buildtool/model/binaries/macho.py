"""Mach-O files: programs and libraries for macOS. The test is tests/model/binaries/test_recognition.py.

A universal file holds several of them, one for each processor, which are called slices.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from buildtool.model.binaries.target import BinaryFormat, BinaryKind, BinaryTarget, FileBytes, unpacked

_MAGICS = {
    b"\xfe\xed\xfa\xce": (32, "big"),
    b"\xfe\xed\xfa\xcf": (64, "big"),
    b"\xce\xfa\xed\xfe": (32, "little"),
    b"\xcf\xfa\xed\xfe": (64, "little"),
}
_UNIVERSAL = {b"\xca\xfe\xba\xbe": ">IIIII", b"\xca\xfe\xba\xbf": ">IIQQI"}

_KINDS = {
    1: BinaryKind.OBJECT, 2: BinaryKind.PROGRAM, 6: BinaryKind.LIBRARY, 7: BinaryKind.LIBRARY, 8: BinaryKind.LIBRARY,
    9: BinaryKind.LIBRARY, 11: BinaryKind.LIBRARY,
}  # fmt: skip

_64 = 0x01000000

MACHINES: dict[int, str] = {
    7: "i686",
    7 | _64: "x86_64",
    12: "armv7l",
    12 | _64: "aarch64",
    18: "ppc",
    18 | _64: "ppc64",
}
"""``cputype`` of Apple's <mach/machine.h>."""

SLICES_MOST = 20
"""Most slices of a universal file. What has more is a class file of Java: it begins with the same bytes."""


@frozen
class Slice:
    """One program or library within a file, and where it is, in bytes."""

    offset: int
    size: int
    cpu: int
    kind: int
    bits: int
    byteorder: str

    def target(self) -> BinaryTarget:
        """Return what it is for."""
        kind = _KINDS.get(self.kind, BinaryKind.OTHER)
        arch = MACHINES.get(self.cpu)
        return BinaryTarget(BinaryFormat.MACHO, kind, "darwin", arch, self.bits, self.byteorder, self.cpu)


def slices(data: FileBytes) -> Iterator[Slice]:
    """Yield each slice of a Mach-O file; of one whose bytes are not here it is believed that it is a program."""
    layout = _UNIVERSAL.get(data[:4])
    if layout is None:
        found = _slice_at(data, 0, len(data))
        if found is not None:
            yield found
        return
    count = unpacked(">I", data, 4)
    if count is None or not 0 < count[0] <= SLICES_MOST:
        return
    step = 20 if layout == ">IIIII" else 32
    for number in range(count[0]):
        entry = unpacked(layout, data, 8 + step * number)
        if entry is None:
            return
        cpu, _, offset, size, _ = entry
        if offset + 4 > len(data):
            bits, order = (64 if cpu & _64 else 32), ("big" if cpu & ~_64 == 18 else "little")  # noqa: PLR2004 - PowerPC
            yield Slice(offset, size, cpu, 2, bits, order)
            continue
        found = _slice_at(data, offset, min(size, len(data) - offset))
        if found is not None:
            yield found


def _slice_at(data: FileBytes, offset: int, size: int) -> Slice | None:
    known = _MAGICS.get(data[offset : offset + 4])
    head = unpacked("<III" if known and known[1] == "little" else ">III", data, offset + 4) if known else None
    return Slice(offset, size, head[0], head[2], *known) if known and head else None


def macho_targets(data: FileBytes) -> tuple[BinaryTarget, ...]:
    """Return what a Mach-O file is for, each slice of a universal one."""
    return tuple(one.target() for one in slices(data))
