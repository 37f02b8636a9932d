"""Two sites on one port: each request goes to the one whose path it names, over whatever connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from buildtool.adapters.http.one_site import LINE_LIMIT, OneSite, path_of
from buildtool.adapters.http.transfer_site import is_transfer


class Site(Factory):
    """A site that takes down whole requests, which end with a blank line, and answers them when it is told to."""

    def __init__(self, name: str, taken: list[tuple[str, bytes]], *, room: bool = True) -> None:
        self.name, self.taken, self.room = name, taken, room
        self.open = 0

    def buildProtocol(self, addr: object) -> Channel | None:
        return Channel(self) if self.room else None


class Channel(Protocol):
    def __init__(self, site: Site) -> None:
        self.site = site
        self.heard = b""

    @property
    def between_requests(self) -> bool:
        return not self.heard

    def connectionMade(self) -> None:
        self.site.open += 1
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        while b"\r\n\r\n" in self.heard:
            request, _, self.heard = self.heard.partition(b"\r\n\r\n")
            self.site.taken.append((self.site.name, request.partition(b"\r\n")[0]))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.open -= 1


def connected(taken: list[tuple[str, bytes]], *, pages: bool = True) -> tuple[Protocol, StringTransport, OneSite]:
    sites = OneSite(Site("transfers", taken), Site("pages", taken, room=pages))
    made = sites.buildProtocol(None)
    assert made is not None
    transport = StringTransport()
    made.makeConnection(transport)
    return made, transport, sites


LINES = {
    b"GET / HTTP/1.1": "pages",
    b"GET /builds/17?x=/artifacts/ HTTP/1.1": "pages",
    b"GET /logs/17 HTTP/1.1": "pages",
    b"GET /artifact HTTP/1.1": "pages",
    b"OPTIONS * HTTP/1.1": "pages",
    b"nonsense": "pages",
    b"GET /logs/17/1?offset=0 HTTP/1.1": "transfers",
    b"PUT /uploads/17/1 HTTP/1.1": "transfers",
    b"GET /artifacts/abc/x.zip HTTP/1.1": "transfers",
    b"GET /sources/1/1 HTTP/1.1": "transfers",
    b"GET https://farm.example.org/artifacts/abc/x HTTP/1.1": "transfers",
}


@given(st.lists(st.sampled_from(sorted(LINES)), max_size=8), st.data())
def test_each_request_reaches_its_site_however_the_bytes_come(lines: list[bytes], data: st.DataObject) -> None:
    taken: list[tuple[str, bytes]] = []
    made, _, sites = connected(taken)
    for line in lines:
        said = line + b"\r\nHost: farm\r\n\r\n"
        while said:
            cut = data.draw(st.integers(1, len(said)))
            made.dataReceived(said[:cut])
            said = said[cut:]
    assert taken == [(LINES[line], line) for line in lines]
    made.connectionLost(connectionDone)
    assert (sites.transfers.open, sites.pages.open) == (0, 0)  # type: ignore[attr-defined]


def test_what_has_no_end_of_line_is_left_to_a_site_to_refuse() -> None:
    taken: list[tuple[str, bytes]] = []
    made, _, _ = connected(taken)
    made.dataReceived(b"x" * (LINE_LIMIT + 1) + b"\r\n\r\n")
    assert len(taken) == 1


def test_where_the_other_site_has_no_room_the_connection_ends() -> None:
    taken: list[tuple[str, bytes]] = []
    made, transport, sites = connected(taken, pages=False)
    made.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert transport.disconnecting
    made.connectionLost(connectionDone)
    assert sites.transfers.open == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", [b"/logs", b"/logs/", b"/logs/17", b"/uploadsx", b"/", b"", b"//artifacts/x"])
def test_what_is_no_transfer_is_a_page(path: bytes) -> None:
    assert not is_transfer(path)


@given(st.binary(max_size=40))
def test_any_line_has_a_path(line: bytes) -> None:
    assert path_of(line) == b"" or path_of(line)[:1] != b"?"
