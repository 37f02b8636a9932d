"""How Attempts ended, kept on a build server's disk until the metaserver has taken it.

``<build>-<epoch>/end.json`` is the message, as it goes over the wire, and ``artifact.zip`` beside it what was built.
The artifact is synced before the message is there, and the message gets its name when it is synced itself, so an entry
with a message is whole. One without was being kept, or dropped, when the machine went down.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from buildtool.adapters.storage.filesystem import (
    Disk,
    OpenMode,
    RealDisk,
    exists,
    make_directories,
    opened,
    read_whole,
    remove,
    write_whole,
)
from buildtool.errors import DecodeError, MachineFault
from buildtool.ports.buildserver import Spooled
from buildtool.ports.common import Executor
from buildtool.protocol.codec import decode, text_of
from buildtool.protocol.json_text import TextBounds, parsed
from buildtool.protocol.messages import Done, Ended

T = TypeVar("T")

ARTIFACT = "artifact.zip"
END = "end.json"

_FRESH = f"{END}.new"
_END_BOUNDS = TextBounds(1_000)
_END_LIMIT = 256 * 1024  # a log's tail of 16 KiB, each byte of it six in JSON at the most, and room to spare


class Spool:
    """The ``ports.SpoolFiles`` in ``directory``, which belongs to this program alone."""

    _log = Logger()

    def __init__(self, directory: Path, executor: Executor, disk: Disk | None = None) -> None:
        self._directory = directory
        self._executor = executor
        self._disk = disk or RealDisk()

    def path(self, build_id: int, epoch: int) -> Path:
        """Return where the end of an Attempt is kept."""
        return self._directory / f"{build_id:d}-{epoch:d}"

    async def keep(self, end: Done | Ended, artifact: Path | None = None) -> Spooled:
        """Keep an end durably, in the place of an earlier one of that Attempt; ``artifact`` is moved there.

        It has to be on the same file system. Raises MachineFault when the disk does not let it; then ``artifact`` is
        where it was, and what was kept before is kept, unless that was another artifact.
        """
        place = self.path(end.build_id, end.epoch)
        purpose = f"keep the end of build {end.build_id} in {self._directory}"
        self._tell(await self._do(purpose, partial(_keep, self._disk, place, text_of(end), artifact)))
        return Spooled(end, place / ARTIFACT if artifact is not None else None)

    async def entries(self) -> Sequence[Spooled]:
        """Return all that is kept, oldest first; what is not whole is deleted. Raises MachineFault.

        What cannot be read is left out, and left there. An artifact is compared with its digest where it arrives.
        """
        kept, said = await self._do(f"look into {self._directory}", partial(_entries, self._disk, self._directory))
        self._tell(said)
        return kept

    async def drop(self, build_id: int, epoch: int) -> None:
        """Forget an end and delete its file; that there is none does not matter. Raises MachineFault.

        After a loss of power it may be there again. To offer it once more is harmless.
        """
        place = self.path(build_id, epoch)
        await self._do(f"delete {place}", partial(remove, self._disk, place))

    def _tell(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._log.warn("{line}", line=line)

    async def _do(self, purpose: str, act: Callable[[], T]) -> T:
        try:
            return await self._executor.run(act)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            raise MachineFault(
                f"cannot {purpose}: {'the disk is full' if full else error.strerror or error}"
            ) from error


# --- below: run in threads ------------------------------------------------------------------------------


class _NotWhole(Exception):
    """What is wrong with an entry."""


def _keep(disk: Disk, place: Path, message: bytes, artifact: Path | None) -> list[str]:
    """Keep the artifact, the message, the names of both, in this order; return what there is to say."""
    before = exists(disk, place / END)
    try:
        make_directories(disk, place)
        if artifact is not None:
            _sync(disk, artifact)
            _clear(disk, place)
            disk.link(artifact, place / ARTIFACT)
        write_whole(disk, place / _FRESH, message)
        disk.rename(place / _FRESH, place / END)
        disk.sync_directory(place)
    except OSError:
        remove(disk, place / _FRESH if before else place)
        raise
    superfluous = place / ARTIFACT if artifact is None else artifact
    try:
        with suppress(FileNotFoundError):
            disk.unlink(superfluous)
    except OSError as error:  # what was to be kept is kept; this is looked after where directories are cleared
        return [f"{superfluous} is not needed any more, but cannot be deleted: {error.strerror or error}"]
    return []


def _clear(disk: Disk, place: Path) -> None:
    """Remove an earlier artifact with its message, lest a crash leaves one of them beside what comes now."""
    left = disk.names(place)
    for name in left:
        disk.unlink(place / name)
    if left:
        disk.sync_directory(place)


def _sync(disk: Disk, path: Path) -> None:
    with opened(disk, path, OpenMode.READ) as file:
        disk.sync(file)


def _entries(disk: Disk, directory: Path) -> tuple[list[Spooled], list[str]]:
    """Return what is kept, and what there is to say of what is not."""
    make_directories(disk, directory)
    found, said = [], []
    for name in disk.names(directory):
        place = directory / name
        try:
            try:
                found.append((_age(disk, place), _entry(disk, place)))
                said += _made_durable(disk, place)
            except _NotWhole as wrong:
                remove(disk, place)
                said.append(f"{place} was deleted: {wrong}")
        except OSError as error:
            said.append(f"{place} cannot be read and is left alone: {error.strerror or error}")
    found.sort(key=lambda one: (one[0], one[1].end.build_id, one[1].end.epoch))
    return [kept for _, kept in found], said


def _age(disk: Disk, place: Path) -> int:
    try:
        return disk.look(place / END).mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        raise _NotWhole("it was not kept to the end") from None


def _entry(disk: Disk, place: Path) -> Spooled:
    """Return one entry. Raises _NotWhole, OSError."""
    end = _message(read_whole(disk, place / END, _END_LIMIT + 1))
    if place.name != f"{end.build_id}-{end.epoch}":
        raise _NotWhole(f"it holds the end of build {end.build_id}.{end.epoch}")
    for name in disk.names(place):
        if name != END and not (name == ARTIFACT and isinstance(end, Done)):
            remove(disk, place / name)
    artifact = None
    if isinstance(end, Done):
        artifact = place / ARTIFACT
        try:
            size = disk.look(artifact).size
        except FileNotFoundError:
            raise _NotWhole("its artifact is missing") from None
        if size != end.size:
            raise _NotWhole(f"its artifact has {size} bytes, not {end.size}")
    return Spooled(end, artifact)


def _made_durable(disk: Disk, place: Path) -> list[str]:
    """Sync what a killed program may have left undurable; return what there is to say. To be offered needs it not."""
    try:
        disk.sync_directory(place)
    except OSError as error:
        return [f"{place} may not outlive a loss of power: {error.strerror or error}"]
    return []


def _message(data: bytes) -> Done | Ended:
    if len(data) > _END_LIMIT:
        raise _NotWhole(f"its {END} is damaged")
    try:
        end: Done | Ended = decode(Done | Ended, parsed(data, _END_BOUNDS))
    except DecodeError as error:
        raise _NotWhole(f"its {END} is damaged") from error
    return end
