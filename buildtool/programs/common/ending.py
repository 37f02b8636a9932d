"""How a program ends before and besides its life in the reactor: exit codes, and in one line what was wrong.

Nothing of Twisted is loaded for it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from buildtool import __version__
from buildtool.errors import (
    BuildToolError,
    ConfigurationError,
    NoBuildServer,
    NoContact,
    NotRunning,
    OutputUnread,
    ProtocolMismatch,
    UsageError,
)
from buildtool.model.text import one_line
from buildtool.programs.common.output import complain

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 7
EXIT_REFUSED = 8
EXIT_NOT_RUNNING = 12
EXIT_IDLE = 13
EXIT_UNREAD = 141

EXIT_CODES = {
    EXIT_OK: "all went well",
    EXIT_FAILED: "something failed (such as a port that is taken); the last line says what",
    EXIT_USAGE: "the command line or the configuration is wrong",
    EXIT_UNREAD: "nobody read what was printed to its end, as with | head -1",
}
"""What ``--help`` of a server says; ``exit_code`` chooses among them. The numbers mean the same in startcompile.py."""

EXIT_SIGNAL = 128
"""A program that a signal ended has this and the number of the signal."""

ROOT = Path(__file__).resolve().parents[3]

_OURS = "update buildtool on the side that connects"
"""How a metaserver's refusal ends that asks this side to update (``adapters/control/gateway.py``)."""


def software() -> str:
    """Return the name and version of this software."""
    return f"buildtool {__version__}"


def exit_code(error: BuildToolError) -> int:
    """Return the exit code for an error that ends a program."""
    if isinstance(error, OutputUnread):
        return EXIT_UNREAD
    if isinstance(error, UsageError | ConfigurationError):
        return EXIT_USAGE
    if isinstance(error, NoBuildServer):
        return EXIT_NOT_RUNNING
    if isinstance(error, NoContact | NotRunning):
        return EXIT_UNAVAILABLE
    return EXIT_REFUSED if isinstance(error, ProtocolMismatch) else EXIT_FAILED


def refuse(program: str, error: BuildToolError) -> int:
    """Print on stderr, in one line, why a program ends, and return its exit code."""
    if not isinstance(error, OutputUnread):
        complain(f"{program}: {one_line(str(error))}")
    return exit_code(error)


def whole(program: str, act: Callable[[], int]) -> int:
    """Run what a program does before and besides its life in the reactor, and return the exit code, whatever happens.

    What is wrong is said in one line. Raises SystemExit where argparse does.
    """
    try:
        return act()
    except BuildToolError as error:
        return refuse(program, error)
    except KeyboardInterrupt:
        complain(f"{program}: broken off")
        return EXIT_SIGNAL + signal.SIGINT


def update_command(root: Path = ROOT) -> str:
    """Return what to type: in a checkout its next commit, else the next release of the package."""
    if (root / "setup.cfg").is_file():
        pull = f"git -C {root} pull && " if (root / ".git").exists() else "put the newer release in its place, then "
        return f"{pull}make -C {root} venv"
    return "python -m pip install --upgrade buildtool"


def with_command(error: BuildToolError, root: Path = ROOT) -> BuildToolError:
    """Return an error; where it says that this program is the older one, with the command that updates it."""
    if isinstance(error, ProtocolMismatch) and str(error).endswith(_OURS):
        return ProtocolMismatch(f"{error}: {update_command(root)}")
    return error
