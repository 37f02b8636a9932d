"""Where an installation lies: ``versions/COMMIT`` each with an environment of its own, and ``current``, a link to one.

The link is replaced whole, so it leads to a whole version at every moment. Everything here blocks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.filesystem import sync_directory
from buildtool.adapters.storage.trees import remove_tree
from buildtool.adapters.storage.whole_text import replace_text
from buildtool.adapters.vcs.refs import is_full_id
from buildtool.errors import AlreadyRunning, MachineFault

CURRENT = "current"
VERSIONS = "versions"
LOCK = "update.lock"
MADE = ".made"
"""The file in a version that says that it is whole."""

ROOM = 256 * 1024 * 1024
"""Bytes that are left free beside what a version needs: servers write to this disk, too."""

FIRST = 512 * 1024 * 1024
"""Bytes that a version is taken to need where there is none to be measured."""


STATE = "var"
"""Where servers keep their state in a version, unless a configuration names another place."""


@contextmanager
def for_all_accounts() -> Iterator[None]:
    """Make what is made until the end of the block readable for the accounts of the servers."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def free_bytes(path: Path) -> int:
    """Return the bytes that can still be written below a directory."""
    return shutil.disk_usage(path).free


@frozen
class VersionPlace:
    """The directory of an installation: ``free`` returns the bytes that can still be written there.

    ``sync`` waits until all that was written has reached the disk.
    """

    path: Path
    free: Callable[[Path], int] = free_bytes
    sync: Callable[[], object] = os.sync

    def version(self, commit: str) -> Path:
        """Return where a version lies."""
        return self.path / VERSIONS / commit

    @property
    def link(self) -> Path:
        """The link by which programs are started."""
        return self.path / CURRENT

    def current(self) -> str:
        """Return which version the link leads to, "" where there is none. Raises MachineFault for anything else."""
        try:
            target = self.link.readlink()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise MachineFault(f"{self.link} is no link to a version: {error.strerror}") from error
        if not is_full_id(target.name):
            raise MachineFault(f"{self.link} leads to {target}, which is no version: remove it, or have it lead to one")
        return target.name

    def lead_to(self, commit: str) -> None:
        """Replace the link by one that leads to a version. Raises MachineFault."""
        fresh = self.path / f".{CURRENT}.new"
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(Path(VERSIONS) / commit)
            fresh.replace(self.link)
            sync_directory(self.path)
        except OSError as error:
            raise MachineFault(f"{self.link} cannot be replaced: {error.strerror or error}") from error

    def whole(self, commit: str) -> bool:
        """Return whether a version is there and was made to its end."""
        return bool(commit) and (self.version(commit) / MADE).is_file()

    def mark_whole(self, commit: str) -> None:
        """Mark a version as made, once all that was written has reached the disk. Raises OSError."""
        self.sync()
        replace_text(self.version(commit) / MADE, f"{commit}\n")
        sync_directory(self.version(commit))

    def versions(self) -> tuple[str, ...]:
        """Return all versions, also half-made ones. Raises MachineFault."""
        try:
            return tuple(sorted(one.name for one in (self.path / VERSIONS).iterdir() if is_full_id(one.name)))
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise MachineFault(f"{self.path / VERSIONS} has no versions: {error.strerror or error}") from error

    def has_state(self, commit: str) -> bool:
        """Return whether servers keep in a version what would go with it."""
        return bool(commit) and os.path.lexists(self.version(commit) / STATE)

    def remove(self, commit: str) -> None:
        """Remove a version; one that is begun to be removed is not whole any more. Raises MachineFault."""
        try:
            (self.version(commit) / MADE).unlink(missing_ok=True)
            remove_tree(self.version(commit))
        except NotADirectoryError:
            return
        except OSError as error:
            raise MachineFault(f"{self.version(commit)} cannot be removed: {error.strerror or error}") from error

    def room(self) -> tuple[int, int]:
        """Return how many bytes a new version needs, and how many can be written. Raises OSError."""
        here = self.link.resolve()
        taken = sum(path.lstat().st_blocks * 512 for path in here.rglob("*")) if self.current() else FIRST
        return taken * 5 // 4 + ROOM, self.free(self.path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the installation alone. Raises AlreadyRunning where another update does, MachineFault."""
        try:
            with for_all_accounts():
                self.path.mkdir(parents=True, exist_ok=True)
            stream = (self.path / LOCK).open("a+", encoding="ascii")
        except OSError as error:
            raise MachineFault(f"{self.path} cannot be used: {error.strerror or error}") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                number = stream.read(20).strip()
                raise AlreadyRunning(f"another update is under way, as process {number or '?'}") from error
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            yield
