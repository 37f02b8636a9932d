"""One authority with a server's certificate, made once a process: keys are as good as any other input."""

from __future__ import annotations

from functools import cache

from buildtool.adapters.tls.certificates import (
    Identified,
    client_certificate,
    new_authority,
    new_key,
    server_certificate,
)

NOW = 1_790_000_000.0


@cache
def authority() -> Identified:
    """Return the farm's authority."""
    return new_authority("farm", NOW)


@cache
def server() -> Identified:
    """Return the server's key and certificate."""
    key = new_key()
    return Identified(key, server_certificate(authority(), key.public_key(), ["127.0.0.1"], NOW, 1e9))


@cache
def client(name: str = "anna", *, stranger: bool = False) -> Identified:
    """Return a client's key and certificate, signed by the farm's authority or, for a ``stranger``, by another."""
    key = new_key()
    by = new_authority("elsewhere", NOW) if stranger else authority()
    return Identified(key, client_certificate(by, key.public_key(), name, NOW, 1e9))
