"""The freezer of a control group: stops all that is in it at a stroke, whoever of it forks meanwhile.

What is frozen by version 1 dies of a signal only once it is thawed. Runs in keepers, by the standard library.
Tested by tests/adapters/host/limits/test_freezing.py.
"""

from __future__ import annotations

import os

VERSION_1 = "freezer.state"
"""The name of the file in a group of version 1; that of version 2 is ``cgroup.freeze``."""

VERSION_2 = "cgroup.freeze"


class Freezer:
    """A control group's freezer, by the path of its file; usable where that can no longer be seen."""

    def __init__(self, path: str, below: int | None = None) -> None:
        """Open the file, by its path below a directory's descriptor if there is one. Raises OSError."""
        self._file = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=below)
        self._stop, self._go = (b"FROZEN", b"THAWED") if path.endswith(VERSION_1) else (b"1", b"0")
        self.frozen = False

    def freeze(self) -> bool:
        """Stop everything in the group, and what will be started in it; return False where that is refused."""
        try:
            os.write(self._file, self._stop)
        except OSError:
            return False  # signals do, too
        self.frozen = True
        return True

    def thaw(self) -> bool:
        """Resume what was frozen; return False if nothing was."""
        was, self.frozen = self.frozen, False
        if was:
            os.write(self._file, self._go)
        return was

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def thaw_by_name(path: str) -> None:
    """Resume what is in the group of a freezer's file, which may be gone."""
    try:
        freezer = Freezer(path)
    except OSError:
        return
    freezer.frozen = True
    freezer.thaw()
    freezer.close()
