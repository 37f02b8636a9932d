"""What a file of a program is for. The test is tests/model/binaries/test_recognition.py."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from buildtool.model.platforms import ARCHES


class FileBytes(Protocol):
    """The bytes of a file: ``bytes``, or a file that is mapped into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class BinaryFormat(enum.Enum):
    """The format of a file that holds code for a processor."""

    ELF = "ELF"
    PE = "PE"
    MACHO = "Mach-O"
    WASM = "WebAssembly"


class BinaryKind(enum.Enum):
    """The part that a file plays; OTHER is neither run nor linked: debugging data, firmware, a core file."""

    PROGRAM = "program"
    LIBRARY = "library"
    OBJECT = "object file"
    OTHER = "other"


@frozen
class BinaryTarget:
    """The platform that a file, or one part of a universal one, is for.

    ``os`` and ``arch`` are canonical names, or None where the file does not tell or it is one that has no name here;
    ``machine`` is the number that the format has for the processor.
    """

    format: BinaryFormat
    kind: BinaryKind
    os: str | None
    arch: str | None
    bits: int
    byteorder: str
    machine: int = 0

    def words(self) -> str:
        """Return the platform for people: ``linux on ppc``, ``windows on machine 0x1f0``."""
        where = self.arch or f"machine {self.machine:#x} with {self.bits} bits"
        return f"{self.os} on {where}" if self.os else where


Reader = Callable[[FileBytes], tuple[BinaryTarget, ...]]
"""A function that returns what a file of one format is for: one target, several of a universal file, or none."""


def unpacked(layout: str, data: FileBytes, offset: int) -> tuple[int, ...] | None:
    """Return the whole numbers that stand at an offset in bytes, or None where the file ends before."""
    size = struct.calcsize(layout)
    piece = data[offset : offset + size] if offset >= 0 else b""
    return struct.unpack(layout, piece) if len(piece) == size else None


def named_arch(names: tuple[str, ...], bits: int, byteorder: str) -> str | None:
    """Return the one among architectures that has so many bits and this byte order, or None."""
    known = (ARCHES[name] for name in names)
    return next((arch.name for arch in known if (arch.bits, arch.byteorder) == (bits, byteorder)), None)
