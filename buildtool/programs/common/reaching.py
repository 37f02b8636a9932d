"""How a program reaches the metaserver: by which addresses, in plain or by TLS, and with its key where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.base import ReactorBase
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint

from buildtool.adapters.network.endpoints import CONNECTING, machine_at
from buildtool.adapters.network.in_turn import InTurn, Way
from buildtool.model.access.metaserver_addresses import MetaserverAddress, Speech

if TYPE_CHECKING:
    from buildtool.adapters.tls.credentials import OwnIdentity
    from buildtool.programs.common.joining import FarmEndpoint


@frozen
class Reach:
    """The ways to a metaserver, and how to speak to its transfer port.

    ``farm`` has the key with which this side joined, if it has.
    """

    ways: InTurn
    farm: FarmEndpoint | None
    _transfers: dict[str, IOpenSSLClientConnectionCreator]
    _joined_hosts: frozenset[str] = frozenset()

    @property
    def where(self) -> str:
        """Where the metaserver is, for messages."""
        return self.ways.where

    def transfers(self, host: str, port: int) -> IOpenSSLClientConnectionCreator | None:
        """Return how to speak TLS to a transfer port, or None where its certificate is checked as any site's."""
        found = self._transfers.get(host)
        if found is not None or self.farm is None:
            return found
        known = self.farm.own.addresses[0][0] if host in self._joined_hosts and self.farm.own.addresses else host
        return self.farm.transfers(known, port)


def reach(reactor: ReactorBase, addresses: Sequence[MetaserverAddress], farm: FarmEndpoint | None) -> Reach:
    """Return how to reach the metaserver at these addresses. Blocks where they name files.

    Raises ConfigurationError.
    """
    transfers: dict[str, IOpenSSLClientConnectionCreator] = {}
    ways = []
    for one in addresses:
        ways.append(way_to(reactor, one, farm))
        if one.is_endpoint and one.speech is Speech.TLS and not _joined(one, farm):
            from buildtool.adapters.tls.by_endpoint import tls_to
            from buildtool.adapters.tls.contexts import ANY_HTTP

            transfers[one.host] = tls_to(one, ANY_HTTP)
    return Reach(InTurn(tuple(ways)), farm, transfers, frozenset(one.host for one in addresses if _joined(one, farm)))


def joined_addresses(own: OwnIdentity) -> tuple[MetaserverAddress, ...]:
    """Return where the metaserver was when this side joined."""
    return tuple(MetaserverAddress(host, port) for host, port in own.addresses)


def machine_of(reactor: ReactorBase, address: MetaserverAddress) -> IStreamClientEndpoint:
    """Return the endpoint of an address itself, without TLS."""
    return machine_at(reactor, address.host, address.port, address.timeout or CONNECTING)


def way_to(reactor: ReactorBase, address: MetaserverAddress, farm: FarmEndpoint | None) -> Way:
    """Return the way to one address, by TLS where that was said or joined. Raises ConfigurationError."""
    machine = machine_of(reactor, address)
    joined = _joined(address, farm)
    if not joined and address.speech is not Speech.TLS:
        return Way(address.where, machine)
    from buildtool.adapters.tls.by_endpoint import believes_farm, keyed_tls_to, mistrust_words, tls_to
    from buildtool.adapters.tls.contexts import OverTls

    if farm is not None and joined:
        if not believes_farm(address):  # what it names is for who has not joined, and would say less than the key
            return Way(address.where, farm.with_key(machine, address.host))
        return Way(address.where, farm.with_key(machine, address.host, keyed_tls_to(address)), mistrust_words(address))
    return Way(address.where, OverTls(tls_to(address), machine), mistrust_words(address))


def _joined(address: MetaserverAddress, farm: FarmEndpoint | None) -> bool:
    """Return whether this side shows its own key there: not where another certificate was named, or none is wanted."""
    said = address.speech is Speech.PLAIN or bool(address.certificate)
    return farm is not None and not said
