"""Where the artifact goes that a requester fetches: ``--output``, checked before anybody is asked.

Tested by tests/programs/startcompile/test_main.py.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from pathlib import Path

from attrs import define, frozen

from buildtool.errors import UsageError
from buildtool.ports.common import Executor

_ANY_WRITE = 0o222


@frozen
class OutputPlace:
    """The ``--output``: a file, a directory (that is there, or ends in a slash), or "" for the current directory."""

    output: str

    def path(self, name: str) -> Path:
        """Return the path for an artifact of this name."""
        path = Path(self.output or ".")
        return path / name if self.output.endswith(os.sep) or path.is_dir() else path

    def is_directory(self) -> bool:
        """Return whether artifacts go into it, each under its own name."""
        return self.output.endswith(os.sep) or Path(self.output or ".").is_dir()

    def check(self, name: str = "artifact.zip") -> None:
        """Raise UsageError when nothing can be written there, or should not be."""
        if self.output == "-":
            raise UsageError("--output: an artifact does not go to standard output; a file of that name is ./-")
        try:
            self._check(self.path(name))
        except OSError as error:
            raise UsageError(f"--output: {error.filename} cannot be used: {error.strerror}") from error

    def _check(self, path: Path) -> None:
        if self.output.endswith(os.sep):
            try:
                path.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise UsageError(f"--output: cannot make {path.parent}: {error.strerror}") from error
        if not path.parent.is_dir():
            raise UsageError(f"--output: there is no directory {path.parent}")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise UsageError(f"--output: nothing can be written in {path.parent.resolve()}")
        if path.exists() and not path.is_file():
            raise UsageError(f"--output: {path} is there and is no file")
        if path.exists() and not path.stat().st_mode & _ANY_WRITE:
            raise UsageError(f"--output: {path} is there and read-only: delete it, or choose another name")


@define
class FilePlace:
    """The requester's ``Destination`` on this machine's disk."""

    place: OutputPlace
    executor: Executor

    async def choose(self, name: str) -> str:
        self.place.check(name)
        return str(self.place.path(name))

    async def occupied(self, path: str) -> bool:
        return await self.executor.run(Path(path).exists)

    async def holds(self, path: str, size: int, digest: str) -> bool:
        return await self.executor.run(partial(_holds, Path(path), size, digest))


def _holds(path: Path, size: int, digest: str) -> bool:
    try:
        if path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
