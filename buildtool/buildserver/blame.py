"""Whose failure it was: one table by the type of what was raised, not by where; and how the end of a command is judged.

Tested by tests/buildserver/test_blame.py, and for commands by tests/buildserver/test_server.py.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from attrs import frozen

from buildtool import errors
from buildtool.model.records import AttemptEnd
from buildtool.model.text import one_line
from buildtool.ports.buildserver import CommandEnd, Obstacle
from buildtool.project.recipe import Command

REASON_LIMIT = 500
"""The longest reason that is told, in characters."""

_NEVER_FIT = frozenset({errno.E2BIG, errno.ENAMETOOLONG, errno.EINVAL})
"""What the system says of words, an environment, or names that no command can have."""

WHOSE: dict[type[BaseException], AttemptEnd] = {
    # The project's: what a command or a limit says may be tried on another machine, a mistake is one everywhere.
    errors.BuildFailed: AttemptEnd.FAILED,
    errors.TooLong: AttemptEnd.FAILED,
    errors.ProjectMistake: AttemptEnd.MISTAKEN,
    errors.ConfigurationError: AttemptEnd.MISTAKEN,
    errors.UsageError: AttemptEnd.MISTAKEN,
    errors.UnknownRef: AttemptEnd.MISTAKEN,
    # The machine's: its disk, its network, its memory.
    errors.MachineFault: AttemptEnd.BROKEN,
    errors.RepositoryUnreachable: AttemptEnd.BROKEN,
    errors.StorageUnavailable: AttemptEnd.BROKEN,
    errors.Damaged: AttemptEnd.BROKEN,
    errors.BadUpload: AttemptEnd.BROKEN,
    errors.UnsafeArchive: AttemptEnd.BROKEN,
    errors.Unauthorised: AttemptEnd.BROKEN,
    OSError: AttemptEnd.BROKEN,
    MemoryError: AttemptEnd.LIMITED,
    # Nobody's: such a machine will not do for this, or the program is ending.
    errors.ToolMissing: AttemptEnd.REFUSED,
    errors.Unavailable: AttemptEnd.RETURNED,
}
"""How an Attempt ends that was broken off by an error; the nearest class of those that the error is of counts."""


def end_of(error: BaseException) -> AttemptEnd | None:
    """Return how an Attempt ends that ``error`` broke off; None when the error is a defect of the build server."""
    return next((WHOSE[cls] for cls in type(error).__mro__ if cls in WHOSE), None)


class Stopped(Exception):
    """The Attempt ends here and in this way, whatever it was doing."""

    def __init__(self, end: AttemptEnd, reason: str) -> None:
        super().__init__(reason)
        self.end = end
        self.reason = reason


@frozen
class TimeLimit:
    """The limit of one build in seconds, as it was given, and whether the donor or the project set it."""

    seconds: float
    donor: bool

    @property
    def end(self) -> AttemptEnd:
        """How an Attempt ends that took longer."""
        return AttemptEnd.LIMITED if self.donor else AttemptEnd.FAILED

    def words(self) -> str:
        """Return the limit for people, as it was given."""
        whose = "the limit of this machine's owner" if self.donor else "the project's time limit"
        return f"the build took longer than {self.seconds:g} s ({whose})"


def judge_start(command: Command, ended: CommandEnd, tree: Path) -> None:
    """Raise Stopped with whose failure it is, if the command was not started. ``tree`` is where the sources lie.

    A program or directory of the tree that cannot be used, and words that no command can have, are the project's; a
    program of the system, and whatever this machine has none left of, are the machine's.
    """
    if ended.cause != "not started":
        return
    program, obstacle = command.argv[0], ended.obstacle or Obstacle(0)
    relative = "/" in program and not program.startswith("/")
    in_tree = bool(obstacle.where) and (relative or all(place.is_relative_to(tree) for place in obstacle.where))
    whose = AttemptEnd.FAILED if in_tree or obstacle.errno in _NEVER_FIT else AttemptEnd.BROKEN
    raise Stopped(whose, f"{command.words()}: {ended.detail}")


def judge(command: Command, ended: CommandEnd, machine_faults: tuple[str, ...], tail: str, limit: TimeLimit) -> None:
    """Raise Stopped with whose failure it is, unless the command succeeded (docs/integrator.rst).

    ``tail`` is the end of the log; ``limit`` is the time limit that it had.
    """
    if ended.succeeded:
        return
    words = f"{command.words()}: {ended.detail}"
    if ended.cause == "time limit":
        raise Stopped(limit.end, f"{command.words()}: {limit.words()}")
    if ended.killed_from_outside:
        raise Stopped(AttemptEnd.LIMITED, f"{words}: killed from outside, most likely for want of memory")
    if ended.cause == "exited":
        for pattern in machine_faults:
            found = re.search(pattern, tail)
            if found:
                raise Stopped(AttemptEnd.BROKEN, f"{words}, and its output says {found[0][:100]!r}")
    raise Stopped(AttemptEnd.FAILED, words)


def brief(reason: str) -> str:
    """Return a reason as one printable line of bounded length."""
    return one_line(reason, REASON_LIMIT)
