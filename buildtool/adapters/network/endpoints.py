"""Connections to machines by name or address, as ``model.hosts`` reads them: also names with ``_`` in them.

Twisted's endpoint takes no host that IDNA would not write so; names in a hosts file or of containers may be like that.
"""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

__all__ = ["machine_at"]

CONNECTING = 30.0
"""Seconds that connecting to one address may take."""


class _Named(HostnameEndpoint):
    """One whose host was checked before: it is plain ASCII, and means what it says."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return False, text.encode("ascii"), text


def machine_at(reactor: object, host: str, port: int, timeout: float = CONNECTING) -> IStreamClientEndpoint:
    """Return the endpoint of a port of ``host`` (see ``valid_host``); connecting may take ``timeout`` seconds."""
    return _Named(reactor, host, port, timeout=timeout)
