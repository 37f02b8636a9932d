"""The operator's way to the running metaserver: Perspective Broker over a socket in the state directory.

Whoever may open the socket is its owner or root; who it is, the system says. Nobody is an operator without a key but
here. The pages, as a process of their own, come here too.
"""

from __future__ import annotations

import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from attrs import define, evolve
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IReactorUNIX, IStreamClientEndpoint
from twisted.internet.tcp import Port as TcpPort
from twisted.internet.unix import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from buildtool.adapters.control.client import Session, greet
from buildtool.adapters.control.connection import Guarded
from buildtool.adapters.control.events.followers import EventFollowers
from buildtool.adapters.control.gateway import NONE, Handshake, Identify, PagesEndpoint, ServiceEndpoint
from buildtool.adapters.control.limits import PEER, ConnectionLimits
from buildtool.adapters.control.listener import GuardedFactory
from buildtool.adapters.network.endpoints import Cancellable
from buildtool.errors import ConfigurationError, NotRunning, StorageUnavailable, Unauthorised
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.calls import OPERATOR, Calls
from buildtool.protocol.hello import Hello

LIMITS = ConnectionLimits(connections=16)

NAME = "control"

LONGEST = 100
"""Most bytes of a socket's address: systems have room for 104 to 108."""

_DESCRIPTORS = Path("/proc/self/fd")
"""Where a directory that is open has a short name, on Linux."""

_CREDENTIALS = struct.Struct("3i")


def operator_factory(
    handlers: Handlers,
    clock: IReactorTime,
    pages: Handlers = NONE,
    identify: Identify | None = None,
    events: EventFollowers | None = None,
) -> GuardedFactory:
    """Return what listens on the operator's socket; the handlers answer operators, and the pages.

    ``events`` are told what is committed.
    """
    followed = EventFollowers(clock) if events is None else events

    def enter(principal: Principal, broker: Guarded) -> ServiceEndpoint:
        broker.admit(PEER)
        if principal.role is PrincipalRole.PAGES:
            return PagesEndpoint(principal, pages, broker, followed)
        return OperatorEndpoint(principal, handlers)

    return GuardedFactory(lambda broker: Handshake(broker, identify or at_socket, enter), clock, LIMITS)


async def at_socket(stranger: Principal, transport: object, hello: Hello) -> Principal:
    """Return the operator, or the pages, at the other end of a local socket. Raises Unauthorised for any other."""
    for role in (PrincipalRole.OPERATOR, PrincipalRole.PAGES):
        if hello.role == role.value:
            return evolve(stranger, role=role, name=operator_at(transport))
    raise Unauthorised(f"no role {hello.role!r} here: this socket is for the role {PrincipalRole.OPERATOR.value!r}")


def operator_at(transport: object) -> str:
    """Return who is at the other end of a local socket: a user's name and number. Raises Unauthorised.

    Where the system does not say who it is, it is the owner, since besides that one only root can open the socket.
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

    takes: ClassVar[Calls] = OPERATOR


async def connect_operator(endpoint: IStreamClientEndpoint, where: str, clock: IReactorTime) -> Session:
    """Return a connection as an operator. Raises Unavailable, ProtocolMismatch, Unauthorised."""
    return await greet(endpoint, where, PrincipalRole.OPERATOR.value, clock)


# --- the socket -----------------------------------------------------------------------------------------


class ControlPort(Port):
    """A port at ``path``, to which ``address`` leads; the socket goes away at the end."""

    def __init__(self, reactor: ReactorBase, path: Path, address: str, factory: IProtocolFactory) -> None:
        super().__init__(os.fsencode(address), factory, mode=0o600, reactor=reactor)
        self._path = path

    def connectionLost(self, reason: Failure) -> None:
        """Close the socket. The address need not lead there any longer, and it may have been deleted."""
        self._path.unlink(missing_ok=True)
        TcpPort.connectionLost(self, reason)


def listen_control(reactor: ReactorBase, directory: Path, factory: IProtocolFactory) -> ControlPort:
    """Listen at ``directory/control``. Only who holds the directory's lock may: a socket that is there is stale.

    Raises StorageUnavailable, ConfigurationError.
    """
    path = directory / NAME
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StorageUnavailable(f"{path} is no socket: the operator's socket belongs there, move it away")
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageUnavailable(f"the operator's socket {path} cannot be replaced: {error.strerror}") from error
    with short_address(path) as address:
        port = ControlPort(reactor, path, address, factory)
        before = os.umask(0o177)
        try:
            port.startListening()  # type: ignore[no-untyped-call]
        except CannotListenError as error:
            why = getattr(error.socketError, "strerror", None) or str(error.socketError)
            raise StorageUnavailable(f"the operator's socket {path} cannot be made: {why}") from error
        finally:
            os.umask(before)
    return port


@contextmanager
def at_control_socket(reactor: IReactorUNIX, directory: Path) -> Iterator[IStreamClientEndpoint]:
    """Open a way to the metaserver that uses ``directory``. Raises NotRunning, ConfigurationError."""
    path = directory / NAME
    try:
        status = os.lstat(path)
    except FileNotFoundError as error:
        raise NotRunning(f"no metaserver runs with {directory}") from error
    except OSError as error:
        raise NotRunning(f"no metaserver can be asked with {directory}: {error.strerror or error}") from error
    if not stat.S_ISSOCK(status.st_mode):
        raise NotRunning(f"no metaserver runs with {directory}: {path} is no socket")
    with short_address(path) as address:
        yield Cancellable(UNIXClientEndpoint(reactor, address))


@implementer(IStreamClientEndpoint)
@define(eq=False)
class ControlSocket:
    """The endpoint of the metaserver that uses ``directory``, which need not run yet."""

    reactor: IReactorUNIX
    directory: Path

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to its socket. Raises NotRunning, ConfigurationError."""
        return Deferred.fromCoroutine(self._connected(protocolFactory))

    async def _connected(self, factory: IProtocolFactory) -> IProtocol:
        with at_control_socket(self.reactor, self.directory) as endpoint:
            return await endpoint.connect(factory)


@contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Yield an address for a socket whose path may be too long for one. Raises ConfigurationError."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if not _DESCRIPTORS.is_dir():
        raise ConfigurationError(f"state_dir: {path} is too long for a socket: at most {LONGEST} bytes")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(_DESCRIPTORS / str(directory) / path.name)
    finally:
        os.close(directory)
