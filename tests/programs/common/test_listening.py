"""Whoever connects, and however often: a turn of the reactor is not spent on letting them in."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource

from buildtool.adapters.http.routes import HttpLimits, Routes
from buildtool.adapters.http.server import StreamingSite
from buildtool.errors import PortTaken, UsageError
from buildtool.programs.common.beginning import SOCKETS
from buildtool.programs.common.listening import AT_ONCE, FIRST_HANDED_OVER, adopt, handed_over, listen
from buildtool.programs.webserver.site import STRANGER, PagesSite


@pytest.fixture
def many() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held
    reactor.iterate(0)  # which ends the connections that were broken off


@pytest.mark.parametrize("adopted", [False, True], ids=["own", "adopted"])
def test_a_crowd_is_let_in_a_few_at_a_time(many: ExitStack, *, adopted: bool) -> None:
    met: list[Protocol] = []

    class Met(Protocol):
        def connectionMade(self) -> None:
            met.append(self)

    factory = Factory.forProtocol(Met)
    if adopted:
        ours = many.enter_context(socket.create_server(("127.0.0.1", 0), backlog=5 * AT_ONCE))
        port = adopt(reactor, factory, ours.fileno())  # type: ignore[arg-type] # it is one
    else:
        port = listen(reactor, factory, "127.0.0.1", 0, "pb_port")  # type: ignore[arg-type]
    many.callback(lambda: [one.transport.abortConnection() for one in met])  # type: ignore[union-attr]
    many.callback(port.stopListening)
    for _ in range(5 * AT_ONCE):
        many.enter_context(socket.create_connection(("127.0.0.1", port.getHost().port), 5.0))  # type: ignore[attr-defined]
    grown = []
    for _ in range(5):
        before = len(met)
        port.doRead()  # type: ignore[attr-defined] # what the reactor calls
        grown.append(len(met) - before)
    assert grown == [AT_ONCE] * 5


class Timers(Clock):
    """Remembers for how long each timer was set; one that is made shorter would have to be looked for among all."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def callLater(self, delay, callable, *args, **kw):  # type: ignore[no-untyped-def] # noqa: A002, ANN001, ANN002, ANN003, ANN201
        self.asked.append(delay)
        return super().callLater(delay, callable, *args, **kw)


@pytest.mark.parametrize("kind", ["pages", "transfer"])
def test_a_stranger_to_a_site_gets_one_timer_which_is_as_short_as_it_ever_will_be(kind: str) -> None:
    clock = Timers()
    address = IPv4Address("TCP", "192.0.2.1", 1)
    channel: HTTPChannel | None
    most: float
    if kind == "pages":
        site = PagesSite(Resource())
        site.reactor = IReactorTime(clock)
        channel, most = site.buildProtocol(address), STRANGER
    else:
        limits, never_asked = HttpLimits(), cast("Routes", None)
        channel, most = StreamingSite(IReactorTime(clock), never_asked, limits).buildProtocol(address), limits.stranger
    assert channel is not None
    channel.makeConnection(StringTransport())
    assert clock.asked == [most]
    assert [call.getTime() for call in clock.getDelayedCalls()] == [most]


# --- one port for several -----------------------------------------------------------------------------------


def test_a_port_is_shared_by_those_that_say_so_and_by_no_other(many: ExitStack) -> None:
    first = listen(reactor, Factory(), "127.0.0.1", 0, "web_port", shared=True)  # type: ignore[arg-type] # it is one
    many.callback(first.stopListening)
    number = first.getHost().port  # type: ignore[attr-defined] # of TCP
    many.callback(listen(reactor, Factory(), "127.0.0.1", number, "web_port", shared=True).stopListening)  # type: ignore[arg-type]
    with pytest.raises(PortTaken, match=f"port {number} on 127.0.0.1 is taken"):
        listen(reactor, Factory(), "127.0.0.1", number, "web_port")  # type: ignore[arg-type]


def test_a_socket_that_is_handed_over_is_listened_at(many: ExitStack) -> None:
    met: list[Protocol] = []

    class Met(Protocol):
        def connectionMade(self) -> None:
            met.append(self)

    ours = many.enter_context(socket.create_server(("127.0.0.1", 0)))
    port = adopt(reactor, Factory.forProtocol(Met), ours.fileno())  # type: ignore[arg-type] # it is one
    many.callback(lambda: [one.transport.abortConnection() for one in met])  # type: ignore[union-attr]
    many.callback(port.stopListening)
    many.enter_context(socket.create_connection(ours.getsockname(), 5.0))
    port.doRead()  # type: ignore[attr-defined] # what the reactor calls
    assert len(met) == 1


def test_what_was_handed_over_has_a_name_and_is_for_tcp(tmp_path: Path) -> None:
    assert handed_over({}, ["web"]) == {}
    assert handed_over({SOCKETS: "0:"}, ["web"]) == {}
    assert handed_over({SOCKETS: "x:web"}, ["web"]) == {}
    mine = {SOCKETS: "1:web", "HOME": "/"}
    assert handed_over(mine, ["web"]) == {"web": [FIRST_HANDED_OVER]}
    assert mine == {"HOME": "/"}
    assert handed_over({SOCKETS: "1:x"}, ["web"]) == {"web": [3]}, "one name needs not be said"
    both = ["control", "web"]
    assert handed_over({SOCKETS: "3:control:web:control"}, both) == {"control": [3, 5], "web": [4]}
    with pytest.raises(UsageError, match=r"a socket named 'x' was handed over: .* one of control, web"):
        handed_over({SOCKETS: "3:x:web:control"}, both)
    with pytest.raises(UsageError, match="a socket named ''"):
        handed_over({SOCKETS: "2:control"}, both)
    with socket.socket(socket.AF_UNIX) as other, pytest.raises(UsageError, match="is not for TCP"):
        adopt(reactor, Factory(), other.fileno())  # type: ignore[arg-type] # it is one
    with (tmp_path / "file").open("w") as file, pytest.raises(UsageError, match="cannot be used"):
        adopt(reactor, Factory(), file.fileno())  # type: ignore[arg-type]
