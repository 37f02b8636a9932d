"""What a command is, what it may use, and how it ended: values, and the words for what could not be started."""

from __future__ import annotations

import errno
import math
import os
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen, validators

from buildtool.ports.buildserver import Obstacle

Cause = Literal["exited", "time limit", "silence limit", "stopped", "not started", "sandbox ended"]

UMASK = 0o022
"""What a command makes is for others to read and not to change, unless it is said otherwise."""

_SHOWN = 200
"""Most characters that are shown of a program's or directory's name."""

_OF_PATHS = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EACCES,
        errno.EPERM,
        errno.ENOEXEC,
        errno.ETXTBSY,
        errno.EINVAL,
    }
)
"""What is said of a directory or a program, and not of the words, or of what this machine has left."""


def _check_argv(_instance: object, _attribute: object, argv: tuple[str, ...]) -> None:
    if not argv or not argv[0]:
        raise ValueError("a command line needs a program")


@frozen
class CommandLine:
    """A program with its arguments, the directory it runs in, and its whole environment: nothing is inherited.

    ``sees`` are the directories of which it sees anything, None for the whole machine. ``umask`` are the rights that
    what it makes lacks. With ``terminal`` it has a terminal of its own in place of nothing to read and a pipe.
    """

    argv: tuple[str, ...] = field(validator=_check_argv)
    cwd: Path
    environment: Mapping[str, str]
    sees: tuple[Path, ...] | None = None
    umask: int = UMASK
    terminal: bool = False


@frozen
class CommandLimits:
    """The seconds that a command may take in all, may be silent, and has between TERM and KILL."""

    time: float = field(default=math.inf, validator=validators.gt(0))
    silence: float = field(default=math.inf, validator=validators.gt(0))
    kill_after: float = field(default=5.0, validator=validators.ge(0))


@frozen
class CommandResult:
    """The end of a command, after ``seconds``, without those in which it was frozen. Its process group is gone by then.

    ``code`` or ``signal`` say how the program itself ended (both None if it never ran, or could not be killed);
    ``cause`` says why: of itself, a limit, ``stop``, because it could
    not be started, or since it ended its own sandbox. ``detail`` is one line.
    ``obstacle`` is what was in the way of one that was not started. ``processor`` is what it used of processors, in
    seconds, None where nothing tells.
    """

    code: int | None
    signal: int | None
    cause: Cause
    seconds: float
    detail: str
    obstacle: Obstacle | None = None
    processor: float | None = None

    @property
    def succeeded(self) -> bool:
        """True if the program ended of itself with exit code 0."""
        return self.cause == "exited" and self.code == 0

    @property
    def killed_from_outside(self) -> bool:
        """True if SIGKILL ended it and it was not ours: on most systems, the kernel was short of memory.

        Exit code 137 is what a shell makes of a child that SIGKILL ended.
        """
        return self.cause == "exited" and (self.signal == signal.SIGKILL or self.code == 128 + signal.SIGKILL)


def not_started(command: CommandLine, error: Exception, seconds: float) -> CommandResult:
    """Return the end of a command that could not be started, with the one line that says why."""
    obstacle, reason = _obstacle(command, error)
    detail = f"cannot start {command.argv[0][:_SHOWN]!r}: {reason}"
    return CommandResult(None, None, "not started", seconds, detail, obstacle, processor=0.0)


def _obstacle(command: CommandLine, error: Exception) -> tuple[Obstacle, str]:
    """Return what was in the way, and what it is called."""
    if isinstance(error, ValueError):
        return Obstacle(errno.EINVAL), f"its words and environment cannot be passed on: {error}"
    number = error.errno if isinstance(error, OSError) and error.errno else 0
    if number == errno.E2BIG:
        return Obstacle(number), "its words and environment are too long: put what is long into a file"
    if number not in _OF_PATHS:
        return Obstacle(number), (error.strerror if isinstance(error, OSError) else None) or str(error)
    return _in_the_way(command, number)


def _in_the_way(command: CommandLine, number: int) -> tuple[Obstacle, str]:
    """Return which directory or program could not be used, and why."""
    look = _Sight(command.sees)
    if not (look.is_directory(command.cwd) and os.access(command.cwd, os.X_OK)):
        reason = f"its directory {str(command.cwd)[:_SHOWN]!r} {_no_directory(command.cwd, look)}"
        return Obstacle(number, (command.cwd,)), reason
    places = _places(command)
    found = next((place for place in places if look.mode(place, follow=False)), None)
    if found is None:
        if number == errno.EACCES and "/" not in command.argv[0]:
            number = errno.ENOENT  # it is said of a directory in PATH, where it might have been
        return Obstacle(number, places), _not_there(command, number)
    if number == errno.EACCES and look.mode(found) and os.statvfs(found).f_flag & os.ST_NOEXEC:
        return Obstacle(number), "its file system is mounted noexec, so that no program in it can run"
    return Obstacle(number, (found,)), _unusable(found, number, look)


def _places(command: CommandLine) -> tuple[Path, ...]:
    """Return where the program of a command is looked for, in order."""
    program = command.argv[0]
    within = [""] if "/" in program else command.environment.get("PATH", os.defpath).split(os.pathsep)
    return tuple(Path(os.path.normpath(command.cwd / place / program)) for place in within)


@frozen
class _Sight:
    """What can be seen of the machine below some directories, or, without any said, of all of it.

    Where a link leads out of them is not looked at: what is told of a command goes to whoever wrote it.
    """

    sees: tuple[Path, ...] | None

    def mode(self, place: Path, *, follow: bool = True) -> int:
        """Return type and mode of what is somewhere, 0 where there is nothing that can be looked at."""
        try:
            return place.stat(follow_symlinks=follow).st_mode if self._shows(place, follow=follow) else 0
        except OSError:
            return 0

    def is_directory(self, place: Path) -> bool:
        return stat.S_ISDIR(self.mode(place))

    def _shows(self, place: Path, *, follow: bool) -> bool:
        if self.sees is None:
            return True
        real = os.path.realpath(place if follow else place.parent)
        return any(Path(real).is_relative_to(os.path.realpath(top)) for top in self.sees)


def _no_directory(place: Path, look: _Sight) -> str:
    if look.is_directory(place):
        return "may not be entered"
    return "is no directory" if look.mode(place, follow=False) else "does not exist"


def _not_there(command: CommandLine, number: int) -> str:
    if number == errno.ENOENT and "/" not in command.argv[0]:
        return f"no such program in PATH={command.environment.get('PATH', os.defpath)}"
    return os.strerror(number)


def _unusable(found: Path, number: int, look: _Sight) -> str:
    if look.is_directory(found):
        return "it is a directory"
    if number == errno.ENOENT:
        return "the interpreter that it names is missing" if look.mode(found) else "it is a link to nothing"
    if number == errno.ENOEXEC:
        return "not a program of this machine (a script needs a #! line)"
    return os.strerror(number)


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name
