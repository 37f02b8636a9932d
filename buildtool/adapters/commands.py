"""What a command is, what it may use, and how it ended: values, and the words for what could not be started."""

from __future__ import annotations

import errno
import math
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from attrs import field, frozen, validators

Cause = Literal["exited", "time limit", "silence limit", "stopped", "not started"]


def _check_argv(_instance: object, _attribute: object, argv: tuple[str, ...]) -> None:
    if not argv or not argv[0]:
        raise ValueError("a command line needs a program")


@frozen
class CommandLine:
    """A program with its arguments, the directory it runs in, and its whole environment: nothing is inherited."""

    argv: tuple[str, ...] = field(validator=_check_argv)
    cwd: Path
    environment: Mapping[str, str]


@frozen
class Limits:
    """Seconds that a command may take in all, may be silent, and has between TERM and KILL."""

    time: float = field(default=math.inf, validator=validators.gt(0))
    silence: float = field(default=math.inf, validator=validators.gt(0))
    kill_after: float = field(default=5.0, validator=validators.ge(0))


@frozen
class Ended:
    """How a command ended, after ``seconds``. Its process group is gone by then.

    ``code`` or ``signal`` say how the program itself ended (both None if it never ran, or could not be killed);
    ``cause`` says why: of itself, a limit, ``stop``, or because it could not be started. ``detail`` is one line.
    """

    code: int | None
    signal: int | None
    cause: Cause
    seconds: float
    detail: str

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


def why_not_started(command: CommandLine, error: Exception) -> str:
    """Return the one line that says why ``command`` could not be started."""
    return f"cannot start {command.argv[0]!r}: {_reason(command, error)}"


def _reason(command: CommandLine, error: Exception) -> str:
    program = command.argv[0]
    if not isinstance(error, OSError):
        reason = str(error)
    elif not command.cwd.is_dir():
        reason = f"its directory {str(command.cwd)!r} does not exist"
    elif isinstance(error, FileNotFoundError) and "/" not in program:
        reason = f"no such program in PATH={command.environment.get('PATH', os.defpath)}"
    elif isinstance(error, FileNotFoundError) and (command.cwd / program).exists():
        reason = "the interpreter that it names is missing"
    elif error.errno == errno.ENOEXEC:
        reason = "not a program of this machine (a script needs a #! line)"
    else:
        reason = error.strerror or str(error)
    return reason


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal has no name
