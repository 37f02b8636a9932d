"""Many builds or requests are ended at once: first it is said how many, then somebody says yes, then it is done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from attrs import AttrsInstance, asdict, evolve

from buildtool.errors import UsageError
from buildtool.model.text import printable
from buildtool.programs.common.output import say
from buildtool.protocol.operator import AbortSeveral, CancelSeveral, SeveralEnded

T = TypeVar("T", bound=AttrsInstance)


class Asks(Protocol):
    """A connection to the metaserver."""

    async def ask(self, message: AttrsInstance, expected: type[T]) -> T:
        """Return the answer to a message."""


def chosen(kind: type[AbortSeveral | CancelSeveral], said: argparse.Namespace, one: str) -> AttrsInstance:
    """Return the message for what a command line says, or raise UsageError where it says too little.

    ``one`` is the word for what could be named instead.
    """
    projects = (said.project,) if isinstance(said.project, str) else said.project or ()
    message = kind(projects, said.platform or (), said.person or (), said.reason or "")
    if not (message.projects or message.platforms or message.people):
        raise UsageError(f"say which: {one}, or all of a --project, --platform or --person (--help shows an example)")
    if said.yes or said.dry_run:
        return message
    if said.json:
        raise UsageError("--json asks nobody whether to end them: say --yes, or --dry-run to see how many there are")
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is at a terminal who could be asked whether to end them: say --yes, or --dry-run to see how many"
        )
    return message


async def end_several(
    there: Asks,
    message: AbortSeveral | CancelSeveral,
    said: argparse.Namespace,
    typed: Callable[[str], Awaitable[str]],
) -> None:
    """End what is meant after a yes, and print how many that is before, and were after."""
    counted = await there.ask(evolve(message, only_count=True), SeveralEnded)
    _show(counted, quiet=said.json)
    if said.dry_run or not counted.count:
        _tell_program(counted, counted.count, wanted=said.json)
        return
    if not said.yes and (await typed("end them? [y/N] ")).lower() not in ("y", "yes"):
        say("nothing is ended")
        return
    words: tuple[str, ...] = ()
    ended, more = 0, True
    while more:
        left = max(0, counted.count - ended)
        told = await there.ask(evolve(message, until=counted.until, said=left), SeveralEnded)
        _show(told, quiet=said.json)
        words, ended, more = words + told.words, ended + told.count, told.more and told.count > 0
    _tell_program(evolve(told, words=words, count=ended), counted.count, wanted=said.json)


def _show(told: SeveralEnded, *, quiet: bool) -> None:
    if not quiet:
        say("\n".join(map(printable, told.words)))


def _tell_program(told: SeveralEnded, found: int, *, wanted: bool) -> None:
    if wanted:
        answer: dict[str, Any] = asdict(told)
        del answer["until"], answer["more"]
        say(json.dumps({**answer, "found": found}))
