"""The directory of one build server: where what lies in it, and that it is this process's alone.

Covered by tests/programs/buildserver/test_main.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import BinaryIO

from attrs import frozen
from twisted.logger import Logger

from buildtool.adapters.storage.history import work_book
from buildtool.adapters.storage.private_directories import make_private
from buildtool.errors import ConfigurationError
from buildtool.programs.buildserver import drain_signals

log = Logger()

_LOCK = "lock"


@frozen
class BuildDirectory:
    """The directory of this build server's files; each name has one of its own, so several run on one machine."""

    top: Path

    @property
    def mirrors(self) -> Path:
        return self.top / "mirrors"

    @property
    def subversion(self) -> Path:
        return self.top / "subversion"

    @property
    def sources(self) -> Path:
        return self.top / "sources"

    @property
    def slots(self) -> Path:
        return self.top / "slots"

    @property
    def spool(self) -> Path:
        return self.top / "spool"

    @property
    def sandbox(self) -> Path:
        return self.top / "sandbox"

    @property
    def downloads(self) -> Path:
        return self.top / "downloads"

    @property
    def compilers(self) -> Path:
        return self.top / "compilers"

    @property
    def without(self) -> Path:
        return self.top / "without"

    @property
    def history(self) -> Path:
        return self.top / work_book.FILE

    @property
    def follow(self) -> Path:
        return self.top / "follow"

    @property
    def stamp(self) -> Path:
        return self.top / drain_signals.STAMP

    def close_to_others(self) -> None:
        """Make the directories private to this account, and log what was open to others. Raises ConfigurationError."""
        try:
            opened = make_private(
                [
                    self.top,
                    self.mirrors,
                    self.subversion,
                    self.sources,
                    self.slots,
                    self.spool,
                    self.sandbox,
                    self.follow,
                    self.compilers,
                    self.without,
                ]
            )
        except OSError as error:
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {error.strerror}") from error
        for line in opened:
            log.warn("{line}", line=line)

    def check(self) -> None:
        """Raise ConfigurationError where this account could not ``lock`` the directory; nothing is changed."""
        there = next(one for one in (self.top / _LOCK, self.top, *self.top.parents) if os.path.lexists(one))
        if there.name != _LOCK and not there.is_dir():
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {os.strerror(errno.ENOTDIR)}")
        if not os.access(there, os.W_OK):
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {os.strerror(errno.EACCES)}")

    def lock(self) -> BinaryIO:
        """Lock the directory for this process until the returned file is closed. Raises ConfigurationError."""
        try:
            self.top.mkdir(mode=0o700, parents=True, exist_ok=True)
            stream = (self.top / _LOCK).open("ab")
        except OSError as error:
            raise ConfigurationError(f"build_dir: cannot write in {self.top}: {error.strerror}") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.close()
            raise ConfigurationError(
                f"another build server works in {self.top}: give this one another --name"
            ) from error
        return stream
