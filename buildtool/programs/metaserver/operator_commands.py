"""The commands of ``bin/metaserver`` for the one that runs: asked over the socket in its state directory."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.text import duration_of
from buildtool.programs.common.subcommands import How, Subcommand, number, switch, valued
from buildtool.programs.operating.choosing import CHOOSING

_BUILD = number(1, 10**18 - 1, "is no build: say its number")
_REQUEST = number(1, 10**18 - 1, "is no request: say its number")
_WATCH = number(1, 10**18 - 1, "is no watch: say its number")


def _name(text: str) -> str:
    """Return a name or an id that a message can carry, for argparse."""
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no name or id: there is an unprintable character in it")
    return text


@frozen
class Acting:
    """A command that asks for an act, over any way to the metaserver: ``operating/acts.py`` makes it of what was said.

    ``options`` are those that it has beside ``--json``.
    """

    name: str
    words: str
    example: str
    argument: str = ""
    options: tuple[str, ...] = ()

    @property
    def read(self) -> Callable[[str], object]:
        """What reads the word that the command is about."""
        return {"BUILD": _BUILD, "REQUEST": _REQUEST, "WATCH": _WATCH}.get(self.argument.strip("[]"), _name)

    @property
    def typed(self) -> str:
        """What to type after the program, as an example."""
        return f"{self.name} {self.example}".rstrip()


def _operate(acting: Acting, said: argparse.Namespace) -> int:
    """Ask the metaserver that runs, print its answer, and return the exit code."""
    from buildtool.programs.operating.acts import operate

    return operate(acting.name, said)


_WHY = ("--reason",)


def _lasts(text: str) -> float:
    """Return seconds for a text such as 24h. Raises ArgumentTypeError."""
    try:
        return duration_of(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


OPTIONS: Mapping[str, How] = {
    "--reason": valued("why; whoever is concerned is told, on pages and by mail", "TEXT"),
    "--mail": valued("mail ADDRESS when it is done", "ADDRESS", valid_address),
    "--role": valued("what it is invited as: build-server (default), requester, observer or operator", "ROLE"),
    "--owner": valued("the e-mail address of whoever is responsible", "ADDRESS", valid_address),
    "--expires": valued("how long it holds, such as 30m or 7d (an invitation 24h, a token 90d)", "TIME", _lasts),
    "--replace": switch("in place of what has the name: the old key of a machine that was reinstalled, or a secret"),
    "--rounds": valued(f"by how many rounds it is moved, up to {NICE_MOST}", "N", number(0, NICE_MOST)),
    **CHOOSING,
}
"""The options of the commands below, beside ``--json``."""


ACTS = (
    Acting("status", "show the status of the farm", "--json"),
    Acting("triggers", "show what asks for builds by itself, when it looks, and what came of it", "--json"),
    Acting("look", "have a project's triggers look at its repositories now, as a hook there would", "lua", "PROJECT"),
    Acting("told", "show who is told what comes of builds, what waits to be told, and why", "--json"),
    Acting("tell-test", "try whether those whom a project tells would be told", "lua", "PROJECT"),
    Acting("watches", "show who wants to be told of new binaries of which branch", "--json"),
    Acting("unwatch", "end a watch, by its number", "7", "WATCH"),
    Acting(
        "pause",
        "give a build server nothing more until it is resumed",
        'attic --reason "its disk is being replaced"',
        "SERVER",
        _WHY,
    ),
    Acting(
        "drain",
        "give SERVER nothing more, and say when what runs there is done; or all: start no builds, and end",
        'attic --reason "its disk is being replaced"',
        "[SERVER]",
        _WHY,
    ),
    Acting("undrain", "take drain back", "attic", "[SERVER]"),
    Acting("resume", "give a build server builds again", "attic", "SERVER"),
    Acting("forget", "forget a build server that does not come back", "attic", "SERVER"),
    Acting(
        "abort",
        "end an open build, or all of a project, platform or person; who waits for it is mailed",
        '17 --reason "the branch was pushed by mistake"',
        "[BUILD]",
        (*_WHY, *CHOOSING),
    ),
    Acting(
        "cancel",
        "end a request that waits, or all of a project, platform or person; who asked is mailed",
        '--person anna@example.org --reason "her script went wild"',
        "[REQUEST]",
        (*_WHY, *CHOOSING),
    ),
    Acting(
        "raise",
        "move a request that waits forward in the order, by rounds of everybody's turns; 0 takes it back",
        "17 --rounds 20",
        "REQUEST",
        ("--rounds",),
    ),
    Acting(
        "lower",
        "move a request that waits back in the order, so that others go first",
        "17 --rounds 5",
        "REQUEST",
        ("--rounds",),
    ),
    Acting("rebuild", "build again what a build built", "17 --mail anna@example.org", "BUILD", ("--mail",)),
    Acting(
        "purge",
        "give out an artifact (id or SHA-256) no more, and delete it",
        '12 --reason "made with a broken compiler"',
        "ARTIFACT",
        _WHY,
    ),
    Acting(
        "purge-built-by",
        "do so with everything that a build server made",
        'attic --reason "it was broken into"',
        "SERVER",
        _WHY,
    ),
    Acting("forget-failure", "have a failed build tried when asked for", "17", "BUILD"),
    Acting(
        "invite",
        "print the line with which a machine or a person joins, once",
        "attic --owner anna@example.org",
        "NAME",
        ("--role", "--owner", "--expires", "--replace", "--project", "--platform"),
    ),
    Acting("list", "show who has a key, and who is invited", "--json"),
    Acting("rotate-ca", "make a new authority, to which everybody who joined moves over by themselves", ""),
    Acting(
        "revoke",
        "let whoever has this name in no more: its connection ends at once, its key never comes back",
        'attic --reason "it was sold"',
        "NAME",
        _WHY,
    ),
)
"""What the metaserver that runs can be asked for."""


def commands(acts: Iterable[Acting]) -> tuple[Subcommand[int], ...]:
    """Return the same as commands of ``bin/metaserver``."""
    return tuple(
        Subcommand(it.name, it.words, it.typed, partial(_operate, it), it.argument, it.read, (*it.options, "--json"))
        for it in acts
    )
