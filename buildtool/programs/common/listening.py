"""Listening on a port, with one clear line when it is taken."""

from __future__ import annotations

import errno

from twisted.internet.base import ReactorBase
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port

from buildtool.errors import ConfigurationError, PortTaken

BACKLOG = 512
"""Connections that may wait to be accepted: a whole farm that returns after a restart."""


AT_ONCE = 10
"""Connections that are accepted in one turn of the reactor: each takes time for which all that are there wait."""


class _Port(Port):
    """Accepts no more connections at once than ``AT_ONCE``, where Twisted's takes the more the more come."""

    def doRead(self) -> None:
        """Accept some of those who wait."""
        self.numberAccepts = min(self.numberAccepts, AT_ONCE)
        super().doRead()  # type: ignore[no-untyped-call]


def listen(
    reactor: ReactorBase, factory: IProtocolFactory, bind: str, port: int, setting: str, flag: str = ""
) -> IListeningPort:
    """Listen on ``bind``:``port``. Raises PortTaken or ConfigurationError naming the port and what set it.

    That is ``flag`` of the command line, or else ``setting``.
    """
    made = _Port(port, factory, BACKLOG, bind, reactor)
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
