"""Listening on a port, with one clear line when it is taken."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port

from buildtool.configuration.port_settings import UNIX
from buildtool.errors import ConfigurationError, PortTaken, UsageError
from buildtool.model.text import quoted
from buildtool.programs.common.beginning import SOCKETS

BACKLOG = 512
"""Connections that may wait to be accepted: a whole farm that returns after a restart."""


MODE = 0o660
"""The permissions of a socket: its group is a proxy's."""

FIRST_HANDED_OVER = 3
"""The descriptor of the first socket that a service manager hands over (sd_listen_fds(3))."""

AT_ONCE = 10
"""Connections that are accepted in one turn of the reactor: each takes time for which all that are there wait."""


class _Port(Port):
    """Accepts no more connections at once than ``AT_ONCE``, where Twisted's takes the more the more come.

    A port that is ``shared`` is one of several at which programs of one account listen: the system spreads who comes.
    """

    shared = False

    def createInternetSocket(self) -> socket.socket:
        """Return the socket to listen with."""
        made: socket.socket = super().createInternetSocket()  # type: ignore[no-untyped-call]
        if self.shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return made

    def doRead(self) -> None:
        """Accept some of those who wait."""
        self.numberAccepts = min(self.numberAccepts, AT_ONCE)
        super().doRead()  # type: ignore[no-untyped-call]


def listen(
    reactor: ReactorBase,
    factory: IProtocolFactory,
    bind: str,
    port: int,
    setting: str,
    flag: str = "",
    *,
    shared: bool = False,
) -> IListeningPort:
    """Listen on ``bind``:``port``. Raises PortTaken or ConfigurationError naming the port and what set it.

    That is ``flag`` of the command line, or else ``setting``. ``bind`` may be ``unix:`` and a path, where the port does
    not count. A port that is ``shared`` may be taken already, by programs of this account that share it too.
    """
    if bind.startswith(UNIX):
        return _listen_unix(reactor, factory, Path(bind.removeprefix(UNIX)), setting)
    made = _Port(port, factory, BACKLOG, bind, reactor)
    made.shared = shared
    try:
        made.startListening()
    except CannotListenError as error:
        reason = getattr(error.socketError, "errno", None)
        if reason == errno.EADDRINUSE:
            mend = f"set {setting} in config.py (or $BUILDTOOL_{setting.upper()}) to a free port"
            raise PortTaken(
                f"port {port} on {bind} is taken by another program: stop that one, or "
                f"{f'give {flag} a free port' if flag else mend}"
            ) from error
        words = getattr(error.socketError, "strerror", None) or str(error.socketError)
        raise ConfigurationError(f"cannot listen on {bind}:{port} ({setting}): {words}") from error
    return made


def handed_over(environment: MutableMapping[str, str], names: Sequence[str]) -> dict[str, list[int]]:
    """Return the descriptors of sockets at which a service manager listens for this process, by what each is for.

    That is one of ``names``, as the socket unit says it; where there is one name only, all are for it. What says so in
    the environment is removed, so that no program that is started believes it. Raises UsageError.
    """
    count, *said = environment.pop(SOCKETS, "").split(":")
    given: dict[str, list[int]] = {}
    if not count.isascii() or not count.isdigit():
        return given
    for number in range(int(count)):
        name = names[0] if len(names) == 1 else said[number] if number < len(said) else ""
        if name not in names:
            raise UsageError(
                f"a socket named {quoted(name)} was handed over: say FileDescriptorName= in the socket unit, which is "
                f"one of {', '.join(names)}"
            )
        given.setdefault(name, []).append(FIRST_HANDED_OVER + number)
    return given


def adopt(reactor: ReactorBase, factory: IProtocolFactory, descriptor: int) -> IListeningPort:
    """Listen at a socket that listens already. Raises UsageError where it is none for connections over a network."""
    try:
        found = socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise UsageError(f"the socket that was handed over cannot be used: {error.strerror}") from error
    with found:
        if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM:
            raise UsageError(
                "the socket that was handed over is not for TCP: use ListenStream with an address and port"
            )
        found.setblocking(False)
        made: Port = reactor.adoptStreamPort(found.fileno(), found.family, factory)  # type: ignore[attr-defined]
    accept: Callable[[], object] = made.doRead

    def accept_some() -> None:
        made.numberAccepts = min(made.numberAccepts, AT_ONCE)
        accept()

    made.doRead = accept_some  # type: ignore[method-assign] # Twisted makes this port, and none of another class
    return made


def _listen_unix(reactor: ReactorBase, factory: IProtocolFactory, path: Path, setting: str) -> IListeningPort:
    """Listen on a socket in the file system; one that a program that has ended left there is replaced.

    Its owner and group may connect.
    """
    name = setting.replace("_port", "_bind")
    try:
        return reactor.listenUNIX(str(path), factory, BACKLOG, MODE, wantPID=True)  # type: ignore[attr-defined, no-any-return]
    except CannotListenError as error:
        words = getattr(error.socketError, "strerror", None) or str(error.socketError)
        if getattr(error.socketError, "errno", errno.EADDRINUSE) == errno.EADDRINUSE:
            raise PortTaken(f"{path} ({name}) is taken: another program listens there, or it is no socket") from error
        raise ConfigurationError(f"cannot listen on {path} ({name}): {words}") from error
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {path} ({name}): {error.strerror}") from error
