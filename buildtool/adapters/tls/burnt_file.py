"""The file of what is burnt, ``revoked.jsonl``: it is only added to, and teaches a database that was put back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import define, field
from twisted.logger import Logger

from buildtool.adapters.storage.filesystem import Disk, OpenMode, RealDisk, make_directories, on_disk, opened
from buildtool.model.access.burnt import LINE_LIMIT, Burnt, read_burnt, text_of
from buildtool.ports.common import Executor

log = Logger()

NAME = "revoked.jsonl"

MOST = 256 * 1024 * 1024
"""Most bytes of the file that are read: more than a million lines."""


@define(eq=False)
class BurntFile:
    """The ``ports.BurntStore`` in a file of the metaserver's."""

    path: Path
    executor: Executor
    disk: Disk = field(factory=RealDisk)

    async def append(self, burnt: Sequence[Burnt]) -> None:
        await on_disk(self.executor, f"write {self.path}", lambda: add_burnt(self.path, burnt, self.disk))

    async def read(self) -> Sequence[Burnt]:
        return await on_disk(self.executor, f"read {self.path}", lambda: read_file(self.path, self.disk))


def add_burnt(path: Path, burnt: Sequence[Burnt], disk: Disk) -> None:
    """Append lines to a file, durably; one that a crash left unfinished is closed first. Raises OSError."""
    make_directories(disk, path.parent)
    lines = "".join(f"{text_of(one)}\n" for one in burnt).encode()
    with opened(disk, path, OpenMode.CONTINUE) as file:
        size = disk.status(file).size
        whole = not size or disk.pread(file, 1, size - 1) == b"\n"
        disk.append(file, lines if whole else b"\n" + lines)
        disk.sync(file)
    disk.sync_directory(path.parent)


def read_file(path: Path, disk: Disk, passed_over: list[int] | None = None) -> list[Burnt]:
    """Return what a file says, nothing if there is none. Raises OSError.

    What is not understood is logged, or the numbers of its lines are put into ``passed_over``.
    """
    try:
        with opened(disk, path, OpenMode.READ) as file:
            text = disk.pread(file, MOST, 0)
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found.append(read_burnt(line[:LINE_LIMIT].decode()))
        except ValueError as error:
            if passed_over is None:
                log.warn("{path}, line {number}, is not understood: {error}", path=path, number=number, error=error)
            else:
                passed_over.append(number)
    return found
