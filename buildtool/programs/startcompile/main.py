"""bin/startcompile.py: ask for a binary, and have it, or be told by mail.

What is read here is the command line; nothing of Twisted is loaded for that (see ``errands.py``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildtool.errors import BuildToolError, OutputLost
from buildtool.programs.common.ending import whole
from buildtool.programs.common.launch import loading
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.startcompile.command_line import Arguments, parse, read_request_id
from buildtool.programs.startcompile.flags import ASKING, EVERYWHERE, LOGGING_IN
from buildtool.programs.startcompile.remote_acts import REMOTE_COMMANDS, REMOTE_OPTIONS, options_of
from buildtool.programs.startcompile.reporting import refused
from buildtool.programs.startcompile.sparing import sparing
from buildtool.requester.outcome import MEANINGS

if TYPE_CHECKING:
    from buildtool.configuration.settings import Settings

PROGRAM = "startcompile.py"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, partial(_run, sys.argv[1:] if arguments is None else arguments))


def _run(words: Sequence[str]) -> int:
    try:
        command, said = parse(COMMAND_LINE, words, _settings)
        with loading(), sparing():
            from buildtool.programs.startcompile.errands import Errand, monotonic_reactor, run

            monotonic_reactor()
        errand = Errand(said, command.run(said))
    except OutputLost:  # of the help
        raise
    except BuildToolError as error:
        return refused(error, wants_json="--json" in words)
    return run(PROGRAM, errand.run)


def _settings(path: Path | None) -> Settings:
    from buildtool.configuration.settings import load_settings

    return load_settings(path, secrets=False)


# --- commands ---------------------------------------------------------------------------------------------


def _late(name: str) -> Callable[[Arguments], Any]:
    """Return what loads and calls the function of this name in ``errands``, once its command is said."""

    def run(said: Arguments) -> object:
        from buildtool.programs.startcompile import errands

        return getattr(errands, name)(said)

    return run


_ASKING = tuple(ASKING)

COMMAND_LINE: Subcommands[Any] = Subcommands(
    PROGRAM,
    "Ask for a binary: at once if there is one that will do, otherwise it is built and EMAIL is told (without one, the "
    "address of your key).",
    (
        Subcommand(
            "ask", "ask for a binary", "--revision v1.2 --arch powerpc --foreground anna@example.org",
            _late("ask"), options=_ASKING, words="[EMAIL]",
        ),
        Subcommand(
            "matrix", "ask for several at once: in each line of FILE options, added to those given",
            "matrix builds.txt --foreground anna@example.org", _late("ask"), "FILE", Path, _ASKING, "[EMAIL]",
        ),
        Subcommand(
            "explain", "ask for nothing: say what would be answered, and why", "explain --arch powerpc",
            _late("explain"), options=_ASKING, words="[EMAIL]",
        ),
        Subcommand(
            "join", "join a farm with the line of an invitation (or a file with it, or -), once on each machine",
            "join invitation.txt", _late("join"), "[LINE]",
        ),
        Subcommand(
            "login", "have a code mailed, and join a farm with it; without a terminal, say --code in a second call",
            "login anna@example.org", _late("login"), "EMAIL", options=tuple(LOGGING_IN),
        ),
        Subcommand("logout", "give up the key that login or join brought", "logout", _late("logout")),
        Subcommand(
            "doctor", "look at all that keeps you from asking, and say how to mend it",
            "doctor --host farm.example.org", _late("look_around"),
        ),
        Subcommand(
            "why", "say why a request waits, and until when", "why 12-abcdef", _late("why"), "ID", read_request_id,
        ),
        Subcommand(
            "cancel", "end a request, whose ID was told when it was accepted, or all of a project, platform or person",
            "cancel 12-abcdef", _late("cancel"), "[ID]", read_request_id, options_of("cancel"),
        ),
        *REMOTE_COMMANDS,
    ),
    {**EVERYWHERE, **ASKING, **LOGGING_IN, **REMOTE_OPTIONS},
    MEANINGS,
    tuple(EVERYWHERE),
)  # fmt: skip
"""Everything that can be said to the program."""
