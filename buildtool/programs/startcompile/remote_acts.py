"""What owners of build servers, observers and operators ask over the network, with their key.

The same commands as ``bin/metaserver`` has for the operator on its machine; the table of rights says who may do which.
Tested by tests/e2e/test_rights.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from buildtool.programs.common.ending import EXIT_OK
from buildtool.programs.common.subcommands import Subcommand
from buildtool.programs.metaserver.operator_commands import ACTS, OPTIONS
from buildtool.programs.operating import token_commands
from buildtool.programs.startcompile.command_line import Arguments, read_request_id

if TYPE_CHECKING:
    from twisted.internet.base import ReactorBase

    from buildtool.ports.requester import MetaserverClient
    from buildtool.programs.operating.acts import OperatorAct

PROGRAM = "startcompile.py"

_HERE_ONLY = frozenset({"invite"})
"""What is limited to projects by an option that means something else in this program."""

REMOTE = tuple(one for one in (*ACTS, *token_commands.ACTS) if one.name not in _HERE_ONLY)
"""What is asked for in the same words over the network."""

_CALLED = {"list": "identities"}
"""What is called otherwise in this program, where the operator's name for it means something of one's own."""

EVERYWHERE = frozenset({"--project", "--json"})
"""The options that every command of this program has."""

REMOTE_OPTIONS = {
    name: how
    for name, how in {**OPTIONS, **token_commands.OPTIONS}.items()
    if name not in EVERYWHERE and any(name in one.options for one in REMOTE)
}


@frozen
class RemoteAct:
    """One act that is asked for, and answered in lines or as JSON."""

    act: OperatorAct

    async def done(
        self, connect: Callable[[], Awaitable[MetaserverClient]], said: Arguments, reactor: ReactorBase
    ) -> int:
        """Ask for it, print the answer, and return the exit code. Raises BuildToolError for what was refused."""
        there = await connect()
        try:
            await self.act.done(there, said.flags, reactor)
        finally:
            there.close()
        return EXIT_OK


def act(name: str, said: Arguments) -> RemoteAct:
    """Return the act of this name that a command line says. Raises UsageError."""
    from buildtool.programs.operating.acts import OperatorAct

    said.flags.target = said.target
    return RemoteAct(OperatorAct.of(name, said.flags))


_ABOUT = {"lower": ("ID", read_request_id)}
"""What is done by who asked for it, whom the token in the id of their request proves."""


def options_of(name: str) -> tuple[str, ...]:
    """Return the options that the act of this name has here, besides those of every command."""
    return tuple(one for acting in REMOTE if acting.name == name for one in acting.options if one not in EVERYWHERE)


REMOTE_COMMANDS: tuple[Subcommand[Any], ...] = tuple(
    Subcommand(
        _CALLED.get(one.name, one.name), one.words, _CALLED.get(one.name, one.typed), partial(act, one.name),
        *_ABOUT.get(one.name, (one.argument, one.read)), options_of(one.name), older=False, usual=False,
    )
    for one in REMOTE
    if one.name != "cancel"  # which has an older form here, and a token
)  # fmt: skip
"""The same as commands of ``bin/startcompile.py``, which have no older form."""
