"""What the pages read of artifacts: which files one has, and the bytes of one of these."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from attrs import frozen


class FileKind(Enum):
    """The kind of a file in an artifact."""

    FILE = "file"
    PROGRAM = "program"
    LINK = "link"


@frozen
class ArtifactFile:
    """A file in an artifact, by its name there; ``size`` is in bytes, unpacked."""

    name: str
    size: int
    kind: FileKind


@frozen
class FilesFound:
    """A part of the files in an artifact, in the order in which they were packed, and how many there are."""

    count: int
    files: Sequence[ArtifactFile]


class FileReader(Protocol):
    """A file in an artifact, read from its beginning to its end."""

    @property
    def file(self) -> ArtifactFile: ...

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end. Raises Damaged for what is not as it was announced."""

    def close(self) -> None:
        """End the reading, also while something is read."""


class FilesReader(Protocol):
    """The artifacts, by their digests. Every method raises StorageUnavailable, and NotFound for one that is not there.

    Nothing is unpacked but what is read.
    """

    async def files(self, digest: str, skip: int, most: int) -> FilesFound:
        """Return at most ``most`` files after the first ``skip``. Raises Damaged for what is no archive."""

    async def open(self, digest: str, name: str) -> FileReader:
        """Return a file of an artifact, whose bytes were compared with its digest.

        Raises NotFound also where there is no file of this name, Damaged, and UsageError for one that is too large.
        """
