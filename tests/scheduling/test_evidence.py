"""Sandboxes in the scheduler: who is given what, who waits for whom, and what a machine says that is not believed."""

import pytest

from buildtool.model.matching.reasons import Cause
from buildtool.model.records import AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.servers import Held, HeldState, Verdict
from buildtool.model.trust.evidence import Evidence, SandboxLevel
from buildtool.scheduling.answers import Dispatched, Hit, JoinedBuild, KnownFailure, Queued
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.waiting import lines
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import machine, spec

NONE, WEAK, STRICT = SandboxLevel
BELOW = [(NONE, WEAK), (NONE, STRICT), (WEAK, STRICT)]


def farm_with(**levels: SandboxLevel) -> Farm:
    farm = Farm()
    for name, level in levels.items():
        farm.login(name, machine(sandbox=level))
    return farm


# --- hits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("have", "wanted"), BELOW)
def test_an_artifact_of_a_lower_level_is_no_hit_and_a_higher_one_is(have: SandboxLevel, wanted: SandboxLevel) -> None:
    farm = farm_with(anna=have)
    farm.ask(spec())
    farm.deliver("anna")
    assert isinstance(farm.ask(spec(sandbox=have)), Hit)
    assert isinstance(farm.ask(spec(sandbox=wanted)), Queued)
    farm.login("bert", machine(sandbox=wanted))
    farm.deliver("bert")
    found = farm.ask(spec(sandbox=wanted))
    assert isinstance(found, Hit)
    assert found.artifact.evidence == Evidence(wanted)


def test_a_newer_artifact_without_a_sandbox_takes_nothing_from_who_demands_one() -> None:
    farm = farm_with(anna=STRICT)
    farm.ask(spec())
    made = farm.deliver("anna")
    farm.logout("anna", clean=True)
    farm.login("bert", machine())
    farm.ask(spec(), force=True)
    newer = farm.deliver("bert")
    hits = [farm.ask(spec(sandbox=level)) for level in (STRICT, NONE)]
    assert [hit.artifact.id for hit in hits if isinstance(hit, Hit)] == [made.id, newer.id]


# --- joins ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("have", "wanted"), BELOW)
def test_a_running_build_of_a_lower_level_is_not_joined(have: SandboxLevel, wanted: SandboxLevel) -> None:
    farm = farm_with(anna=have)
    running = farm.ask(spec())
    asked = farm.ask(spec(sandbox=wanted))
    assert isinstance(asked, Queued)
    assert farm.build_of(asked).key != farm.build_of(running).key
    farm.deliver("anna")
    assert farm.state(asked) is RequestState.WAITING


def test_a_build_that_runs_in_a_sandbox_is_joined_though_it_does_not_promise_one() -> None:
    farm = farm_with(anna=STRICT)
    running = farm.ask(spec())
    asked = farm.ask(spec(sandbox=STRICT))
    assert isinstance(asked, JoinedBuild)
    assert asked.build.id == farm.build_of(running).id
    assert asked.request.joined is JoinReason.ATTEMPT
    farm.deliver("anna")
    assert farm.state(asked) is RequestState.SATISFIED


def test_who_joined_such_an_attempt_leaves_it_when_it_is_lost() -> None:
    farm = farm_with(anna=STRICT)
    plain = farm.ask(spec())
    asked = farm.ask(spec(sandbox=STRICT))
    farm.login("bert", machine())
    farm.break_down("anna")
    assert farm.running_on(plain) == "bert"
    assert farm.build_of(asked).id != farm.build_of(plain).id
    farm.deliver("bert")
    assert farm.state(asked) is RequestState.WAITING


def test_who_demands_less_joins_a_waiting_build_that_demands_more() -> None:
    farm = Farm()
    strict = farm.ask(spec(sandbox=STRICT))
    joined = farm.ask(spec(sandbox=WEAK))
    assert isinstance(joined, JoinedBuild)
    assert joined.build.id == farm.build_of(strict).id


def test_who_demands_more_joins_no_waiting_build_that_demands_less() -> None:
    farm = Farm()
    weak = farm.ask(spec(sandbox=WEAK))
    strict = farm.ask(spec(sandbox=STRICT))
    assert isinstance(strict, Queued)
    assert farm.build_of(strict).id != farm.build_of(weak).id


def test_who_demands_less_does_not_wait_behind_a_machine_that_is_not_there() -> None:
    farm = Farm()
    farm.ask(spec(sandbox=STRICT))
    farm.login("anna", machine())
    assert isinstance(farm.ask(spec()), Dispatched)


# --- machines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("have", "wanted"), BELOW)
def test_a_machine_whose_sandbox_does_not_do_is_not_given_the_build_and_why_says_so(
    have: SandboxLevel, wanted: SandboxLevel
) -> None:
    farm = farm_with(anna=have)
    asked = farm.ask(spec(sandbox=wanted))
    assert isinstance(asked, Queued)
    told = farm.why(asked)
    (reason,) = told.groups[0].reasons
    assert (reason.cause, reason.wanted, reason.have) == (Cause.SANDBOX, wanted.value, have.value)
    assert told.nearest == reason.nearest_words("anna")
    assert any(reason.words() in line for line in lines(told))


def test_a_machine_that_comes_back_with_a_better_sandbox_gets_what_waited_for_that() -> None:
    farm = farm_with(anna=NONE)
    asked = farm.ask(spec(sandbox=STRICT))
    farm.logout("anna", clean=True)
    farm.login("anna", machine(sandbox=STRICT))
    assert farm.running_on(asked) == "anna"
    assert farm.attempt_on("anna").evidence == Evidence(STRICT)


def test_a_machine_that_comes_back_with_a_worse_sandbox_gets_nothing_more_that_demands_one() -> None:
    farm = farm_with(anna=STRICT)
    farm.logout("anna", clean=True)
    farm.login("anna", machine(sandbox=WEAK))
    asked = farm.ask(spec(sandbox=STRICT))
    assert isinstance(asked, Queued)
    assert farm.why(asked).groups[0].reasons[0].cause is Cause.SANDBOX


# --- what is believed ----------------------------------------------------------------------------------------


def test_no_more_is_believed_than_was_announced_when_the_attempt_began() -> None:
    farm = farm_with(anna=WEAK)
    asked = farm.ask(spec())
    attempt = farm.accept("anna")
    farm.logout("anna")
    told = farm.login("anna", machine(sandbox=STRICT), [Held(*attempt.key)])
    assert told == {attempt.key: Verdict.GO_ON}
    artifact = farm.deliver("anna", sandbox=STRICT)
    assert artifact.evidence == Evidence(WEAK)
    assert farm.state(asked) is RequestState.SATISFIED
    assert isinstance(farm.ask(spec(sandbox=STRICT)), Dispatched), "what it announces now holds for what begins now"


def test_no_more_is_believed_than_the_machine_says_of_what_it_made() -> None:
    """A request that joined the attempt for its sandbox is not given what was made without: it is admitted anew."""
    farm = farm_with(anna=STRICT)
    plain, asked = farm.ask(spec()), farm.ask(spec(sandbox=STRICT))
    artifact = farm.deliver("anna", sandbox=NONE)
    assert artifact.evidence == Evidence(NONE)
    assert farm.attempt(artifact.build_id, artifact.epoch).evidence == Evidence(NONE)
    assert farm.state(plain) is RequestState.SATISFIED
    assert farm.state(asked) is RequestState.WAITING
    assert farm.running_on(asked) == "anna", "a build of its own"


def test_a_machine_that_made_it_with_less_than_was_demanded_is_broken_and_the_build_goes_on() -> None:
    farm = farm_with(anna=STRICT, bert=STRICT)
    asked = farm.ask(spec(sandbox=STRICT))
    name = farm.running_on(asked)
    attempt = farm.accept(name)
    assert farm.note(farm.delivery(attempt, WEAK)).stale
    ended = farm.attempt(*attempt.key)
    assert (ended.state, ended.end) == (AttemptState.ENDED, AttemptEnd.BROKEN)
    said = f"{name} delivered what may not be used: it needs a strict sandbox, has a weak one"
    assert ended.reason == said
    assert farm.artifacts() == []
    assert farm.server(name).strikes == 1
    other = farm.running_on(asked)
    assert other not in ("", name)
    farm.deliver(other)
    assert farm.state(asked) is RequestState.SATISFIED


def test_one_that_is_missing_and_made_it_with_less_disturbs_nobody_who_builds_it_now() -> None:
    farm = farm_with(anna=STRICT)
    asked = farm.ask(spec(sandbox=STRICT))
    attempt = farm.accept("anna")
    farm.lose("anna")
    farm.login("bert", machine(sandbox=STRICT))
    farm.accept("bert")
    assert farm.login("anna", machine(sandbox=STRICT), [Held(*attempt.key, HeldState.DONE)]) == {
        attempt.key: Verdict.DELIVER
    }
    late = farm.attempt(*attempt.key)
    assert farm.note(farm.delivery(late, NONE)).stale
    assert farm.running_on(asked) == "bert"
    assert farm.build_of(asked).state is BuildState.RUNNING


# --- what completes requests, and failures -------------------------------------------------------------------


def test_an_artifact_completes_those_who_wait_elsewhere_only_where_its_evidence_is_enough() -> None:
    farm = farm_with(anna=WEAK)
    farm.ask(spec(1, sandbox=WEAK))
    strict, weak = farm.ask(spec(sandbox=STRICT), near=1), farm.ask(spec(sandbox=WEAK))
    assert farm.running_on(weak) == ""
    farm.deliver("anna")
    assert farm.state(strict) is RequestState.WAITING
    assert farm.running_on(weak) == "anna"
    farm.deliver("anna")
    assert (farm.state(strict), farm.state(weak)) == (RequestState.WAITING, RequestState.SATISFIED)


def test_a_failure_seen_without_a_sandbox_is_not_told_to_who_demands_one() -> None:
    farm = farm_with(anna=NONE)
    farm.ask(spec())
    farm.fail("anna")
    assert isinstance(farm.ask(spec()), KnownFailure)
    farm.login("bert", machine(sandbox=STRICT))
    assert isinstance(farm.ask(spec(sandbox=STRICT)), Dispatched)
    farm.fail("bert")
    assert isinstance(farm.ask(spec(sandbox=STRICT)), KnownFailure)
    assert isinstance(farm.ask(spec()), KnownFailure)


def test_who_comes_back_with_what_nobody_can_repeat_any_more_is_told_to_drop_it() -> None:
    """One failed, the other comes back too weak to repeat it: the failure is final, and so is what it is told."""
    farm = farm_with(anna=STRICT)
    asked = farm.ask(spec(sandbox=STRICT))
    attempt = farm.accept("anna")
    farm.silent.add("anna")
    farm.pass_time(LEASE)
    farm.login("bert", machine(sandbox=STRICT))
    farm.fail("bert")
    assert farm.state(asked) is RequestState.WAITING, "anna is connected, and could repeat it"
    told = farm.login("anna", machine(sandbox=NONE), [Held(*attempt.key, HeldState.DONE)])
    assert told == {attempt.key: Verdict.DROP}
    assert farm.state(asked) is RequestState.FAILED
