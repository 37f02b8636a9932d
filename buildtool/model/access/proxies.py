"""Whose word is taken for who asks: the proxies of a farm, and the address that they tell with a request.

Anybody can send the header X-Forwarded-For. It is believed where a proxy that the configuration names sent the request,
and then only as far as proxies wrote it: from its end to the first address that is no proxy's. The same holds for a
header in which a proxy that people log in at says who visits, if the configuration names one: such a proxy has to set
it on every request, and let none of its visitors' own through.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from attrs import evolve, field, frozen

from buildtool.errors import Unauthorised, UsageError
from buildtool.model.addresses import valid_address
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.model.text import quoted

__all__ = ["FORWARDED_FOR", "FORWARDED_PROTO", "NO_IDENTITY", "NO_PROXIES", "Proxies", "ProxyIdentity"]

FORWARDED_FOR = "X-Forwarded-For"
"""The header in which each proxy adds the address that it was asked from, at the end."""

FORWARDED_PROTO = "X-Forwarded-Proto"
"""The header in which a proxy says how it was asked: https, or http."""

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

    def by_tls(self, peer: str, said: Sequence[str], *, direct: bool) -> bool:
        """Return whether a request came by TLS: as the connection is (``direct``), or, from a proxy, as that says.

        ``said`` are the values of the header ``FORWARDED_PROTO``, of which the last is the proxy's own.
        """
        if not self.includes(peer):
            return direct
        return bool(said) and said[-1].rpartition(",")[2].strip().lower() == "https"

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


@lru_cache(1_000)
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


# --- who a visitor is by the word of a proxy ---------------------------------------------------------------------

PEOPLE = 1_000
"""Most people whose roles one configuration names."""

_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}\Z")
_OTHERS = frozenset(
    {"host", "cookie", "authorization", "origin", "via", "forwarded", "x-forwarded-for", "x-forwarded-host",
     "x-forwarded-proto", "x-real-ip", "content-type", "content-length", "transfer-encoding", "connection"}
)  # fmt: skip
_PEOPLE = (PrincipalRole.VISITOR, PrincipalRole.REQUESTER, PrincipalRole.OBSERVER, PrincipalRole.OPERATOR)
_ROLES = {one.value: one for one in _PEOPLE}
_EXAMPLE = '{"header": "X-Forwarded-Email", "roles": {"anna@example.org": "operator"}}'


@frozen
class ProxyIdentity:
    """A header in which proxies say who visits, and the roles of those who are more, or less, than a requester.

    Without a ``header`` no visitor is known in this way.
    """

    header: str = ""
    roles: Mapping[str, PrincipalRole] = field(factory=dict)

    @classmethod
    def of(cls, value: object) -> ProxyIdentity:
        """Return what a setting says. Raises UsageError, in one line."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping) or not set(value) <= {"header", "roles"}:
            raise UsageError(f"proxy_identity = {quoted(value)} is not usable: it is a dictionary such as {_EXAMPLE}")
        if not value:
            return cls()
        header, roles = value.get("header", ""), value.get("roles", {})
        if not isinstance(header, str) or not _HEADER_NAME.match(header) or header.lower() in _OTHERS:
            raise UsageError(
                f"proxy_identity: {quoted(header)} is no header that a proxy says in who visits: use one of its own, "
                "such as 'X-Forwarded-Email' or 'Remote-User'"
            )
        if not isinstance(roles, Mapping) or len(roles) > PEOPLE:
            raise UsageError(
                f"proxy_identity: roles = {quoted(roles)} is not usable: it is a dictionary of at most {PEOPLE} "
                "addresses with their roles"
            )
        return cls(header, {_email(email): _role(role) for email, role in roles.items()})

    def words(self) -> list[str]:
        """Return the setting in lines for people."""
        if not self.header:
            return []
        known = [f"who visits      {email}: {role.value}" for email, role in self.roles.items()]
        return [f"who visits      as a proxy says in {self.header}: {PrincipalRole.REQUESTER.value}", *known]

    def said(self, values: Sequence[str]) -> str:
        """Return the address that the values of the header say, "" for none. Raises Unauthorised for what is none."""
        told = [one.strip() for one in values if one.strip()]
        if not told:
            return ""
        try:
            if len(told) > 1:
                raise UsageError("there are two of them")  # noqa: TRY301 - told as the others are
            found = valid_address(told[0])
            if found.isascii() and not told[0].rpartition("@")[0].isascii():
                raise UsageError("a letter in it only looks like another's")  # noqa: TRY301 - told as the others are
            return found
        except UsageError as error:
            raise Unauthorised(
                f"the proxy says in {self.header} that this is {quoted(told[0], 80)}, which is not believed: {error}"
            ) from error

    def principal(self, email: str, stranger: Principal) -> Principal:
        """Return who has an address that a proxy said; for an empty one ``stranger``, who they are without it."""
        if not email or not self.header:
            return stranger
        role = self.roles.get(email.lower(), PrincipalRole.REQUESTER)
        return evolve(stranger, role=role, name=email, owner=email)


NO_IDENTITY = ProxyIdentity()


def _email(value: object) -> str:
    try:
        return valid_address(value if isinstance(value, str) else "").lower()
    except UsageError as error:
        raise UsageError(f"proxy_identity: {quoted(value)} is no e-mail address: {error}") from error


def _role(value: object) -> PrincipalRole:
    if value not in _ROLES:
        raise UsageError(f"proxy_identity: {quoted(value)} is no role: there are {', '.join(_ROLES)}")
    return _ROLES[str(value)]
