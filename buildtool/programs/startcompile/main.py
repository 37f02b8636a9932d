"""bin/startcompile.py: ask for a binary, and have it, or be told by mail.

What is read here is the command line; nothing of Twisted is loaded for that (see ``errands.py``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildtool.configuration.given.values import Given
from buildtool.errors import BuildToolError, OutputLost, UsageError
from buildtool.programs.common.ending import whole
from buildtool.programs.common.launch import loading
from buildtool.programs.common.output import say
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.startcompile.command_line import (
    Arguments,
    given_beside,
    help_without_projects,
    known_projects,
    may_be_old,
    parse,
    read_request_id,
)
from buildtool.programs.startcompile.description_cache import kept
from buildtool.programs.startcompile.flags import (
    ASKING,
    DEADLINE,
    EVERYWHERE,
    FETCHING,
    LISTING,
    LOGGED,
    LOGGING_IN,
    SELDOM,
    WATCHING,
)
from buildtool.programs.startcompile.places import called_again
from buildtool.programs.startcompile.remote_acts import REMOTE_COMMANDS, REMOTE_OPTIONS, options_of
from buildtool.programs.startcompile.reporting import refused
from buildtool.programs.startcompile.sparing import sparing
from buildtool.protocol.projects.described import DescribedProjects
from buildtool.requester.outcome import MEANINGS

if TYPE_CHECKING:
    from buildtool.configuration.settings import Settings
    from buildtool.programs.startcompile.completing.candidates import Surroundings

PROGRAM = "startcompile.py"

ASKED = "__complete"
"""The word with which a shell asks what may stand at its cursor (``completing/scripts.py``)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    return whole(PROGRAM, partial(_run, sys.argv[1:] if arguments is None else arguments))


def _run(words: Sequence[str]) -> int:
    if words[:1] == [ASKED]:
        from buildtool.programs.startcompile.completing.asked import answer

        return answer(COMMAND_LINE, words[1:], _known)
    try:
        doubt = None
        given = given_beside(COMMAND_LINE, words)
        load = partial(_settings, given)
        try:
            command, said = parse(COMMAND_LINE, words, load, kept, given=given)
        except UsageError as error:
            if not may_be_old(error):
                raise
            doubt = error
            command, said = parse(COMMAND_LINE, words, load, undescribed=True, given=given)
            if not (said.wants and said.where.asked):
                raise error from None
        if command.name in _AT_ONCE:
            return _AT_ONCE[command.name](said)
        with loading(), sparing():
            from buildtool.programs.startcompile.errands import Errand, Reading, monotonic_reactor, run

            monotonic_reactor()
        work = None if said.wants and not said.asked else command.run(said)
        reading = Reading(partial(_described, words, given), partial(_helped, words), doubt)
        errand = Errand(said, work, reading, called_again(sys.argv[0] or PROGRAM, words))
    except OutputLost:  # of the help
        raise
    except BuildToolError as error:
        return refused(error, wants_json="--json" in words)
    return run(PROGRAM, errand.run)


def _described(words: Sequence[str], given: Given, projects: DescribedProjects | None) -> tuple[Arguments, Any]:
    """Return what the command line says, and what is to be done, with projects as the metaserver describes them.

    Raises UsageError; SystemExit after the help.
    """
    command, said = parse(COMMAND_LINE, words, partial(_settings, given), lambda _places: projects, given=given)
    return said, command.run(said)


def _helped(words: Sequence[str], why: str) -> None:
    """Print the help without any project's options. SystemExit after that."""
    help_without_projects(COMMAND_LINE, words, why)


def _known(words: Sequence[str]) -> Surroundings:
    """Return what is known where unfinished words lead to: projects, their refs, own requests. Raises UsageError."""
    from buildtool.programs.startcompile.completing.candidates import Surroundings
    from buildtool.programs.startcompile.completing.own_requests import candidates
    from buildtool.programs.startcompile.completing.refs import refs_of

    given = given_beside(COMMAND_LINE, words)
    projects, where = known_projects(words, partial(_settings, given), kept, given)
    return Surroundings(projects, partial(refs_of, where), partial(candidates, where))


def _completion(said: Arguments) -> int:
    """Print the script that completes the command line in a shell. Raises UsageError, OutputLost."""
    from buildtool.programs.startcompile.completing.scripts import script

    text = script(said.target)
    say(json.dumps({"exit": 0, "script": text}) if said.json else text.removesuffix("\n"))
    return 0


_AT_ONCE: Mapping[str, Callable[[Arguments], int]] = {"completion": _completion}
"""The commands for which nothing of Twisted is loaded."""


def _settings(given: Given, path: Path | None) -> Settings | None:
    """Return the configuration, None where there is none. Raises ConfigurationError."""
    from buildtool.configuration.finding import is_named

    if path is None and not is_named():
        return None
    from buildtool.configuration.settings import load_settings

    return load_settings(path, secrets=False, given=given)


# --- commands ---------------------------------------------------------------------------------------------


def _late(name: str, module: str = "errands") -> Callable[[Arguments], Any]:
    """Return what loads and calls the function of this name in a module beside, once its command is said."""

    def run(said: Arguments) -> object:
        import importlib

        return getattr(importlib.import_module(f"buildtool.programs.startcompile.{module}"), name)(said)

    return run


_LOOKING = "asking.looking"
_ASKING = tuple(ASKING)
_ONCE = frozenset({"--foreground", "--deadline", "--force", "--output", "--no-download", "--supersede"})
"""What is said of one request only."""

_FOLLOWING = (*FETCHING, *DEADLINE, "--sandbox")

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
            "watch", "have each new binary of a branch told to EMAIL, whoever has it built",
            "watch main --digest daily anna@example.org", _late("watch", _LOOKING), "BRANCH",
            options=(*(one for one in _ASKING if one not in _ONCE), *WATCHING), words="[EMAIL]",
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
        Subcommand(
            "completion", "print what completes command lines in a shell: bash, zsh or fish", "completion bash",
            _late("ask"), "SHELL", older=False,
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
            "follow", "wait for a request that was made before, here or elsewhere, and fetch what comes of it",
            "follow 12-abcdef --deadline 10m", _late("follow"), "ID", read_request_id, _FOLLOWING,
        ),
        Subcommand(
            "download", "fetch what came of a request that was made before", "download 12-abcdef --output lua.zip",
            _late("download"), "ID", read_request_id, ("--output", "--sandbox"),
        ),
        Subcommand(
            "list", "list your newest requests, with their ids, and how they stand", "list --most 50",
            _late("requests", _LOOKING), options=tuple(LISTING),
        ),
        Subcommand(
            "log", "print the log of a request's build, or no more than the step that failed",
            "log 12-abcdef --failed-step", _late("log", _LOOKING), "ID", read_request_id, tuple(LOGGED),
        ),
        Subcommand(
            "browse", "show the page of a request's build", "browse 12-abcdef", _late("browse"), "ID", read_request_id,
        ),
        Subcommand(
            "cancel", "end a request, whose ID was told when it was accepted, or all of a project, platform or person",
            "cancel 12-abcdef", _late("cancel"), "[ID]", read_request_id, options_of("cancel"),
        ),
        *REMOTE_COMMANDS,
    ),
    {**EVERYWHERE, **ASKING, **WATCHING, **LOGGING_IN, **LISTING, **LOGGED, **REMOTE_OPTIONS},
    MEANINGS,
    tuple(EVERYWHERE),
    SELDOM,
)  # fmt: skip
"""Everything that can be said to the program."""
