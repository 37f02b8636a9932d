"""When the last good backup of a state directory was made: a file in it that the metaserver reads for its health."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from buildtool.adapters.storage.filesystem import RealDisk, put_whole, read_whole
from buildtool.model.farm.backups import LastBackup, overdue

STAMP = "last-backup"
"""The name of the file."""

_SIZE = 64 * 1024


def write_stamp(directory: Path, made: float, where: Path) -> None:
    """Write into a state directory, durably, when (seconds) a good backup was made, and where it is. Raises OSError."""
    told = {"made": made, "directory": str(where)}
    put_whole(RealDisk(), directory / STAMP, json.dumps(told).encode() + b"\n")


def read_stamp(directory: Path) -> float | None:
    """Return when (seconds) the last good backup of a state directory was made, None if none was. Raises OSError.

    A file that says nothing that can be read counts as none.
    """
    try:
        told = json.loads(read_whole(RealDisk(), directory / STAMP, _SIZE))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return None
    made = told.get("made") if isinstance(told, dict) else None
    if isinstance(made, bool) or not isinstance(made, int | float) or not math.isfinite(made):
        return None
    return float(made)


@frozen
class BackupWatch:
    """A watch over the age of the last good backup of ``directory``: ``limit`` tells how old it may be, in seconds.

    ``wall`` tells the time.
    """

    directory: Path
    limit: Callable[[], float]
    wall: Callable[[], float]

    def look(self) -> LastBackup:
        """Return what is known, read anew."""
        limit = self.limit()
        try:
            made = read_stamp(self.directory)
        except OSError as error:
            line = f"{STAMP} in the state directory cannot be read: {error.strerror}"
            return LastBackup(None, limit, line if limit > 0 else "")
        return LastBackup(made, limit, overdue(made, limit, self.wall()))
