"""``backup``: a copy of the state directory that a metaserver can be started on, made while one may be running.

The database is copied first, as one moment of it; after that, files are only added to what it names, or withdrawn.
What an artifact row of the copy names is in the copy: where the file went meanwhile, the row is withdrawn there.
A file that nothing ever changes is linked where that is possible and copied otherwise; what still grows is copied.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from attrs import define, field, frozen

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.search.line_table import OF_THE_ARTIFACT
from buildtool.adapters.sql.sqlite import SqliteDatabase, copy_database, older_revision
from buildtool.adapters.storage.artifacts import DIGEST, stored_path
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.filesystem import storage_unavailable, sync_directory
from buildtool.adapters.storage.log_index.file import index_of
from buildtool.errors import StorageUnavailable, UsageError

Link = Callable[[Path, Path], None]
"""Makes a hard link, as ``os.link``."""

_READ = 1024 * 1024
PARTIAL = ".partial"
"""How the name ends of what is not whole yet, or not any more."""

MARK = "backup.json"
"""The file that a backup of a series has: see ``series/directory.py``."""

PARTS = ("artifacts", "logs", "key", "tls", DATABASE, MARK, f".{MARK}.", "config.tar.age")
"""With what the names of all begin that a copy has; so nothing else is taken for one that was left half made."""


@frozen
class BackupContents:
    """The contents of a backup. ``linked`` and ``copied`` count files, ``withdrawn`` rows whose file was not there."""

    artifacts: int
    artifact_bytes: int
    logs: int
    withdrawn: int
    linked: int
    copied: int


@define
class Backup:
    """A copy of the state directory ``source`` in ``target``, which must not exist or be empty.

    ``more`` copies durably what else there is into a directory, and returns how many files that were. Raises OSError.
    """

    source: Path
    target: Path
    link: Link = os.link
    more: Callable[[Path], int] = lambda _staging: 0
    _linked: int = field(default=0, init=False)
    _copied: int = field(default=0, init=False)
    _directories: set[Path] = field(factory=set, init=False)

    async def run(self) -> BackupContents:
        """Make the copy beside ``target`` and rename it when it is complete and synced.

        Raises UsageError for a target that is in use, StorageUnavailable when there is nothing to copy or no room.
        """
        try:
            self._check()
        except OSError as error:
            raise UsageError(
                f"backup: {error.filename or self.target} cannot be looked at: {error.strerror}"
            ) from error
        reading = SqliteDatabase.reading(self.source / DATABASE, Inline(), older=True)
        try:
            await reading.run(lambda _connection: None)  # that it is a database of this version, or of an earlier one
        finally:
            await reading.close()
        staging = self.target.with_name(f".{self.target.name}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            _remove_abandoned(staging.parent)
            staging.mkdir(mode=0o700)
            with held(staging):
                return self._copy(staging)
        except OSError as error:
            raise storage_unavailable(f"write the backup {self.target}", error) from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise storage_unavailable(f"write the backup {self.target}", full) from full
            raise StorageUnavailable(f"{self.source / DATABASE} cannot be copied: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _check(self) -> None:
        target, source = self.target.resolve(), self.source.resolve()
        if target.is_relative_to(source):
            raise UsageError(f"backup: {self.target} lies inside the state directory: name a place outside of it")
        if not target.parent.is_dir():
            raise UsageError(f"backup: {target.parent} is no directory: make it first")
        if self.target.is_symlink() or (target.exists() and not target.is_dir()):
            raise UsageError(f"backup: {self.target} is no directory: name a new one")
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"backup: {self.target} is not empty: each backup is a directory of its own")

    def _copy(self, staging: Path) -> BackupContents:
        for name in ("artifacts", "logs"):
            (staging / name).mkdir(mode=0o700)
        self._directories = {staging, staging / "artifacts", staging / "logs"}
        copy_database(self.source / DATABASE, staging / DATABASE)
        artifacts, size, withdrawn = self._artifacts(staging)
        logs = self._logs(staging / "logs")
        if (self.source / "key").exists():
            self._copy_file(self.source / "key", staging / "key")
        self._copied += self.more(staging)
        _sync(staging / DATABASE)
        for directory in self._directories:
            sync_directory(directory)
        staging.rename(self.target)
        sync_directory(self.target.resolve().parent)
        return BackupContents(artifacts, size, logs, withdrawn, self._linked, self._copied)

    def _artifacts(self, staging: Path) -> tuple[int, int, int]:
        """Take along what the copied rows name; return how many rows have it, their bytes, and how many do not."""
        kept, size, absent = 0, 0, []
        with closing(sqlite3.connect(staging / DATABASE, isolation_level=None)) as copy:
            given_out = copy.execute("SELECT id, digest, size FROM artifacts WHERE withdrawn = '' ORDER BY id")
            for key, digest, bytes_ in given_out.fetchall():
                if self._artifact(staging, str(digest), int(bytes_)):
                    kept, size = kept + 1, size + int(bytes_)
                else:
                    absent.append((key,))
            copy.execute("BEGIN")
            why = "its file was not there when this copy was made"
            copy.executemany(f"UPDATE artifacts SET withdrawn = '{why}' WHERE id = ?", absent)  # noqa: S608 - our words
            _forget_lines(copy, absent)
            _mark(copy)
            copy.execute("COMMIT")
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return kept, size, len(absent)

    def _artifact(self, staging: Path, digest: str, size: int) -> bool:
        if not DIGEST.fullmatch(digest):
            return False
        source, target = stored_path(self.source, digest), stored_path(staging, digest)
        if target.exists():
            return target.stat().st_size == size
        if target.parent not in self._directories:
            target.parent.mkdir(mode=0o700)
            self._directories.add(target.parent)
        try:
            return self._take(source, target, digest, size)
        except FileNotFoundError:
            return False

    def _take(self, source: Path, target: Path, digest: str, size: int) -> bool:
        if source.is_symlink() or not source.is_file() or source.stat().st_size != size:
            return False
        if self._linked_to(source, target) or self._copy_file(source, target) == digest:
            return True
        target.unlink()  # what was read is not what was stored: better none than a wrong one
        return False

    def _logs(self, target: Path) -> int:
        """Take along all logs; one that is compressed meanwhile is taken in its other form."""
        count = 0
        for name in sorted(_names(self.source / "logs")):
            finished = name.endswith(".log.zst")
            if not finished and not name.endswith(".log"):
                continue
            source = self.source / "logs" / name
            if source.exists() and not source.is_file():
                continue  # a FIFO, say: it is no log
            try:
                if not finished or not self._linked_to(source, target / name):
                    self._copy_file(source, target / name)
            except FileNotFoundError:
                packed = source.with_name(f"{name}.zst")
                if finished or not packed.exists() or (target / packed.name).exists():
                    continue
                if not self._linked_to(packed, target / packed.name):
                    self._copy_file(packed, target / packed.name)
            self._log_index(source, target)
            count += 1
        return count

    def _log_index(self, log: Path, target: Path) -> None:
        """Take along the index of a log, if it has one. It says no more than is believed of the log that was taken."""
        index = index_of(log)
        if index.is_file() and not index.is_symlink() and not (target / index.name).exists():
            with suppress(FileNotFoundError):
                self._copy_file(index, target / index.name)

    def _linked_to(self, source: Path, target: Path) -> bool:
        """Link a file that never changes; return whether that was possible. Raises FileNotFoundError."""
        try:
            self.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:
            return False  # another file system, or one without links: it is copied
        self._linked += 1
        return True

    def _copy_file(self, source: Path, target: Path) -> str:
        """Copy and sync one file; return the SHA-256 of what was read. Raises OSError."""
        with os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as old:
            if not stat.S_ISREG(os.fstat(old.fileno()).st_mode):
                raise OSError(errno.EINVAL, f"{source.name} is no plain file")
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as new:
                arrived = _pour(old, new)
                new.flush()
                os.fsync(new.fileno())
        self._copied += 1
        return arrived


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory for this process until the end of the block. Raises OSError, also where another has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    """Remove copies that were begun in a directory by processes that were killed: there may be keys in them."""
    for place in parent.glob(f".*.{'[0-9a-f]' * 8}{PARTIAL}"):
        try:
            with held(place):
                if all(name.startswith(PARTS) for name in _names(place)):
                    shutil.rmtree(place)
        except OSError:
            continue  # somebody writes it, or it is not ours


def keep_before_upgrade(directory: Path) -> Path | None:
    """Copy the database of a state directory as it is, durably, if a start will upgrade it; return where it is kept.

    The way back to the version that wrote it: docs/operator.rst. Raises StorageUnavailable; nothing is upgraded then.
    """
    revision = older_revision(directory / DATABASE)
    if not revision:
        return None
    kept = directory / f"buildtool-{revision}.sqlite"
    fresh = kept.with_name(f".{kept.name}.partial")
    try:
        fresh.unlink(missing_ok=True)
        copy_database(directory / DATABASE, fresh)
        _sync(fresh)
        fresh.replace(kept)
        sync_directory(directory)
    except OSError as error:
        raise storage_unavailable(f"keep a copy of {directory / DATABASE} before it is upgraded", error) from error
    except sqlite3.Error as error:
        raise StorageUnavailable(f"{directory / DATABASE} cannot be copied before it is upgraded: {error}") from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
    return kept


def _forget_lines(copy: sqlite3.Connection, artifacts: Sequence[tuple[int]]) -> None:
    """Take these artifacts out of what lists show of the builds that made them."""
    there = [str(name) for _, name, *_ in copy.execute("PRAGMA table_info(build_lines)")]  # none in older copies
    empty = ", ".join(f"{name} = NULL" for name in there if name in OF_THE_ARTIFACT)
    if empty:
        of_them = "build IN (SELECT id FROM builds WHERE artifact_id = ?)"
        copy.executemany(f"UPDATE build_lines SET {empty} WHERE {of_them}", artifacts)  # noqa: S608 - our words


def _mark(copy: sqlite3.Connection) -> None:
    """Write into a copy that it is one, so that who starts on it gives out no token that was given before."""
    if copy.execute("SELECT count(*) FROM sqlite_master WHERE name = 'tenure'").fetchone()[0]:
        when = f"made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        copy.execute("UPDATE tenure SET copied = ?", (when,))


def _pour(old: BinaryIO, new: BinaryIO) -> str:
    hasher = hashlib.sha256()
    while piece := old.read(_READ):
        hasher.update(piece)
        new.write(piece)
    return hasher.hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _names(directory: Path) -> list[str]:
    return os.listdir(directory) if directory.is_dir() else []
