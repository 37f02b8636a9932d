"""Looks at the way to a machine, for a program's doctor: its name, its ports, its clock. Everything here blocks.

Tested by tests/programs/doctors/test_visiting.py.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from contextlib import closing
from email.utils import parsedate_to_datetime

from buildtool.model.checkup.connection import NameFacts, PortFacts

WITHIN = 5.0
"""Seconds that one look may take, but for that at a name: the system's resolver has its own time."""


def name_facts(host: str) -> NameFacts:
    """Return the addresses of a host."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return NameFacts(host, error=getattr(error, "strerror", None) or str(error))
    return NameFacts(host, tuple(dict.fromkeys(str(address[0]) for *_, address in found)))


def port_facts(address: str, port: int, within: float = WITHIN) -> PortFacts:
    """Return whether a port of an address takes a connection ``within`` so many seconds."""
    try:
        socket.create_connection((address, port), within).close()
    except ConnectionRefusedError:
        return PortFacts(address, port, "nothing listens there", refused=True)
    except TimeoutError:
        return PortFacts(address, port, f"no answer within {within:g} s")
    except OSError as error:
        return PortFacts(address, port, error.strerror or str(error))
    return PortFacts(address, port)


def skew_of(host: str, port: int, *, tls: bool, within: float = WITHIN) -> float | None:
    """Return by how many seconds the clock of a web server is ahead, to about a second; None where it does not tell.

    Its certificate is not checked: a clock that is wrong would fail that, and nothing else is taken from it.
    """
    try:
        with closing(_connection(host, port, within, tls=tls)) as connection:
            before = time.time()
            connection.request("HEAD", "/")
            said = connection.getresponse().getheader("Date", "")
            return parsedate_to_datetime(said).timestamp() - (before + time.time()) / 2
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return None


def _connection(host: str, port: int, within: float, *, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=within)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return http.client.HTTPSConnection(host, port, timeout=within, context=context)
