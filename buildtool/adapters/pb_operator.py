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
from attrs import define
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from buildtool.adapters.pb_client import Session, greet
from buildtool.adapters.pb_door import Door
from buildtool.adapters.pb_guard import PEER, Guarded, GuardedFactory, Limits
from buildtool.adapters.pb_server import Hall, Peer
from buildtool.errors import Unauthorised
from buildtool.operator_protocol import (
    AbortBuild,
    Acted,
    AskStanding,
    Drain,
    ForgetFailure,
    ForgetServer,
    PauseServer,
    PurgeArtifact,
    PurgeBuiltBy,
    RebuildBuild,
    ResumeServer,
    Standing,
)
from buildtool.ports import OperatorDesk
from buildtool.protocol import Hello

__all__ = ["OPERATOR_ROLE", "Operating", "connect_operator", "operator_at", "operator_factory"]

OPERATOR_ROLE = "operator"

LIMITS = Limits(connections=16)

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


def operator_factory(desk: OperatorDesk, clock: IReactorTime) -> GuardedFactory:
    """Return what listens on the operator's socket."""

    def identify(transport: object, hello: Hello) -> Peer:
        if hello.role != OPERATOR_ROLE:
            raise Unauthorised(f"no role {hello.role!r} here: this socket is for the role {OPERATOR_ROLE!r}")
        return Peer(OPERATOR_ROLE, operator_at(transport))

    def root(broker: Guarded) -> Hall:
        def door(peer: Peer) -> Door:
            broker.admit(PEER)
            return OperatorDoor(desk, peer.name)

        return Hall(broker, identify, door)

    return GuardedFactory(root, clock, LIMITS)


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


@define(eq=False)
class OperatorDoor(Door):
    """What an operator may call."""

    takes: ClassVar = {"standing": AskStanding, **{name: message for message, name in CALLS.items()}}

    _desk: OperatorDesk
    _by: str

    async def remote_standing(self, _message: AskStanding) -> Standing:
        """How everything stands."""
        return await self._desk.standing()

    async def remote_pause(self, message: PauseServer) -> Acted:
        """Give a build server nothing more."""
        return await self._desk.pause(message, self._by)

    async def remote_resume(self, message: ResumeServer) -> Acted:
        """Give a build server builds again."""
        return await self._desk.resume(message, self._by)

    async def remote_forgetserver(self, message: ForgetServer) -> Acted:
        """Know a build server no more."""
        return await self._desk.forget_server(message, self._by)

    async def remote_abort(self, message: AbortBuild) -> Acted:
        """End an open Build."""
        return await self._desk.abort(message, self._by)

    async def remote_rebuild(self, message: RebuildBuild) -> Acted:
        """Build again what a Build built."""
        return await self._desk.rebuild(message, self._by)

    async def remote_forget(self, message: ForgetFailure) -> Acted:
        """Forget that a Build failed."""
        return await self._desk.forget(message, self._by)

    async def remote_purge(self, message: PurgeArtifact) -> Acted:
        """Give an artifact out no more."""
        return await self._desk.purge(message, self._by)

    async def remote_purgebuiltby(self, message: PurgeBuiltBy) -> Acted:
        """Give nothing out any more that a build server made."""
        return await self._desk.purge_built_by(message, self._by)

    async def remote_drain(self, message: Drain) -> Acted:
        """Start nothing more and end once nothing runs, or go on as usual."""
        return await self._desk.drain(message, self._by)


@define(eq=False)
class Operating:
    """What an operator's program calls, over one Session. All raise what the metaserver refused with, Unavailable."""

    _session: Session

    async def standing(self) -> Standing:
        """Ask how everything stands."""
        return await self._session.call("standing", AskStanding(), Standing)

    async def act(self, message: Act) -> Acted:
        """Do something."""
        return await self._session.call(CALLS[type(message)], message, Acted, within=ACT_TIMEOUT)

    def close(self) -> None:
        """End the connection."""
        self._session.close()


async def connect_operator(endpoint: IStreamClientEndpoint, where: str, clock: IReactorTime) -> Operating:
    """Return a connection as an operator. Raises Unavailable, ProtocolMismatch, Unauthorised."""
    return Operating(await greet(endpoint, where, OPERATOR_ROLE, clock))
