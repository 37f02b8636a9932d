"""The client as programs use it: calls that return what is answered, one after the other."""

from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.pollreactor import PollReactor
from twisted.internet.task import deferLater

from buildtool import client
from buildtool.client.blocking import BlockingFarm, Turns
from buildtool.client.groups import BuildGroup, BuildWish, FarmGroup, MachineGroup, RequestGroup
from buildtool.client.reachable import reachable
from buildtool.errors import NotFound, Unavailable, UsageError
from buildtool.protocol.messages import RequestStatus
from buildtool.protocol.operator import DrainServer, ForgetFailure, PauseServer
from tests.adapters.storage.archive.test_checking import FILE, zipped
from tests.adapters.storage.archive.test_contents import Kept
from tests.client.farms import ClientWorld
from tests.messages import waiting
from tests.web.api.world import ROOT, ApiWorld


def test_a_wish_is_sent_with_what_it_says_and_a_key_of_its_own() -> None:
    at = ClientWorld()
    requests, wish = RequestGroup(at.api()), BuildWish("paint", "main", options={"jit": True}, platform={"arch": "ppc"})
    for _ in range(2):
        assert at.do(requests.submit(wish)).request_id == 12
    first, again = at.world.people.submitted
    assert first == again, "sent again it is the same request"
    assert (first.project, first.compile, first.system) == ("paint", {"jit": True}, {"arch": "ppc"})
    assert BuildWish("paint").key != BuildWish("paint").key
    told = at.do(requests.submit_together([BuildWish("paint"), BuildWish("paint")]))
    assert [one.request_id for one in told] == [12, 12]
    assert [one.request_id for one in at.do(requests.list())] == [12]
    assert at.do(requests.explain(wish)).project == "paint"


def test_a_request_is_waited_for_to_its_end_and_each_change_is_heard() -> None:
    at = ClientWorld()
    requests, heard = RequestGroup(at.api()), list[RequestStatus]()
    told = at.do(requests.status(12, "abcdef"))
    ended: list[Any] = []
    Deferred.fromCoroutine(requests.wait(told, heard.append)).addBoth(ended.append)
    at.settle()
    moves = [reachable(one, at.api().url) for one in (waiting(epoch=2), waiting(state="satisfied"))]
    for move in moves:
        assert ended == []
        at.move(move)
    assert heard == moves
    assert ended == [moves[-1]]
    assert at.do(requests.wait(told)) == moves[-1], "one that has ended is not waited for"
    assert at.do(requests.cancel(12, "abcdef")).state == "cancelled"
    with pytest.raises(NotFound):
        at.do(requests.why(13, "abcdef"))


def test_who_waits_hears_where_nothing_answers_any_more() -> None:
    at = ClientWorld()
    ended: list[Any] = []
    waiting_for = RequestGroup(at.api()).wait(at.do(RequestGroup(at.api()).status(12, "abcdef")))
    Deferred.fromCoroutine(waiting_for).addErrback(lambda failure: ended.append(failure.value))
    at.settle()
    at.agent.lose()
    assert isinstance(ended[0], Unavailable)
    assert "request 12 goes on" in str(ended[0])


def test_builds_machines_and_the_farm_are_read_and_acted_upon() -> None:
    at = ClientWorld()
    at.token = at.world.tokens.make(ROOT).token
    builds, machines, farm = BuildGroup(at.api()), MachineGroup(at.api()), FarmGroup(at.api())
    first = at.do(builds.list(limit=2))
    following = at.do(builds.list(limit=2, before=first.next))
    assert first.builds[-1].id > following.builds[0].id
    assert all(one.state == "failed" for one in at.do(builds.list(state="failed")).builds)
    assert at.do(builds.show(1)).build.id == 1
    assert at.do(builds.matrix("testproject")).project == "testproject"
    assert at.do(builds.queue()).builds == tuple(sorted(at.do(builds.queue()).builds, key=lambda one: one.id))
    assert at.do(machines.show("elm")).name == "elm"
    assert "elm" in [one.name for one in at.do(machines.list()).machines]
    assert "testproject" in at.do(farm.projects())
    assert at.do(farm.me()).name == ROOT.name
    assert at.do(farm.health()).ok
    assert at.do(farm.audit()).next >= 0
    assert '"name":"testproject"' in at.do(farm.descriptions()).text
    for asked in (machines.pause("elm", "dust"), machines.drain("elm"), builds.forget_failure(4)):
        assert at.do(asked).words == ("it is done",)
    assert [message for _, message in at.world.asked] == [
        PauseServer("elm", "dust"), DrainServer("elm"), ForgetFailure(4),
    ]  # fmt: skip
    made = at.do(farm.make_token("nightly", 3_600.0, ["submit"]))
    assert made.id in [one.id for one in at.do(farm.tokens()).found]
    at.do(farm.revoke_token(made.id))
    assert made.id not in [one.id for one in at.do(farm.tokens()).found]


def test_the_files_of_an_artifact_are_listed(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    at = ClientWorld(ApiWorld(contents=kept.contents))
    made = at.world.pages.artifacts
    made[0] = evolve(made[0], digest=kept.keep(zipped(("lib/x", b"12345", FILE), ("run", b"", FILE))))
    builds = BuildGroup(at.api())
    found = [at.do(builds.files(1, skip, 1)) for skip in (0, 1)]
    assert [(one.name, one.size) for told in found for one in told.files] == [("lib/x", 5), ("run", 0)]
    assert [(told.count, told.next) for told in found] == [(2, 1), (2, None)]
    with pytest.raises(NotFound):
        at.do(builds.files(3))


class Interrupted(PollReactor):
    """A reactor whose user presses Ctrl-C while it waits."""

    def doIteration(self, timeout: float | None) -> None:
        raise KeyboardInterrupt


@pytest.mark.world
def test_a_call_returns_what_is_answered_raises_what_is_refused_and_can_be_interrupted() -> None:
    turns = Turns()

    async def answer(seconds: float) -> float:
        await deferLater(turns.reactor, seconds)
        return seconds

    async def refuse() -> None:
        await answer(0.0)
        raise NotFound("gone")

    async def nested() -> float:
        return turns.run(answer(0.0))

    ended: list[BaseException] = []

    async def interrupted() -> None:
        try:
            await Deferred[None]()
        except BaseException as error:
            ended.append(error)
            raise

    assert turns.run(answer(0.001)) == 0.001
    with pytest.raises(NotFound, match="gone"):
        turns.run(refuse())
    with pytest.raises(UsageError, match="one call after the other"):
        turns.run(nested())
    usual, turns.reactor = turns.reactor, Interrupted()
    with pytest.raises(KeyboardInterrupt):
        turns.run(interrupted())
    turns.reactor.disconnectAll()
    turns.reactor = usual
    assert len(ended) == 1, "what was waited for was called off"
    assert turns.run(answer(0.0)) == 0.0, "and the next call is answered"
    turns.close()


def test_the_names_that_a_program_needs_are_loaded_when_they_are_named() -> None:
    assert client.BlockingFarm is BlockingFarm
    assert client.BuildWish is BuildWish
    assert cast(Any, client).FarmClient.__name__ == "FarmClient"
    with pytest.raises(AttributeError, match="Frm"):
        cast(Any, client).Frm  # noqa: B018 - it is looked up
