"""The operator's hand: pausing, aborting, forgetting, holding; each is an event that is written down."""

from attrs import evolve

from buildtool.model.access.audience import read_audience
from buildtool.model.records import AttemptEnd, BuildState, RememberedFailure, RequestState
from buildtool.scheduling.answers import Dispatched, KnownFailure, Queued
from buildtool.scheduling.events import (
    BuildAborted,
    DispatchHeld,
    FailureForgotten,
    Reconfigured,
    ServerDrained,
    ServerPaused,
    ServerResumed,
)
from buildtool.scheduling.restart import BEAT_EVERY
from tests.scheduling.broker import login
from tests.scheduling.farm import Farm
from tests.scheduling.worlds import POLICY, machine, spec


def test_a_paused_server_is_given_nothing_until_it_is_resumed_and_says_why() -> None:
    farm = Farm()
    farm.login("anna")
    farm.send(ServerPaused("anna", "its disk is being replaced"))
    asked = farm.ask()
    assert isinstance(asked, Queued)
    (group,) = farm.why(asked).groups
    assert "its disk is being replaced" in group.reasons[0].words()
    farm.send(ServerResumed("anna"))
    assert farm.running_on(asked) == "anna"


def test_a_server_that_is_drained_finishes_what_it_has_which_is_noted_once() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    asked = [farm.ask(spec(number)) for number in range(3)]
    assert not farm.note(ServerDrained("anna", "new disk", "ben")).stale
    assert farm.note(ServerDrained("anna", "new disk", "ben")).stale
    farm.deliver("anna")
    assert (farm.server("anna").finishing, farm.running_on(asked[2])) == (True, "")
    farm.deliver("anna")
    assert (farm.server("anna").finishing, farm.server("anna").paused) == (False, "new disk")
    assert farm.note(ServerDrained("anna", "new disk")).stale
    farm.send(ServerResumed("anna"))
    assert farm.running_on(asked[2]) == "anna"


def test_who_may_build_a_project_is_looked_at_whenever_something_is_given_out() -> None:
    """A change of configuration holds at once for build servers that are connected, in both directions."""
    farm = Farm()
    for name, owner in (("anna", "ann@example.org"), ("bert", "")):
        farm.send(evolve(login(farm.broker.state, name, machine(), ()), owner=owner))
    first = farm.ask(spec(0))
    assert farm.running_on(first) == "anna"

    def only(*who: str) -> None:
        farm.broker.policies = {"lua": evolve(POLICY, may_build=read_audience(list(who)))}
        farm.broker.state.reconfigure(farm.broker.policies)
        farm.send(Reconfigured())

    only("bert")
    assert farm.running_on(first) == "anna", "what runs goes on"
    assert farm.running_on(farm.ask(spec(1))) == "bert"
    farm.deliver("anna")
    waiting = farm.ask(spec(2))
    assert farm.running_on(waiting) == ""
    said = {group.servers: [reason.words() for reason in group.reasons] for group in farm.why(waiting).groups}
    assert said["anna",] == ["may not build lua: its may_build names neither this machine nor its owner"]
    farm.broker.crash()
    assert farm.server("anna").owner == "ann@example.org"
    farm.send(evolve(login(farm.broker.state, "anna", machine(), ()), owner="ann@example.org"))
    assert farm.running_on(waiting) == ""
    only("@example.org")
    assert farm.running_on(waiting) == "anna"
    only("nobody")
    assert farm.running_on(farm.ask(spec(3))) == ""


def test_no_start_is_promised_on_servers_that_take_nothing_now() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.deliver("anna")
    farm.send(ServerPaused("anna", "by hand"))
    asked = farm.ask(spec(1))
    assert farm.why(asked).estimate is None
    farm.send(ServerResumed("anna"))
    assert farm.running_on(asked) == "anna"


def test_the_end_of_a_quarantine_a_login_and_a_restart_leave_a_pause_as_it_is() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=1)})
    farm.login("anna")
    asked = farm.ask()
    farm.break_down("anna")
    farm.send(ServerPaused("anna", "by hand"))
    farm.pass_time(POLICY.quarantine_first + POLICY.refusal_ttl)
    assert (farm.server("anna").quarantined_until, farm.running_on(asked)) == (0.0, "")
    farm.broker.crash()
    farm.login("anna")
    assert farm.running_on(asked) == ""
    assert farm.server("anna").paused == "by hand"


def test_resuming_does_not_lift_a_quarantine() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=1)})
    farm.login("anna")
    farm.ask()
    farm.break_down("anna")
    farm.send(ServerPaused("anna", "by hand"))
    farm.send(ServerResumed("anna"))
    assert farm.server("anna").quarantined_until > farm.broker.now


def test_aborting_a_build_mails_everybody_who_waits_for_it_and_stops_the_attempt() -> None:
    farm = Farm()
    farm.login("anna")
    asked = [farm.ask(email=f"{name}@example.org") for name in ("ann", "bob")]
    attempt = farm.accept("anna")
    assert not farm.note(BuildAborted(attempt.build_id, "aborted by the operator: wrong branch")).stale
    assert [farm.ends_told(one) for one in asked] == [[RequestState.CANCELLED]] * 2
    cancelled = RequestState.CANCELLED
    assert farm.mailed() == [("ann@example.org", cancelled), ("bob@example.org", cancelled)]
    assert farm.request(asked[0]).reason == "aborted by the operator: wrong branch"
    assert farm.aborts() == [("anna", *attempt.key)]
    farm.end("anna", AttemptEnd.ABORTED)
    assert farm.build(attempt.build_id).state is BuildState.CANCELLED
    assert farm.note(BuildAborted(attempt.build_id, "again")).stale


def test_a_forgotten_failure_is_built_again_when_somebody_asks() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    farm.fail("anna")
    assert isinstance(farm.ask(), KnownFailure)
    (failure,) = (row for row in farm.broker.rows.values() if isinstance(row, RememberedFailure))
    farm.send(FailureForgotten(failure))
    assert isinstance(farm.ask(), Dispatched)


def test_a_forgotten_failure_stays_forgotten_when_the_clock_is_set_back_while_the_metaserver_is_away() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    farm.fail("anna")
    farm.pass_time(BEAT_EVERY)
    farm.pass_time(BEAT_EVERY / 2)  # how long it is away is counted from before the failure is forgotten
    (failure,) = (row for row in farm.broker.rows.values() if isinstance(row, RememberedFailure))
    farm.send(FailureForgotten(failure))
    farm.broker.now -= 500
    farm.broker.crash()
    assert not isinstance(farm.ask(), KnownFailure)


def test_while_everything_is_held_no_build_starts_and_what_runs_goes_on() -> None:
    farm = Farm()
    farm.login("anna")
    first = farm.ask(spec(0))
    farm.send(DispatchHeld(held=True))
    farm.deliver("anna")
    assert farm.ends_told(first) == [RequestState.SATISFIED]
    second = farm.ask(spec(1))
    assert isinstance(second, Queued)
    farm.send(DispatchHeld(held=False))
    assert farm.running_on(second) == "anna"


def test_a_request_without_an_address_is_the_operators_own_and_gets_no_mail() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(email="", force=True)
    farm.deliver("anna")
    assert farm.ends_told(asked) == [RequestState.SATISFIED]
    assert farm.mails() == []


def test_who_did_it_is_written_down_with_every_act() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.note(ServerPaused("anna", "its disk is full", by="ann (uid 7)"))
    farm.note(BuildAborted(1, "wrong branch", by="ann (uid 7)"))
    farm.note(DispatchHeld(held=True, by="bob (uid 8)"))
    farm.note(ServerResumed("anna", by="bob (uid 8)"))
    told = {one.kind: one.detail for one in farm.broker.happened()}
    assert told["server-paused"] == "its disk is full; by ann (uid 7)"
    assert told["build-aborted"] == "wrong branch; by ann (uid 7)"
    assert told["dispatch-held"] == told["server-resumed"] == "by bob (uid 8)"
    assert farm.request(asked).reason == "wrong branch", "requesters are not told who it was"
    assert farm.server("anna").paused == ""


def test_what_nobody_could_build_before_the_configuration_changed_is_given_out_afterwards() -> None:
    farm = Farm({"lua": evolve(POLICY, options_digest="another")})
    farm.login("anna")
    asked = farm.ask()
    assert isinstance(asked, Queued)
    farm.broker.state.reconfigure({"lua": POLICY})
    farm.send(Reconfigured())
    assert farm.running_on(asked) == "anna"
