"""Whose failure it was: one table, by the type of what was raised and not by where it was caught."""

from __future__ import annotations

from buildtool.domain.model import AttemptEnd
from buildtool.errors import (
    BadUpload,
    BuildFailed,
    ConfigurationError,
    Damaged,
    MachineFault,
    ProjectMistake,
    RepositoryUnreachable,
    StorageUnavailable,
    ToolMissing,
    TooLong,
    Unauthorised,
    Unavailable,
    UnknownRef,
    UsageError,
)

WHOSE: dict[type[BaseException], AttemptEnd] = {
    # The project's: what a command or a limit says may be tried on another machine, a mistake is one everywhere.
    BuildFailed: AttemptEnd.FAILED,
    TooLong: AttemptEnd.FAILED,
    ProjectMistake: AttemptEnd.MISTAKEN,
    ConfigurationError: AttemptEnd.MISTAKEN,
    UsageError: AttemptEnd.MISTAKEN,
    UnknownRef: AttemptEnd.MISTAKEN,
    # The machine's: its disk, its network, its memory.
    MachineFault: AttemptEnd.BROKEN,
    RepositoryUnreachable: AttemptEnd.BROKEN,
    StorageUnavailable: AttemptEnd.BROKEN,
    Damaged: AttemptEnd.BROKEN,
    BadUpload: AttemptEnd.BROKEN,
    Unauthorised: AttemptEnd.BROKEN,
    OSError: AttemptEnd.BROKEN,
    MemoryError: AttemptEnd.LIMITED,
    # Nobody's: such a machine will not do for this, or the program is ending.
    ToolMissing: AttemptEnd.REFUSED,
    Unavailable: AttemptEnd.RETURNED,
}
"""How an Attempt ends that was broken off by an error; the nearest class of those that the error is of counts."""


def end_of(error: BaseException) -> AttemptEnd | None:
    """Return how an Attempt ends that ``error`` broke off; None when the error is a defect of the build server."""
    return next((WHOSE[cls] for cls in type(error).__mro__ if cls in WHOSE), None)
