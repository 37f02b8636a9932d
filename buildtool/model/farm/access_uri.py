"""How those who may log in reach a machine, as its owner says it: what of that may be a link."""

from __future__ import annotations

LINKED = ("ssh", "http", "https", "vnc", "rdp")
"""The schemes of addresses that a browser may be sent to."""

LONGEST = 500


def access_link(said: str) -> str:
    """Return an address that may be a link, empty where it is none: of another scheme, without a host, or not plain."""
    scheme, colon, rest = said.partition("://")
    plain = said.isascii() and said.isprintable() and not set(said) & set(" <>\"'`\\^{|}")
    host = rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]
    return said if colon and plain and scheme.lower() in LINKED and host and len(said) <= LONGEST else ""
