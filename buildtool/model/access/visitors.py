"""Who comes over HTTP: the holder of a key, whoever is on this machine where that is trusted, or a visitor.

Loopback proves nothing where a proxy listens there too, or where a page of elsewhere has a browser on this machine ask.
So who comes from there is not trusted once a header says that the request was forwarded, or is for another host.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from attrs import evolve

from buildtool.model.access.identities import Identity
from buildtool.model.addresses import is_loopback
from buildtool.model.principal import Principal, PrincipalRole

__all__ = ["FORWARDED", "header_texts", "holder_of", "is_of_this_machine"]

FORWARDED = (
    "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
    "X-Forwarded-Server", "X-Forwarded-By", "X-Forwarded-Prefix", "X-Forwarded", "X-Real-IP", "X-Client-IP",
)  # fmt: skip
"""The headers that proxies add."""

LOCAL = ("localhost", "127.0.0.1", "::1")

Headers = Callable[[str], Sequence[str]]
"""Returns all values of a header of a request."""


def header_texts(values: Iterable[bytes]) -> list[str]:
    """Return the values of a header as texts: UTF-8, as proxies write names; no other byte stands for a letter."""
    return [one.decode("utf-8", "replace") for one in values]


def is_of_this_machine(address: str, headers: Headers, own: Collection[str]) -> bool:
    """Return whether a request comes from this machine, from no proxy on it, and is for this host by one of its names.

    ``address`` is the peer's, ``own`` are the names and addresses of this host.
    """
    hosts = headers("Host")
    if not is_loopback(address) or any(headers(name) for name in FORWARDED) or len(hosts) > 1:
        return False
    return not hosts or _host(hosts[0]) in {*LOCAL, *(name.lower() for name in own)}


def _host(text: str) -> str:
    """Return the host of a Host header, without its port."""
    host = text.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


def holder_of(identity: Identity, stranger: Principal) -> Principal:
    """Return the principal of the holder of a key."""
    return evolve(
        stranger, role=identity.role, name=identity.name, key=identity.key, owner=identity.owner, limits=identity.limits
    )


def visitor(address: str, *, trusted: bool) -> Principal:
    """Return the principal of a visitor without a key: who is trusted may do what a requester may."""
    return Principal(PrincipalRole.REQUESTER if trusted else PrincipalRole.VISITOR, address=address, trusted=trusted)
