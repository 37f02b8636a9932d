"""The backups of a series lie in one directory; each has a file that says that this program made it, and when."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import asdict, frozen

from buildtool.adapters.maintenance.backup import MARK, PARTIAL, PARTS, held
from buildtool.adapters.storage.filesystem import RealDisk, put_whole, read_whole, storage_unavailable, write_whole
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.model.farm.backups import MadeBackup, is_name, name_of

MOST = 100
"""The most backups that have the same second."""

_SIZE = 64 * 1024
_FORMAT = 1


@frozen
class BackupMark:
    """The contents of the file that makes a directory a backup of a series.

    ``made`` is in seconds of wall time, ``of`` tells whose state directory it is of. ``sealed`` is the SHA-256 of what
    is encrypted in it, ``wrong`` what a test found; "" where there is nothing.
    """

    name: str
    made: float
    of: str = ""
    sealed: str = ""
    wrong: str = ""

    @property
    def data(self) -> bytes:
        """The bytes of that file."""
        return json.dumps({"format": _FORMAT, **asdict(self)}).encode() + b"\n"

    def write(self, directory: Path) -> None:
        """Write the file into a directory, durably; one that is there is replaced. Raises OSError."""
        put_whole(RealDisk(), directory / MARK, self.data)

    def begin(self, directory: Path) -> None:
        """Write the file into a directory that is not yet named. Raises OSError."""
        write_whole(RealDisk(), directory / MARK, self.data)


@frozen
class BackupSeries:
    """The backups below ``directory`` of the state directory that ``of`` tells, as ``owner_of`` does.

    What is no backup of this program, or another farm's, is neither listed nor touched.
    """

    directory: Path
    of: str = ""

    @contextmanager
    def mine(self) -> Iterator[None]:
        """Hold the series for this process until the end of the block.

        Raises UsageError for what is no directory, StorageUnavailable where another process has it.
        """
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(
                f"backup: {self.directory} holds no backups: {error.strerror}; make the directory first"
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageUnavailable(f"another backup is being made in {self.directory}: wait for it") from error
            except OSError as error:
                raise storage_unavailable(f"lock {self.directory}", error) from error
            yield
        finally:
            os.close(descriptor)

    def fresh(self, now: float) -> str:
        """Return a name for a backup that is made ``now`` (seconds). Raises StorageUnavailable where all are taken."""
        name = name_of(now)
        for one in (name, *(f"{name}-{number}" for number in range(2, MOST))):
            if not os.path.lexists(self.directory / one):
                return one
        raise StorageUnavailable(f"{self.directory} has {MOST} backups of this second already")

    def there(self) -> list[MadeBackup]:
        """Return the backups that are there, in no order. Raises StorageUnavailable."""
        return [MadeBackup(mark.name, mark.made, not mark.wrong) for mark in self._marks() if mark.of == self.of]

    def others(self) -> int:
        """Return how many backups there are of other state directories. Raises StorageUnavailable."""
        return sum(mark.of != self.of for mark in self._marks())

    def _marks(self) -> list[BackupMark]:
        try:
            names = [name for name in os.listdir(self.directory) if is_name(name)]
        except OSError as error:
            raise storage_unavailable(f"list the backups in {self.directory}", error) from error
        return [mark for name in names if (mark := self.mark(name)) is not None]

    def mark(self, name: str) -> BackupMark | None:
        """Return what a directory says of itself, None for one that this program did not make."""
        place = self.directory / name
        try:
            if not is_name(name) or not stat.S_ISDIR(place.lstat().st_mode):
                return None
            told = json.loads(read_whole(RealDisk(), place / MARK, _SIZE))
        except (OSError, ValueError, RecursionError):
            return None
        return _read_mark(told, name)

    def remove(self, name: str) -> str:
        """Remove a backup; return "", or why it stays where something in it is not of a backup. Raises OSError."""
        place = self.directory / name
        mark = self.mark(name)
        if mark is None or mark.of != self.of:
            return "this program did not make it"
        others = sorted(one for one in os.listdir(place) if not one.startswith(PARTS))
        if others:
            return f"there is {others[0]} in it, which no backup has (was a metaserver started on it?)"
        going = place.with_name(f".{name}.{secrets.token_hex(4)}{PARTIAL}")
        with held(place):  # whoever reads it by a metaserver or by fsck has it locked
            place.rename(going)  # so that what is left where this is cut off is no backup, and goes at the next
            shutil.rmtree(going)
        return ""


def owner_of(state: Path) -> str:
    """Return what tells backups of a state directory from those of others, wherever it lies: it comes from its key.

    "" where it has none. Raises OSError.
    """
    try:
        key = read_whole(RealDisk(), (state / "key").resolve(), _SIZE)
    except FileNotFoundError:
        return ""
    return hashlib.sha256(b"whose backup: " + key).hexdigest()[:16]


@contextmanager
def scratch(directory: Path, name: str) -> Iterator[Path]:
    """Yield a place beside a backup, and remove it afterwards; one that was left is removed by the next backup."""
    place = directory / f".{name}.{secrets.token_hex(4)}{PARTIAL}"
    try:
        yield place
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(place)


def _read_mark(told: object, name: str) -> BackupMark | None:
    """Return what a file says, None unless it is of this program and of the directory with that name."""
    if not isinstance(told, dict) or told.get("format") != _FORMAT or told.get("name") != name:
        return None
    made, rest = told.get("made"), [told.get(one, "") for one in ("of", "sealed", "wrong")]
    if isinstance(made, bool) or not isinstance(made, int | float) or not math.isfinite(made):
        return None
    if not all(isinstance(one, str) for one in rest):
        return None
    return BackupMark(name, float(made), *rest)
