"""What a file of a program needs of the machine that runs it. The test is tests/model/binaries/test_need.py."""

from __future__ import annotations

from attrs import frozen

from buildtool.model.binaries.target import BinaryTarget, FileBytes

NAME_MOST = 4096
"""Longest name that is read out of a file, in bytes."""


@frozen
class FileNeed:
    """The need of a file, or of one slice of a universal one, as far as it tells.

    ``libc`` is the family that it links to, None where it links to none; ``libc_version`` the oldest version that has
    all of it, of macOS the oldest release. ``cpu_level`` is the level of x86-64 that it says it needs. ``system`` is
    the oldest version of Windows, or the version of WASI. It is ``whole`` where everything that says so was read.
    """

    target: BinaryTarget
    libc: str | None = None
    libc_version: str | None = None
    cpu_level: str | None = None
    system: str | None = None
    whole: bool = False


def name_at(data: FileBytes, offset: int) -> str | None:
    """Return the text that ends with a zero byte at an offset in bytes; None for one that is cut or too long."""
    piece = data[offset : offset + NAME_MOST] if 0 <= offset < len(data) else b""
    end = piece.find(b"\0")
    return piece[:end].decode("utf-8", "replace") if end >= 0 else None
