"""Who asks for a newer commit of a ref with --supersede takes the place of older requests of theirs, and no others."""

from __future__ import annotations

import hypothesis.strategies as st
from attrs import evolve
from hypothesis import given, settings

from buildtool.model.farm.weights import NICE_MOST
from buildtool.model.records import BuildState, Demand, Request, RequestState
from buildtool.scheduling.answers import AnsweredTogether, ExplainedAnswer, Hit, Queued, Unconfirmed
from buildtool.scheduling.events import (
    AddressConfirmed,
    CancelRequested,
    Explain,
    Older,
    Submitted,
    SubmittedTogether,
)
from buildtool.scheduling.order.rounds import place_of
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import REVISIONS, spec, submitted
from tests.support.lanes import examples

ANN, BOB, CID = "ann@example.org", "bob@example.org", "cid@example.org"
AT_HOME = "192.0.2.7"


class Branch:
    """A farm with one busy machine, whose people ask for the revisions of a line, each older than those after it."""

    def __init__(self) -> None:
        self.farm = Farm()
        self.asked = 0
        self.farm.login("anna")
        self.ask("zoe@example.org", 0, jit=True)

    def ask(
        self,
        email: str,
        revision: int,
        *,
        supersede: bool = False,
        ref: str = "main",
        jit: bool = False,
        nice: int = 0,
        ppc: bool = False,
        share: str = "",
        asker: str = AT_HOME,
        keyed: bool = True,
    ) -> NewRequest:
        self.asked += 1
        wanted = spec(revision, jit=jit, platform={"os": "linux", "arch": "ppc"} if ppc else None)
        demand = Demand(wanted, ref, "", (wanted.revision,))
        older = Older(frozenset((ref, one) for one in REVISIONS[:revision]), None if keyed else asker)
        client = f"branch {self.asked}"
        event = Submitted(client, client, email, demand, asker=asker, share=share, nice=nice)
        (answer,) = self.farm.broker.send(evolve(event, older=older) if supersede else event)
        assert isinstance(answer, NewRequest)
        return answer

    def state(self, one: NewRequest) -> RequestState:
        return self.farm.state(one)


def test_the_newer_stands_where_the_older_stood_which_ends_and_is_mailed_about() -> None:
    branch = Branch()
    older = branch.ask(ANN, 0)
    others = [branch.ask(ANN, 0, ref=f"topic{number}", jit=True) for number in range(3)]
    for number in range(3):
        branch.ask(BOB, number + 1, jit=True)
    stood = branch.farm.build_of(older)
    newer = branch.ask(ANN, 2, supersede=True)
    build = branch.farm.build_of(newer)
    assert (build.base, build.tag, build.share) == (stood.base, stood.tag, ANN)
    ended = branch.farm.request(older)
    assert ended.state is RequestState.SUPERSEDED
    assert ended.reason == f"request {newer.request.id} took its place, for a newer commit of main"
    closed = branch.farm.build(stood.id)
    assert (closed.state, closed.reason) == (BuildState.CANCELLED, ended.reason)
    assert (ANN, RequestState.SUPERSEDED) in branch.farm.mailed()
    assert {branch.state(one) for one in others} == {RequestState.WAITING}
    branch.farm.deliver("anna")
    assert branch.farm.running_on(newer) == "anna"


def test_a_build_that_somebody_else_waits_for_goes_on_and_is_charged_to_them() -> None:
    branch = Branch()
    older = branch.ask(ANN, 0)
    joined = branch.ask(BOB, 0)
    branch.ask(ANN, 1, supersede=True)
    assert branch.state(older) is RequestState.SUPERSEDED
    build = branch.farm.build_of(joined)
    assert (build.state, build.share, build.place) == (BuildState.QUEUED, BOB, joined.request.id)


def test_what_is_being_built_already_goes_on() -> None:
    branch = Branch()
    older = branch.ask(ANN, 0)
    branch.farm.deliver("anna")
    assert branch.farm.running_on(older) == "anna"
    branch.ask(ANN, 1, supersede=True)
    assert branch.state(older) is RequestState.WAITING
    assert branch.farm.running_on(older) == "anna"


def test_a_newer_commit_that_is_there_already_ends_the_older_ones_too() -> None:
    branch = Branch()
    ready = branch.ask(BOB, 2)
    branch.farm.deliver("anna")
    older = branch.ask(ANN, 1)
    branch.farm.deliver("anna")
    assert branch.state(ready) is RequestState.SATISFIED
    waits = branch.ask(ANN, 0)
    assert branch.farm.running_on(older) == "anna"
    assert isinstance(branch.ask(ANN, 2, supersede=True), Hit)
    assert branch.state(waits) is RequestState.SUPERSEDED


def test_what_an_operator_raised_stays_raised_and_who_is_nicer_now_is_put_back() -> None:
    branch = Branch()
    branch.ask(ANN, 0, nice=-NICE_MOST)
    assert branch.farm.request(branch.ask(ANN, 1, supersede=True)).nice == -NICE_MOST
    branch.ask(BOB, 0, jit=True, nice=1)
    assert branch.farm.request(branch.ask(BOB, 1, jit=True, supersede=True, nice=4)).nice == 4


def test_a_commit_that_fails_ends_nothing_and_a_restart_keeps_the_place() -> None:
    branch = Branch()
    older = branch.ask(ANN, 0)
    event = evolve(submitted("lost", spec(1), email=ANN), older=Older(frozenset({("main", REVISIONS[0])})))
    assert branch.farm.broker.send(event, commit=False) == []
    assert branch.state(older) is RequestState.WAITING
    newer = branch.ask(ANN, 1, supersede=True)
    before = branch.farm.build_of(newer)
    branch.farm.broker.crash()
    assert branch.state(older) is RequestState.SUPERSEDED
    assert place_of(branch.farm.broker.state.builds[before.id]) == place_of(before)


def test_the_place_is_kept_when_who_had_brought_a_better_one_leaves() -> None:
    branch = Branch()
    branch.ask(ANN, 0)
    newer = branch.ask(ANN, 1, supersede=True)
    joined = branch.ask(BOB, 1)
    branch.farm.send(CancelRequested(joined.request.id))
    assert branch.farm.build_of(newer).share == ANN


PEOPLE = st.sampled_from([(ANN, ANN), (BOB, BOB), (CID, "192.0.2.0/24"), (CID, CID), (ANN, "192.0.2.0/24")])
ASKING = st.fixed_dictionaries(
    {
        "revision": st.integers(0, len(REVISIONS) - 1),
        "supersede": st.booleans(),
        "ref": st.sampled_from(["main", "main", "topic"]),
        "jit": st.booleans(),
        "ppc": st.booleans(),
        "asker": st.sampled_from([AT_HOME, "192.0.2.8"]),
        "keyed": st.booleans(),
    }
)


@given(st.lists(st.tuples(PEOPLE, ASKING), max_size=12), st.data())
@settings(max_examples=examples(40), deadline=None)
def test_nothing_ends_that_is_not_the_same_persons_older_commit_of_the_same_ref_and_nobody_else_moves(
    asks: list[tuple[tuple[str, str], dict[str, object]]], data: st.DataObject
) -> None:
    branch = Branch()
    for (email, share), how in asks:
        state = branch.farm.broker.state
        requests, builds = dict(state.requests), dict(state.builds)
        newer = branch.ask(email, share=share, **how).request  # type: ignore[arg-type]
        ended = {key: branch.farm.broker.rows["Request", key] for key in requests.keys() - state.requests.keys()}
        for one in ended.values():
            assert isinstance(one, Request)
            assert one.state is RequestState.SUPERSEDED
            assert how["supersede"]
            assert (one.email, one.share, one.demand.ref) == (newer.email, newer.share, newer.demand.ref)
            assert how["keyed"] or one.asker == newer.asker
            mine, theirs = newer.demand.spec, one.demand.spec
            assert REVISIONS.index(theirs.revision) < REVISIONS.index(mine.revision)
            assert evolve(theirs, revision=mine.revision) == mine
            assert one.build_id is not None
            assert builds[one.build_id].state is BuildState.QUEUED
        for key, was in builds.items():
            now = state.builds.get(key)
            if now is not None and now.place == was.place:
                assert place_of(now) == place_of(was)
            elif now is not None:
                assert was.place in ended or (now.place == newer.id and place_of(now) < place_of(was))
        stood = [place_of(was)[0] for was in builds.values() if was.place in ended]
        if stood and newer.id in state.requests:
            now = state.builds[state.requests[newer.id].build_id or 0]
            assert place_of(now)[0] <= min(stood), "it stands where the best of them stood, or joined what is better"
        if data.draw(st.booleans()) and branch.farm.broker.state.slots.attempts_of.get("anna"):
            branch.farm.deliver("anna")


def held(branch: Branch, revision: int, *, supersede: bool = False, share: str = "") -> Request:
    """Somebody whose address is not confirmed asks."""
    branch.asked += 1
    client = f"held {branch.asked}"
    demand = Demand(spec(revision), "main", "", (REVISIONS[revision],))
    older = Older(frozenset(("main", one) for one in REVISIONS[:revision]))
    event = Submitted(client, client, ANN, demand, share=share or "192.0.2.0/24", held=True)
    (answer,) = branch.farm.broker.send(evolve(event, older=older) if supersede else event)
    assert isinstance(answer, Unconfirmed)
    return answer.request


def test_what_waits_for_its_address_to_be_confirmed_ends_for_a_newer_one_too_and_nobody_is_mailed() -> None:
    branch = Branch()
    first = held(branch, 0)
    branch.farm.broker.crash()
    newer = held(branch, 1, supersede=True)
    rows = branch.farm.broker.rows
    ended = rows["Request", first.id]
    assert isinstance(ended, Request)
    assert (ended.state, newer.id in branch.farm.broker.state.requests) == (RequestState.SUPERSEDED, True)
    assert branch.farm.mailed() == []
    branch.farm.send(AddressConfirmed(newer.id, newer.demand))
    assert [build.place for build in branch.farm.broker.state.builds.values() if build.share == ANN] == [newer.id]


def test_one_that_may_never_be_confirmed_ends_nothing_that_is_waited_for() -> None:
    branch = Branch()
    waits = branch.ask(ANN, 0)
    held(branch, 1, supersede=True, share=ANN)
    assert branch.state(waits) is RequestState.WAITING


def test_older_ones_end_though_the_metaserver_was_started_again_since() -> None:
    branch = Branch()
    older = branch.ask(ANN, 0)
    stood = branch.farm.build_of(older)
    branch.ask(BOB, 0, jit=True)
    branch.farm.broker.crash()
    build = branch.farm.build_of(branch.ask(ANN, 1, supersede=True))
    assert branch.state(older) is RequestState.SUPERSEDED
    assert (build.base, build.tag) == (stood.base, stood.tag)


def together(branch: Branch, revision: int, *, supersede: bool = False) -> AnsweredTogether:
    """Ann asks for two builds at once."""
    items = []
    for jit in (False, True):
        branch.asked += 1
        wanted = spec(revision, jit=jit)
        older = Older(frozenset(("main", one) for one in REVISIONS[:revision])) if supersede else None
        demand = Demand(wanted, "main", "", (wanted.revision,))
        items.append(Submitted(f"{branch.asked}", f"{branch.asked}", ANN, demand, older=older))
    (answer,) = branch.farm.broker.send(SubmittedTogether(tuple(items)))
    assert isinstance(answer, AnsweredTogether)
    return answer


def test_each_of_several_takes_the_place_of_its_own_older_one_and_one_mail_tells_of_those() -> None:
    branch = Branch()
    older, newer = together(branch, 1), together(branch, 2, supersede=True)
    first, second = (one.request for one in newer.answers if isinstance(one, Queued))
    reasons = []
    for one in older.answers:
        assert isinstance(one, Queued)
        row = branch.farm.broker.rows["Request", one.request.id]
        assert isinstance(row, Request)
        assert row.state is RequestState.SUPERSEDED
        reasons.append(row.reason.partition(" took")[0])
    assert reasons == [f"request {first.id}", f"request {second.id}"]
    assert len(branch.farm.mailed()) == 1


def test_what_would_be_answered_counts_with_the_place_that_is_inherited_and_nothing_ends_by_asking() -> None:
    branch = Branch()
    waits = branch.ask(ANN, 0)
    for number in range(3):
        branch.ask(BOB, number, jit=True)
    branch.ask(ANN, 0, ref="topic", jit=True)
    demand = Demand(spec(1), "main", "", (REVISIONS[1],))
    older = Older(frozenset({("main", REVISIONS[0])}))
    without, told = (branch.farm.send(Explain(demand, share=ANN, email=ANN, older=one)) for one in (None, older))
    assert isinstance(told, ExplainedAnswer)
    assert isinstance(without, ExplainedAnswer)
    assert branch.state(waits) is RequestState.WAITING
    really = branch.farm.why(branch.ask(ANN, 1, supersede=True))
    assert told.why is not None
    assert without.why is not None
    assert (told.why.ahead, told.why.ahead_own) == (really.ahead, really.ahead_own)
    assert without.why.ahead > told.why.ahead
