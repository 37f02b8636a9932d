"""What the files of an artifact need, measured in the archive that is delivered. Everything here blocks.

The test is tests/adapters/host/test_build_slots.py.
"""

from __future__ import annotations

import mmap
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from buildtool.model.binaries.judging import MeasuredFile, holds_code, measured
from buildtool.model.binaries.recognition import HEAD

IN_MEMORY = 8 * 2**20
"""Bytes of a file that is unpacked into memory; a larger one is unpacked to the disk and mapped."""

_CHUNK = 256 * 1024


def measure_archive(archive: Path, check: Callable[[], None]) -> tuple[MeasuredFile, ...]:
    """Return what each file of an archive needs that holds code, in the archive's order.

    ``check`` is called between pieces, and raises where this is to end. Only files that hold code are unpacked.
    Raises OSError.
    """
    found = []
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            check()
            if member.is_dir():
                continue
            with packed.open(member) as file:
                one = _measured(member, file, archive.parent, check)
            if one is not None:
                found.append(one)
    return tuple(found)


def _measured(member: zipfile.ZipInfo, file: IO[bytes], beside: Path, check: Callable[[], None]) -> MeasuredFile | None:
    head = file.read(HEAD)
    if not holds_code(head) or member.file_size <= len(head):
        return measured(member.filename, head)
    if member.file_size <= IN_MEMORY:
        return measured(member.filename, head + file.read())
    with tempfile.TemporaryFile(dir=beside) as copy:
        copy.write(head)
        while piece := file.read(_CHUNK):
            check()
            copy.write(piece)
        copy.flush()
        with mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return measured(member.filename, data)
