"""Keys in a run: everybody is invited over the operator's socket, joins with a line, and is known by that key alone."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from attrs import AttrsInstance, define, evolve, field, frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IReactorTime, IReactorUNIX
from twisted.internet.task import deferLater

from buildtool.adapters.control.client import Session, connect_requester
from buildtool.adapters.control.operator_endpoint import ControlSocket, connect_operator
from buildtool.adapters.network.endpoints import machine_at
from buildtool.adapters.tls.contexts import ClientTls
from buildtool.adapters.tls.credentials import CredentialStore
from buildtool.errors import NotFound, StorageUnavailable, Unavailable
from buildtool.model.access.join_line import JoinLine, read_join_line
from buildtool.model.addresses import at_port
from buildtool.programs.common.joining import PEOPLE, FarmEndpoint, join
from buildtool.protocol.enrolment import InvitationLine, InviteOne, RevokeOne
from buildtool.protocol.operator import ActionResult
from tests.chaos.farm import Misbehaved, Program

HOST = "127.0.0.1"
INVITED_FOR = 3_600.0
JOINS_WITHIN = 60.0
"""Seconds in which a machine joins, however often its connections break and its metaserver is away."""

SOLD = "it was sold"
"""Why a machine is revoked, which it is told."""

_LOOK = 0.5
_BUILDING = "SELECT build_id, epoch FROM attempts WHERE server = ? AND state <> 'ended'"
_BEGUN_LATER = "SELECT build_id, epoch FROM attempts WHERE server = ? AND offered_at > ?"
_ELSEWHERE = """
    SELECT count(*) FROM builds b JOIN attempts a ON a.build_id = b.id
    WHERE b.id = ? AND (b.state = 'cancelled' OR (a.epoch = ? AND a.ended_at <= ?) OR (a.epoch > ? AND a.server <> ?))
"""

A = TypeVar("A", bound=AttrsInstance)


@define(eq=False)
class Office:
    """Whoever may invite and revoke: an operator at the socket in ``state``, the metaserver's directory."""

    reactor: ReactorBase
    state: Path

    async def line(self, name: str, port: int, role: str, owner: str = "", *, replaces: bool = False) -> JoinLine:
        """Return a new line for a name, which leads to a port of loopback. Ask until a metaserver has answered."""
        told = await self._again(InviteOne(name, role, INVITED_FOR, owner, replaces), InvitationLine)
        return evolve(read_join_line(told.line), addresses=((HOST, port),))

    async def revoke(self, name: str, why: str) -> None:
        """Revoke a name. Ask until a metaserver has answered, or it was done by one whose answer was lost."""
        with suppress(NotFound):
            await self._again(RevokeOne(name, why), ActionResult)

    async def _again(self, message: AttrsInstance, kind: type[A]) -> A:
        while True:
            try:
                return await self._asked(message, kind)
            except (Unavailable, StorageUnavailable):
                await deferLater(self.reactor, _LOOK)

    async def _asked(self, message: AttrsInstance, kind: type[A]) -> A:
        endpoint = ControlSocket(IReactorUNIX(self.reactor), self.state)
        session = await connect_operator(endpoint, "the operator's socket", IReactorTime(self.reactor))
        try:
            return await session.ask(message, kind)
        finally:
            session.close()


@define(eq=False)
class Person:
    """Somebody who asks with a key that is kept in a directory, once they have joined with their line."""

    reactor: ReactorBase
    line: JoinLine
    directory: Path
    farm: FarmEndpoint | None = field(default=None, init=False)

    def transfers(self, host: str, port: int) -> ClientTls | None:
        """Return how to speak to the transfer port."""
        return self.farm.transfers(host, port) if self.farm is not None else None

    async def connected(self) -> Session:
        """Return a connection as a requester; the first time join, with the same key at each try.

        Raises Unavailable, and Unauthorised for a key that is no good.
        """
        if self.farm is None:
            store = CredentialStore(self.directory)
            self.farm = FarmEndpoint(self.reactor, store, await join(self.reactor, self.line, store, PEOPLE))
        host, port = self.line.addresses[0]
        endpoint = self.farm.with_key(machine_at(self.reactor, host, port), host)
        return await connect_requester(endpoint, at_port(host, port), IReactorTime(self.reactor))


async def machine_joins(program: Program, line: JoinLine, directory: Path) -> None:
    """Start a build server with its line, again where it ends without having joined, until it is registered.

    From its next start on it needs no line. Raises Misbehaved.
    """
    path = directory / f"{program.name}.line"
    path.write_text(f"{line}\n")
    words, waited = program.words, 0.0
    program.words = [*words, "--join", str(path)]
    program.start()
    while b"registered at" not in program.log.read_bytes():
        if waited > JOINS_WITHIN:
            raise Misbehaved(f"{program.name} did not join within {JOINS_WITHIN:.0f} s: {program.last()}")
        if not program.alive:
            program.start()
        await program.pause(_LOOK / 5)
        waited += _LOOK / 5
    program.words = words


@frozen
class Revoked:
    """A machine that was revoked, when, and the (build, epoch) of what it was building then."""

    name: str
    at: float
    building: tuple[tuple[int, int], ...]

    @classmethod
    def now(cls, name: str, building: tuple[tuple[int, int], ...]) -> Revoked:
        """Return that the operator has been told by now that a machine is revoked."""
        return cls(name, time.time(), building)

    def left(self, database: Path) -> list[str]:
        """Return what of its builds went nowhere else, and what it was given afterwards; nothing when all is well."""
        found = []
        with closing(_reading(database)) as reading:
            for build_id, epoch in self.building:
                asked = (build_id, epoch, self.at, epoch, self.name)
                if not reading.execute(_ELSEWHERE, asked).fetchone()[0]:
                    found.append(f"build {build_id}.{epoch} of {self.name}, which was revoked, went nowhere else")
            for build_id, epoch in reading.execute(_BEGUN_LATER, (self.name, self.at)):
                found.append(f"build {build_id}.{epoch} was given to {self.name} after it was revoked")
        return found


def building(database: Path, name: str) -> tuple[tuple[int, int], ...]:
    """Return the (build, epoch) of what a machine is given and has not ended."""
    with closing(_reading(database)) as reading:
        return tuple((int(build_id), int(epoch)) for build_id, epoch in reading.execute(_BUILDING, (name,)))


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
