"""Whose word is taken for who asks: the proxies of a farm, and the address that they tell with a request.

Anybody can send the header X-Forwarded-For. It is believed where a proxy that the configuration names sent the request,
and then only as far as proxies wrote it: from its end to the first address that is no proxy's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from attrs import frozen

from buildtool.errors import UsageError
from buildtool.model.text import quoted

__all__ = ["FORWARDED_FOR", "NO_PROXIES", "Proxies"]

FORWARDED_FOR = "X-Forwarded-For"
"""The header in which each proxy adds the address that it was asked from, at the end."""

MOST = 32
"""Proxies that one configuration names."""

HOPS = 16
"""Proxies that one request comes through, at most."""

UNIX = "unix"
"""The word for whatever connects to a socket in a directory."""

_HEADER = 2_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@frozen
class Proxies:
    """The addresses and networks of a farm's own proxies; ``unix`` says that sockets in directories are theirs too."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    @classmethod
    def of(cls, value: object) -> Proxies:
        """Return what a setting says. Raises UsageError, in one line, for what is no list of addresses and networks."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, list | tuple | set | frozenset) or len(value) > MOST:
            raise UsageError(
                f"proxies = {quoted(value)} is not usable: it is a list of at most {MOST} addresses and networks, "
                'such as ("127.0.0.1", "10.1.0.0/16")'
            )
        return cls(tuple(_network(one) for one in value if one != UNIX), UNIX in value)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """Return the address of who asks: ``peer``, or what the proxies say that it is.

        ``forwarded`` are the values of the header. What is no address ends what is believed.
        """
        found, text = peer, ",".join(forwarded)[-_HEADER:]
        for hop in reversed(text.split(",")[-HOPS:]):
            address = _address(hop)
            if address is None or not self.includes(found):
                break
            found = str(address)
        return found

    def includes(self, peer: str) -> bool:
        """Return whether a peer's address is that of a proxy; "" is a socket in a directory."""
        if not peer:
            return self.unix
        address = _address(peer)
        return address is not None and any(address in network for network in self.networks)

    def stands_behind(self, network: str) -> bool:
        """Return whether a proxy connects from a network (``network_of``), so that it stands for many."""
        try:
            found = ipaddress.ip_network(network.partition("%")[0])
        except ValueError:
            return False
        return any(one.version == found.version and one.overlaps(found) for one in self.networks)

    def words(self) -> list[str]:
        """Return the proxies as the setting names them."""
        return [*map(str, self.networks), *([UNIX] if self.unix else [])]


NO_PROXIES = Proxies()


def _network(text: object) -> Network:
    try:
        if not isinstance(text, str):
            raise ValueError("it is no text")  # noqa: TRY301, TRY004 - told as the others are
        return ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise UsageError(
            f"proxies: {quoted(text)} is not usable: {str(error)[:200]}; say an address, a network such as "
            f"'10.1.0.0/16' or {UNIX!r}"
        ) from error


def _address(text: str) -> Address | None:
    """Return an address as proxies write it: also with a port, IPv6 then in brackets."""
    said = text.strip()
    if said.startswith("["):
        said = said[1:].partition("]")[0]
    elif said.count(":") == 1:
        said = said.partition(":")[0]
    try:
        found = ipaddress.ip_address(said.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
