"""``MetaserverLink`` and ``Orders``: each real one, and the fake that stands for it where the other is tested.

The link is over a gateway and wires in memory; the orders are a build server's among its fakes.
"""

from collections.abc import Coroutine, Iterator
from typing import Any, Protocol

import attrs
import pytest
from twisted.internet.defer import Deferred

from buildtool.errors import BadUpload, BuildToolError, Declined, Fenced, NotFound, StorageUnavailable, Unavailable
from buildtool.model.records import AttemptEnd
from buildtool.model.servers import Held, HeldVerdict, Verdict
from buildtool.ports.buildserver import MetaserverLink, Orders
from buildtool.protocol.messages import (
    AbortOrder,
    Accepted,
    Done,
    Draining,
    Ended,
    Ok,
    RenewTickets,
    Tickets,
    Welcome,
)
from tests import messages
from tests.adapters.control.test_gateway import Farm
from tests.fakes import FakeOrders
from tests.fakes_build import BASE, FakeLink, order, place

TOLD: tuple[tuple[attrs.AttrsInstance, type[Any]], ...] = (
    (Done(17, 1, messages.DIGEST, messages.DIGEST, 5, "a.zip", 1.5, ""), Ok),
    (Ended(17, 1, AttemptEnd.FAILED, "make failed", ""), Ok),
    (RenewTickets(17, 1), Tickets),
    (Draining("noon"), Ok),
)


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return what a coroutine returns at once, or raise what it raises."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


# --- MetaserverLink ---------------------------------------------------------------------------------------


class Linked(Protocol):
    """A link that has a Session, and whom it tells of losing it."""

    link: MetaserverLink
    lost: list[str]

    def tell(self, message: attrs.AttrsInstance, expected: type[Any]) -> Any: ...

    def fail(self, error: BuildToolError) -> None:
        """Let the metaserver refuse the next message with an error."""

    def back(self) -> None:
        """Let there be a Session again."""

    def close(self) -> None: ...


class RealLink:
    """The real link and gateway."""

    def __init__(self) -> None:
        self.farm, self.lost = Farm(), list[str]()
        lost = self.lost

        class Told(FakeOrders):
            def disconnected(self, reason: str) -> None:
                lost.append(reason)

        self.link = self.farm.link(Told())

    def tell(self, message: attrs.AttrsInstance, expected: type[Any]) -> Any:
        return self.farm.result(self.link.tell(message, expected))

    def fail(self, error: BuildToolError) -> None:
        self.farm.servers.failing = [error]

    def back(self) -> None:
        self.farm.ends.advance(10)

    def close(self) -> None:
        self.farm.stop(self.link)


class FakedLink:
    """What the build server's tests have."""

    def __init__(self) -> None:
        self.lost = list[str]()
        self.link = self.fake = FakeLink(when_lost=self.lost.append)

    def tell(self, message: attrs.AttrsInstance, expected: type[Any]) -> Any:
        return now(self.link.tell(message, expected))

    def fail(self, error: BuildToolError) -> None:
        self.fake.errors = [error]

    def back(self) -> None:
        self.fake.away = False

    def close(self) -> None:
        """It has nothing open."""


@pytest.fixture(params=[RealLink, FakedLink])
def linked(request: pytest.FixtureRequest) -> Iterator[Linked]:
    made: Linked = request.param()
    yield made
    made.close()


@pytest.mark.parametrize(("message", "expected"), TOLD)
def test_whatever_is_told_is_answered_with_what_belongs_to_it(
    linked: Linked, message: attrs.AttrsInstance, expected: type[Any]
) -> None:
    for _ in range(2):
        assert type(linked.tell(message, expected)) is expected
    assert linked.lost == []


@pytest.mark.parametrize("error", [StorageUnavailable("full"), BadUpload("send the file"), NotFound("no such build")])
@pytest.mark.parametrize(("message", "expected"), TOLD)
def test_a_refusal_is_the_error_that_it_was_and_costs_no_session(
    linked: Linked, message: attrs.AttrsInstance, expected: type[Any], error: BuildToolError
) -> None:
    linked.fail(error)
    with pytest.raises(type(error)):
        linked.tell(message, expected)
    linked.tell(message, expected)
    assert linked.lost == []


@pytest.mark.parametrize("error", [Unavailable("no answer"), Fenced("a newer Session is open")])
@pytest.mark.parametrize(("message", "expected"), TOLD)
def test_what_is_not_answered_ends_the_session_and_so_does_an_answer_that_it_is_over(
    linked: Linked, message: attrs.AttrsInstance, expected: type[Any], error: BuildToolError
) -> None:
    """Whether it was heard is not known, and only a new Session can tell: none of it is told over the old one."""
    linked.fail(error)
    for _ in range(2):
        with pytest.raises(Unavailable):
            linked.tell(message, expected)
    assert len(linked.lost) == 1
    linked.back()
    assert type(linked.tell(message, expected)) is expected


# --- Orders -----------------------------------------------------------------------------------------------

HELD = Held(1, 1)


@pytest.fixture(params=["build server", "fake"])
def orders(request: pytest.FixtureRequest) -> Orders:
    return FakeOrders() if request.param == "fake" else place(session=0).server


def connected(orders: Orders, *verdicts: HeldVerdict) -> None:
    orders.connected(Welcome(1, BASE, 10_000_000, 1_000_000, 60.0, verdicts))


def test_no_order_is_taken_without_a_session(orders: Orders) -> None:
    with pytest.raises(Declined):
        now(orders.build(order()))
    connected(orders)
    orders.disconnected("the connection was lost")
    orders.disconnected("and once more")
    with pytest.raises(Declined):
        now(orders.build(order()))
    assert orders.held() == ()


def test_what_was_taken_is_held_whatever_becomes_of_the_session(orders: Orders) -> None:
    connected(orders)
    assert now(orders.build(order())) == Accepted(1, 1)
    assert orders.held() == (HELD,)
    orders.disconnected("the connection was lost")
    assert orders.held() == (HELD,)
    connected(orders, HeldVerdict(1, 1, Verdict.GO_ON))
    assert orders.held() == (HELD,)


def test_an_order_that_is_sent_again_is_taken_once(orders: Orders) -> None:
    connected(orders)
    for _ in range(2):
        assert now(orders.build(order())) == Accepted(1, 1)
    assert orders.held() == (HELD,)


def test_an_abort_of_what_is_not_here_is_stale_and_of_what_is_may_be_repeated(orders: Orders) -> None:
    connected(orders)
    assert now(orders.abort(AbortOrder(1, 1, "nobody waits"))) == Ok(stale=True)
    now(orders.build(order()))
    assert now(orders.abort(AbortOrder(1, 2, "nobody waits"))) == Ok(stale=True)
    for _ in range(2):
        assert now(orders.abort(AbortOrder(1, 1, "nobody waits"))) == Ok()
    assert orders.held() == (HELD,), "its end is still to be told"


def test_verdicts_about_what_is_not_here_do_not_matter(orders: Orders) -> None:
    verdicts = (HeldVerdict(7, 1, Verdict.DROP, "built elsewhere"), HeldVerdict(8, 1, Verdict.GO_ON))
    connected(orders, *verdicts)
    orders.judged(verdicts)
    assert orders.held() == ()
