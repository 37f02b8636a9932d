"""Networks: whose share of connections and of names an address counts against."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

SIX_NETWORK = 64
"""Bits of an IPv6 address that name a network: whoever has one address has all of the rest."""


@lru_cache(1_000)
def network_of(host: str) -> str:
    """Return the network that an address shares its connections with: itself, or an IPv6 address's /64."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, SIX_NETWORK), strict=False))
