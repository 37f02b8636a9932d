"""What one visitor may have of the pages: told in one line, and behind a proxy by who it says that asks."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from buildtool.errors import LimitReached
from buildtool.model.access.ceilings import NO_CEILINGS, Most
from buildtool.model.access.proxies import Proxies
from buildtool.programs.webserver.ceilings import VisitorCeilings
from buildtool.programs.webserver.site import PagesSite

CEILINGS = evolve(NO_CEILINGS, connections=Most(None, 2, 3), handshakes_a_minute=Most(None, 2, 3))
PROXIES = Proxies.of(["192.0.2.1"])


class Slow(Resource):
    """Pages that are never ready."""

    isLeaf = True

    def render(self, request: Request) -> int:
        return NOT_DONE_YET


def visit(site: PagesSite, peer: str, *headers: str) -> tuple[object, StringTransport]:
    """Connect and ask for a page; return the connection, and what was answered so far."""
    address = IPv4Address("TCP", peer, 4711)
    channel = site.buildProtocol(address)
    assert channel is not None
    transport = StringTransport(peerAddress=address)
    channel.makeConnection(transport)
    if not transport.disconnecting:
        channel.dataReceived("\r\n".join(["GET / HTTP/1.1", "Host: a", *headers, "", ""]).encode())
        channel.setTimeout(None)
    return channel, transport


def check_refused(told: StringTransport, words: str) -> None:
    head, _, body = told.value().decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 60" in head
    assert words in body


def test_connections_count_by_address_and_network_and_the_next_is_told_so() -> None:
    site = PagesSite(Slow(), ceilings=CEILINGS)
    first, _ = visit(site, "203.0.113.7")
    visit(site, "203.0.113.7")
    check_refused(visit(site, "203.0.113.7")[1], "the limit of 2 connections from 203.0.113.7 is reached")
    assert visit(site, "203.0.113.8")[1].value() == b""
    check_refused(visit(site, "203.0.113.9")[1], "the limit of 3 connections from the network 203.0.113.0/24")
    assert visit(site, "198.51.100.1")[1].value() == b"", "others are let in"
    first.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined] # it is a connection
    assert visit(site, "203.0.113.7")[1].value() == b""


def test_behind_a_proxy_of_ours_requests_count_by_whom_it_names_and_its_connections_do_not() -> None:
    site = PagesSite(Slow(), ceilings=CEILINGS, proxies=PROXIES)
    first, _ = visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7")
    visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7")
    refused = visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7")[1]
    check_refused(refused, "the limit of 2 connections from 203.0.113.7 is reached: try again when one")
    for other in range(1, 9):
        assert visit(site, "192.0.2.1", f"X-Forwarded-For: 198.51.{other}.1")[1].value() == b""
    first.connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined] # it is a connection
    assert visit(site, "192.0.2.1", "X-Forwarded-For: 203.0.113.7")[1].value() == b"", "one has ended"


def test_the_word_of_others_about_who_asks_is_not_taken() -> None:
    site = PagesSite(Slow(), ceilings=CEILINGS, proxies=PROXIES)
    for number in range(2):
        visit(site, "203.0.113.7", f"X-Forwarded-For: 198.51.{number}.1")
    check_refused(visit(site, "203.0.113.7", "X-Forwarded-For: 198.51.9.1")[1], "from 203.0.113.7")


def test_other_limits_are_taken_over() -> None:
    site = PagesSite(Slow(), ceilings=CEILINGS)
    site.take(PagesSite(Slow(), ceilings=evolve(CEILINGS, connections=Most(None, 1, None))))
    visit(site, "203.0.113.7")
    check_refused(visit(site, "203.0.113.7")[1], "the limit of 1 connections from 203.0.113.7")


@given(st.lists(st.sampled_from(["203.0.113.7", "203.0.113.8", "198.51.100.1", "127.0.0.1"]), max_size=30))
def test_no_more_requests_are_under_way_than_may_be_and_what_has_ended_counts_no_more(asked: list[str]) -> None:
    made = VisitorCeilings(lambda: CEILINGS, lambda: 0.0)
    under_way = []
    for network in asked:
        try:
            under_way.append((network, made.enter(network)))
        except LimitReached:
            around = [one for one, _ in under_way if one.rpartition(".")[0] == network.rpartition(".")[0]]
            assert around.count(network) == 2 or len(around) == 3
    for network in ("203.0.113.7", "203.0.113.8", "198.51.100.1"):
        assert [one for one, _ in under_way].count(network) <= 2
    for _, leave in under_way:
        leave()
    assert not made._open


def test_handshakes_count_by_time_and_a_refused_one_does_not() -> None:
    now = [0.0]
    made = VisitorCeilings(lambda: CEILINGS, lambda: now[0])
    made.handshake("203.0.113.7")
    made.handshake("203.0.113.7")
    for _ in range(5):
        with pytest.raises(LimitReached, match="the limit of 2 handshakes a minute from"):
            made.handshake("203.0.113.7")
    now[0] = 30.0
    made.handshake("203.0.113.7")
    for _ in range(99):
        made.handshake("127.0.0.1")


def test_a_proxy_that_speaks_tls_to_the_pages_makes_as_many_handshakes_as_it_has_visitors() -> None:
    site = PagesSite(Slow(), ceilings=CEILINGS, proxies=PROXIES)
    for _ in range(9):
        site.handshake("192.0.2.1")
    for _ in range(2):
        site.handshake("203.0.113.7")
    with pytest.raises(LimitReached, match="2 handshakes a minute from"):
        site.handshake("203.0.113.7")
