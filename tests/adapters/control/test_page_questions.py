"""What the pages ask the metaserver from a process of their own."""

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from buildtool.adapters.control.operator_endpoint import operator_factory
from buildtool.adapters.control.page_questions import PATIENCE, REST, MetaserverQuestions
from buildtool.configuration.current import CurrentConfiguration
from buildtool.metaserver.access.tokens import TokenService
from buildtool.metaserver.access.visiting import VisitorService
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.pages import ShownVisitor
from buildtool.protocol.hello import Hello
from buildtool.protocol.messages import AskHealth, HealthStatus
from tests.adapters.control.wires import Wires
from tests.fakes import FakeRequestService
from tests.metaserver.test_build_servers import settings
from tests.support.memory import MemoryStore, WallClock

VISITOR = ShownVisitor(Principal(PrincipalRole.VISITOR, address="192.0.2.7"))


@define
class Troubled(FakeRequestService):
    """A metaserver that something keeps from its work."""

    async def health(self, by: Principal, _message: AskHealth) -> HealthStatus:
        assert by.role is PrincipalRole.VISITOR
        return HealthStatus(ok=False, problems=("the disk of artifacts/ has only 12 MiB left",))


async def itself(stranger: Principal, _transport: object, hello: Hello) -> Principal:
    """Return a peer as what it says: over these wires no system tells who is at the other end."""
    return evolve(stranger, role=PrincipalRole(hello.role))


@define
class World:
    """Pages and a metaserver, which is away until ``come``."""

    clock: Clock = field(factory=Clock)
    wires: Wires = field(init=False)
    questions: MetaserverQuestions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.wires = Wires(self.clock)
        self.questions = MetaserverQuestions(self.wires, "farm:23432", self.clock)  # type: ignore[arg-type] # it connects

    def come(self) -> None:
        deployment = CurrentConfiguration(settings())
        tokens = TokenService(deployment, MemoryStore(), WallClock(), "life", b"", str, lambda _key: None)
        pages = VisitorService(deployment, Troubled().handlers, {}, tokens)
        self.wires.server = operator_factory({}, self.clock, pages.handlers, identify=itself)

    def health(self) -> HealthStatus | None:
        return self.wires.result(self.questions.health(VISITOR))


def test_what_the_metaserver_says_of_itself_reaches_monitoring() -> None:
    world = World()
    world.come()
    said = world.health()
    assert said == HealthStatus(ok=False, problems=("the disk of artifacts/ has only 12 MiB left",))


def test_a_metaserver_that_is_away_says_nothing_and_is_asked_again_after_a_while() -> None:
    world = World()
    assert world.health() is None
    world.come()
    assert world.health() is None, "not at once: pages must not become slow with it"
    world.clock.advance(REST)
    assert world.health() is not None


def test_a_metaserver_of_another_version_is_logged_and_not_asked_at_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.come()
    monkeypatch.setattr("buildtool.adapters.control.gateway.PROTOCOL_VERSION", 2)
    with capturedLogs() as lines:
        assert world.health() is None
        assert world.health() is None
    (line,) = [formatEvent(one) for one in lines if "pages go without" in formatEvent(one)]
    assert "speaks protocol 2, the other side speaks 3: update the metaserver" in line


def test_a_metaserver_that_does_not_answer_says_nothing() -> None:
    world = World()
    world.come()
    assert world.health() is not None
    found: list[HealthStatus | None] = []
    Deferred.fromCoroutine(world.questions.health(VISITOR)).addCallback(found.append)
    world.clock.advance(PATIENCE)
    assert found == [None]
