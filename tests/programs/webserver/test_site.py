"""Each answer of the pages is a line of the access log, where there is one: by who asked, as a proxy says."""

from pathlib import Path

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from buildtool.adapters.runtime.access_log import AccessLog
from buildtool.model.access.proxies import Proxies
from buildtool.model.hooks.signing import HOOK_LIMIT
from buildtool.programs.webserver.site import PagesSite
from buildtool.programs.webserver.visits import DELIVERIES_OF_ONE
from tests.programs.webserver.test_ceilings import visit


class Hello(Resource):
    """A page."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        return b"hello"


def test_a_line_has_who_asked_as_a_proxy_says_and_what_was_answered(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    site = PagesSite(Hello(), proxies=Proxies.of(["192.0.2.1"]), kept=AccessLog(file))
    visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7", "User-Agent: curl/8")
    visit(site, "198.51.100.1", "X-Forwarded-For: 203.0.113.7", 'Referer: "\\')
    site.stopFactory()
    first, second = file.read_text().splitlines()
    assert first.startswith("203.0.113.7 - - [")
    assert first.endswith('] "GET / HTTP/1.1" 200 5 "-" "curl/8"')
    assert second.startswith("198.51.100.1 - - [")
    assert second.endswith(r'"GET / HTTP/1.1" 200 5 "\x22\\" "-"')


def test_another_configuration_writes_into_another_file_or_none(tmp_path: Path) -> None:
    site = PagesSite(Hello(), kept=AccessLog(tmp_path / "one"))
    visit(site, "198.51.100.1")
    site.take(PagesSite(Hello(), kept=AccessLog(tmp_path / "two")))
    visit(site, "198.51.100.1")
    site.take(PagesSite(Hello()))
    visit(site, "198.51.100.1")
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("one", "two")] == [1, 1]


def deliver(site: PagesSite, peer: str, forwarded: str, body: bytes, length: int) -> tuple[Protocol, StringTransport]:
    """Begin a delivery of ``length`` bytes with ``body``; return the connection, and what was answered so far."""
    address = IPv4Address("TCP", peer, 4711)
    channel = site.buildProtocol(address)
    assert channel is not None
    transport = StringTransport(peerAddress=address)
    channel.makeConnection(transport)
    said = (f"X-Forwarded-For: {forwarded}",) if forwarded else ()
    head = "\r\n".join(["POST /hook/lua HTTP/1.1", "Host: a", *said, f"Content-Length: {length}", "", ""])
    channel.dataReceived(head.encode() + body)
    channel.setTimeout(None)
    return channel, transport


@pytest.mark.parametrize("proxy", ["", "192.0.2.1"])
def test_who_delivers_slowly_keeps_nobody_else_from_delivering(proxy: str) -> None:
    """Whoever it is may have as many connections as there is room for, and need no secret."""
    site = PagesSite(Hello(), proxies=Proxies.of(["192.0.2.1"]))

    def sends(who: str, body: bytes, length: int) -> tuple[Protocol, StringTransport]:
        return deliver(site, proxy or who, who if proxy else "", body, length)

    most = b"x" * (HOOK_LIMIT - 1)
    slow = [sends("203.0.113.7", most, HOOK_LIMIT)[0] for _ in range(40)]
    assert site.delivered.total() <= DELIVERIES_OF_ONE
    assert sends("198.51.100.1", b"x" * HOOK_LIMIT, HOOK_LIMIT)[1].value().startswith(b"HTTP/1.1 200 ")
    refused = sends("203.0.113.7", b"x" * HOOK_LIMIT, HOOK_LIMIT)[1].value()
    assert refused.startswith(b"HTTP/1.1 429 ")
    for one in slow:
        one.connectionLost(Failure(ConnectionDone()))
    assert site.delivered == {}, "what was held is given back"
