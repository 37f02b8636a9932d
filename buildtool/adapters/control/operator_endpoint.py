"""The operator's way to the running metaserver: Perspective Broker over a socket in the state directory.

Whoever may open the socket is its owner or root; who it is, the system says. This is the only listener at which the
role ``operator`` is given out.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from typing import ClassVar

import attrs
from attrs import define, evolve
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.connection import PEER, ConnectionLimits, Guarded, GuardedFactory
from buildtool.adapters.control.gateway import Handshake, ServiceEndpoint
from buildtool.errors import Unauthorised
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.hello import Hello
from buildtool.protocol.operator import (
    AbortBuild,
    ActionResult,
    AskStanding,
    Drain,
    FarmStatus,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
)

__all__ = ["Operating", "connect_operator", "operator_at", "operator_factory"]

LIMITS = ConnectionLimits(connections=16)

ACT_TIMEOUT = 900.0
"""Seconds that an act may take: to purge what a build server made in a year means to delete many files."""

Act = (
    PauseServer | ResumeServer | ForgetServer | AbortBuild | RebuildBuild | ForgetFailure | PurgeArtifact | PurgeBuiltBy
    | Drain
)  # fmt: skip

CALLS: dict[type[attrs.AttrsInstance], str] = {
    PauseServer: "pause",
    ResumeServer: "resume",
    ForgetServer: "forgetserver",
    AbortBuild: "abort",
    RebuildBuild: "rebuild",
    ForgetFailure: "forget",
    PurgeArtifact: "purge",
    PurgeBuiltBy: "purgebuiltby",
    Drain: "drain",
}
"""What each act is called as."""

_CREDENTIALS = struct.Struct("3i")


def operator_factory(handlers: Handlers, clock: IReactorTime) -> GuardedFactory:
    """Return what listens on the operator's socket; the handlers answer."""

    def enter(principal: Principal, broker: Guarded) -> OperatorEndpoint:
        broker.admit(PEER)
        return OperatorEndpoint(principal, handlers)

    return GuardedFactory(lambda broker: Handshake(broker, identify, enter), clock, LIMITS)


def identify(stranger: Principal, transport: object, hello: Hello) -> Principal:
    """Return the operator at the other end of a local socket. Raises Unauthorised for any other role or user."""
    if hello.role != PrincipalRole.OPERATOR.value:
        raise Unauthorised(f"no role {hello.role!r} here: this socket is for the role {PrincipalRole.OPERATOR.value!r}")
    return evolve(stranger, role=PrincipalRole.OPERATOR, name=operator_at(transport))


def operator_at(transport: object) -> str:
    """Return who is at the other end of a local socket: a user's name and number. Raises Unauthorised.

    Where the system does not say who it is, it is the owner, since nobody else but root can open the socket.
    """
    found = getattr(transport, "socket", None)
    if not isinstance(found, socket.socket) or found.family != socket.AF_UNIX:
        raise Unauthorised("an operator comes over the local socket of the state directory")
    user = os.geteuid()
    if hasattr(socket, "SO_PEERCRED"):
        said = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(said)
    if user not in (0, os.geteuid()):
        raise Unauthorised(f"user {user} is not the operator: the metaserver runs as user {os.geteuid()}")
    return f"{_name(user)} (uid {user})"


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return "a user without a name"


class OperatorEndpoint(ServiceEndpoint):
    """The calls of an operator."""

    takes: ClassVar = {"standing": AskStanding, **{name: message for message, name in CALLS.items()}}


@define(eq=False)
class Operating:
    """The calls of an operator's program, over one Session. All raise what the metaserver refused with, Unavailable."""

    _session: Session

    async def standing(self) -> FarmStatus:
        """Ask how everything stands."""
        return await self._session.call("standing", AskStanding(), FarmStatus)

    async def act(self, message: Act) -> ActionResult:
        """Perform an action."""
        return await self._session.call(CALLS[type(message)], message, ActionResult, within=ACT_TIMEOUT)

    def close(self) -> None:
        """End the connection."""
        self._session.close()


async def connect_operator(endpoint: IStreamClientEndpoint, where: str, clock: IReactorTime) -> Operating:
    """Return a connection as an operator. Raises Unavailable, ProtocolMismatch, Unauthorised."""
    return Operating(await greet(endpoint, where, PrincipalRole.OPERATOR.value, clock))
