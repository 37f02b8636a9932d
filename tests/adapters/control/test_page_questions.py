"""What the pages ask the metaserver from a process of their own."""

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from buildtool.adapters.control.gateway import Gateway
from buildtool.adapters.control.page_questions import PATIENCE, REST, MetaserverQuestions
from buildtool.model.principal import Principal
from buildtool.protocol.messages import AskHealth, HealthStatus
from tests.adapters.control.wires import Wires
from tests.fakes import FakeBuildServerService, FakeRequestService


@define
class Troubled(FakeRequestService):
    """A metaserver that something keeps from its work."""

    async def health(self, _by: Principal, _message: AskHealth) -> HealthStatus:
        return HealthStatus(ok=False, problems=("the disk of artifacts/ has only 12 MiB left",))


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
        self.wires.server = Gateway(self.clock).factory(Troubled().handlers, FakeBuildServerService().handlers)

    def health(self) -> HealthStatus | None:
        return self.wires.result(self.questions.health())


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
    Deferred.fromCoroutine(world.questions.health()).addCallback(found.append)
    world.clock.advance(PATIENCE)
    assert found == [None]
