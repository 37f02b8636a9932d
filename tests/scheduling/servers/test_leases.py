"""Leases: a lost connection ends nothing, what is not heard of goes missing, and what comes back goes on."""

from attrs import evolve

from buildtool.model.records import Attempt, AttemptEnd, AttemptState, BuildState, RequestState
from buildtool.model.servers import Held, HeldState, Verdict
from buildtool.scheduling.answers import HeldVerdicts, Queued
from buildtool.scheduling.effects import Fence
from buildtool.scheduling.events import ArtifactUnkept, AttemptEnded, ClockStepped, Delivered, DrainBegun, HeldReported
from buildtool.scheduling.state.lease_table import LEASE, OVERDUE
from buildtool.scheduling.state.timers import OWNER_TOLD_AFTER
from tests.scheduling.farm import Farm, NewRequest, begun
from tests.scheduling.worlds import POLICY, machine, spec

SATISFIED, FAILED, WAITING = RequestState.SATISFIED, RequestState.FAILED, RequestState.WAITING


def holding(attempt: Attempt, state: HeldState = HeldState.BUILDING) -> Held:
    return Held(*attempt.key, state)


def overtaken() -> tuple[Farm, NewRequest, Attempt]:
    """Return what ``begun`` does, after anna was lost and the Build went to bert."""
    farm, asked, late = begun()
    farm.login("bert")
    farm.lose("anna")
    return farm, asked, late


# --- contact that is lost -------------------------------------------------------------------------------


def test_a_lost_connection_ends_nothing_and_who_comes_back_in_time_goes_on() -> None:
    farm = Farm()
    farm.login("anna")
    farm.login("bert")
    asked = farm.ask()
    attempt = farm.accept("anna")
    farm.logout("anna")
    farm.pass_time(LEASE - 1.0)
    assert farm.running_on(asked) == "anna"
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.GO_ON}
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]
    assert farm.server("anna").strikes == 0


def test_what_a_machine_has_that_never_comes_back_goes_to_others_at_once_and_is_held_against_nobody() -> None:
    farm, asked, attempt = begun()
    farm.login("bert")
    farm.logout("anna", "its key was revoked", clean=True, final=True)
    assert farm.running_on(asked) == "bert"
    ended = farm.attempt(*attempt.key)
    assert (ended.end, ended.reason) == (AttemptEnd.RETURNED, "its key was revoked")
    assert (farm.build_of(asked).broken_on, farm.server("anna").strikes) == ((), 0)


def test_what_is_missing_at_a_machine_that_never_comes_back_is_waited_for_no_longer() -> None:
    farm, _, late = overtaken()
    farm.login("anna", held=[holding(late, HeldState.DONE)])
    assert farm.attempt(*late.key).state is AttemptState.MISSING
    farm.logout("anna", "its key was revoked", clean=True, final=True)
    assert farm.attempt(*late.key).state is AttemptState.ENDED


def test_what_is_finished_meanwhile_is_to_be_delivered() -> None:
    farm, asked, attempt = begun()
    farm.logout("anna")
    assert farm.login("anna", held=[holding(attempt, HeldState.DONE)]) == {attempt.key: Verdict.DELIVER}
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]


def test_an_attempt_that_is_not_heard_of_for_a_term_is_missing_and_its_build_goes_to_somebody_else() -> None:
    farm, asked, attempt = overtaken()
    assert farm.attempt(*attempt.key).state is AttemptState.MISSING
    assert farm.running_on(asked) == "bert"
    build = farm.build_of(asked)
    assert (build.epoch, build.broken_on) == (2, ("anna",))
    assert farm.server("anna").strikes == 1


def test_an_attempt_that_its_server_is_silent_about_goes_missing_though_the_connection_is_open() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    first, second = farm.ask(spec(0)), farm.ask(spec(1))
    for _ in farm.attempts():
        farm.accept("anna")
    kept, dropped = sorted(farm.attempts(), key=lambda row: row.key)
    farm.silent.add("anna")
    for _ in range(5):
        farm.pass_time(15.0)
        farm.heartbeat("anna", holding(kept))
    assert farm.running_on(first) == "anna"
    assert farm.attempt(*dropped.key).state is AttemptState.MISSING
    assert farm.running_on(second) == ""


def test_an_artifact_that_finds_no_room_releases_its_slot() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    attempt, second, third = farm.accept("anna"), farm.ask(spec(1)), farm.ask(spec(2))
    farm.send(ArtifactUnkept("anna", attempt.session, *attempt.key, "no space left"))
    assert (farm.running_on(second), farm.running_on(third)) == ("anna", "")


def test_an_artifact_of_a_missing_attempt_that_finds_no_room_releases_no_slot_since_it_has_none() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    attempt, second, third = farm.accept("anna"), farm.ask(spec(1)), farm.ask(spec(2))
    farm.silent.add("anna")
    for _ in range(5):
        farm.pass_time(15.0)
        farm.heartbeat("anna")
    assert farm.attempt(*attempt.key).state is AttemptState.MISSING
    assert farm.running_on(second) == "anna"
    farm.send(ArtifactUnkept("anna", attempt.session, *attempt.key, "no space left"))
    assert farm.running_on(third) == ""


def test_a_heartbeat_lets_every_lease_that_it_names_begin_anew() -> None:
    farm, asked, _ = begun()
    farm.pass_time(20 * LEASE)
    assert farm.running_on(asked) == "anna"


def test_a_heartbeat_of_an_older_session_renews_nothing() -> None:
    farm, _, attempt = begun()
    farm.login("anna", held=[holding(attempt)])
    assert farm.send(HeldReported("anna", 1, (holding(attempt),))) == HeldVerdicts(stale=True)


# --- coming back ----------------------------------------------------------------------------------------


def test_who_comes_back_before_the_build_went_elsewhere_goes_on_at_the_same_epoch_and_nothing_was_its_fault() -> None:
    farm, asked, attempt = begun()
    farm.lose("anna")
    assert (farm.build_of(asked).state, farm.server("anna").strikes) == (BuildState.QUEUED, 1)
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.GO_ON}
    build = farm.build_of(asked)
    assert (build.state, build.epoch, build.broken_on) == (BuildState.RUNNING, 1, ())
    assert farm.server("anna").strikes == 0
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]


def test_a_quarantine_that_a_missed_lease_led_to_is_lifted_on_return() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=1)})
    farm.login("anna")
    asked = farm.ask()
    attempt = farm.accept("anna")
    farm.silent.add("anna")
    farm.pass_time(LEASE)
    assert farm.server("anna").quarantined_until > farm.broker.now
    assert farm.heartbeat("anna", holding(attempt)) == {}, "it simply goes on"
    assert farm.server("anna").quarantined_until == 0.0
    assert farm.running_on(asked) == "anna"


def test_a_late_success_closes_the_build_and_aborts_the_newer_attempt() -> None:
    farm, asked, late = overtaken()
    newer = farm.accept("bert")
    assert farm.login("anna", held=[holding(late, HeldState.DONE)]) == {late.key: Verdict.DELIVER}
    farm.deliver("anna", farm.attempt(*late.key))
    assert farm.ends_told(asked) == [SATISFIED]
    assert farm.aborts() == [("bert", *newer.key)]
    assert farm.build_of(asked).deciding_epoch == 1


def test_a_late_success_counts_also_while_the_build_waits_again() -> None:
    farm, asked, late = overtaken()
    farm.end("bert", AttemptEnd.REFUSED)
    assert farm.build_of(asked).state is BuildState.QUEUED
    farm.login("anna", held=[holding(late, HeldState.DONE)])
    farm.deliver("anna", farm.attempt(*late.key))
    assert farm.ends_told(asked) == [SATISFIED]


def test_a_late_failure_is_only_written_down() -> None:
    farm, asked, late = overtaken()
    assert farm.login("anna", held=[holding(late, HeldState.ENDED)]) == {late.key: Verdict.DROP}
    assert farm.running_on(asked) == "bert"
    assert farm.build_of(asked).failed_on == ()
    assert any(one.kind == "late-end" for one in farm.broker.happened())


def test_a_late_failure_of_a_build_that_went_to_nobody_else_counts() -> None:
    farm, asked, late = begun()
    farm.lose("anna")
    assert farm.login("anna", held=[holding(late, HeldState.ENDED)]) == {late.key: Verdict.DELIVER}
    farm.end("anna", AttemptEnd.FAILED, "cc: error", farm.attempt(*late.key))
    assert farm.ends_told(asked) == [FAILED]


def test_who_still_builds_what_somebody_else_has_by_now_is_told_to_drop_it() -> None:
    farm, _, late = overtaken()
    assert farm.login("anna", held=[holding(late)]) == {late.key: Verdict.DROP}
    assert farm.note(farm.delivery(farm.attempt(*late.key))).stale


def test_what_a_server_does_not_bring_back_is_lost() -> None:
    farm, asked, attempt = begun()
    farm.login("bert")
    farm.logout("anna")
    farm.login("anna")
    assert farm.attempt(*attempt.key).end is AttemptEnd.LOST
    assert farm.running_on(asked) == "bert"


def test_what_nobody_waits_for_any_more_is_to_be_dropped() -> None:
    farm, asked, attempt = begun()
    farm.logout("anna")
    farm.cancel(asked)
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.DROP}
    assert farm.attempt(*attempt.key).state is AttemptState.ABORTING, "until its processes are gone"
    farm.end("anna", AttemptEnd.ABORTED, "as told", farm.attempt(*attempt.key))
    assert farm.attempt(*attempt.key).state is AttemptState.ENDED


def test_an_abort_that_got_lost_is_repeated_by_the_answer_to_a_heartbeat() -> None:
    farm, asked, attempt = begun()
    farm.cancel(asked)
    assert farm.heartbeat("anna", holding(attempt)) == {attempt.key: Verdict.DROP}


def test_nobody_can_bring_back_what_is_somebody_elses() -> None:
    farm, asked, attempt = begun()
    farm.login("bert")
    assert farm.login("bert", held=[holding(attempt, HeldState.DONE)]) == {attempt.key: Verdict.DROP}
    assert farm.note(Delivered("bert", 2, *attempt.key, "d" * 64, "c" * 64, 1, "a.zip", 1.0)).stale
    assert farm.running_on(asked) == "anna"


def test_the_newest_login_fences_the_older_one_and_takes_over_what_it_brings() -> None:
    farm, asked, attempt = begun()
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.GO_ON}
    assert Fence("anna", 1) in farm.broker.told
    old = AttemptEnded("anna", 1, *attempt.key, AttemptEnd.FAILED, "from the older session")
    assert farm.note(old).stale
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]


def test_an_order_that_never_reached_its_server_costs_only_the_delay_before_the_next_try() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.broker.crash()
    farm.login("anna")
    assert farm.running_on(asked) == ""
    farm.pass_time(POLICY.retry_first)
    assert farm.running_on(asked) == "anna"
    assert (farm.server("anna").strikes, farm.build_of(asked).broken_on) == (0, ())


# --- the metaserver's own restart -----------------------------------------------------------------------


def test_what_a_server_brings_back_is_building_though_its_acceptance_got_lost_and_a_breakage_counts() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    offered = farm.attempt_on("anna")
    farm.logout("anna")
    assert farm.login("anna", held=[holding(offered)]) == {offered.key: Verdict.GO_ON}
    attempt = farm.attempt(*offered.key)
    assert (attempt.state, attempt.accepted_at) == (AttemptState.BUILDING, farm.broker.now)
    assert farm.build_of(asked).started_at == farm.broker.now
    farm.logout("anna")
    farm.login("anna")
    assert farm.build_of(asked).broken_on == ("anna",), "it took the machine down"
    assert farm.server("anna").strikes == 1


def test_after_a_restart_every_lease_gets_a_fresh_full_term() -> None:
    farm, asked, attempt = begun()
    farm.silent.add("anna")
    farm.pass_time(LEASE - 1.0)
    farm.broker.crash()
    farm.pass_time(LEASE - 1.0)
    assert farm.build_of(asked).state is BuildState.RUNNING
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.GO_ON}
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]


def test_who_does_not_come_back_after_a_restart_is_missing_after_a_term() -> None:
    farm, asked, _ = begun()
    farm.broker.crash()
    farm.login("bert")
    farm.pass_time(LEASE)
    assert farm.running_on(asked) == "bert"


def test_a_missing_attempt_comes_back_across_a_restart() -> None:
    farm, asked, attempt = begun()
    farm.lose("anna")
    farm.broker.crash()
    assert farm.login("anna", held=[holding(attempt)]) == {attempt.key: Verdict.GO_ON}
    assert farm.server("anna").strikes == 0
    assert farm.running_on(asked) == "anna"


def test_a_failure_that_waits_to_be_confirmed_survives_a_restart_until_the_others_had_time_to_come_back() -> None:
    farm = Farm()
    farm.login("anna")
    farm.login("bert")
    blocker = farm.ask(spec(1))
    asked = farm.ask(spec(0))
    first = farm.running_on(asked)
    other = farm.running_on(blocker)
    farm.accept(first)
    farm.end(first, AttemptEnd.FAILED, "cc: error")
    assert farm.state(asked) is WAITING
    farm.broker.crash()
    farm.login(first)
    assert farm.state(asked) is WAITING, "the one that could confirm it is expected back"
    farm.login(other)
    assert farm.running_on(asked) == other


# --- what takes too long, clocks, owners, leaving -------------------------------------------------------


def test_an_attempt_that_is_long_overdue_is_ended_whatever_its_server_says() -> None:
    farm = Farm({"lua": evolve(POLICY, time_limit=100.0, request_ttl=1e6)})
    farm.login("anna")
    farm.login("bert", machine(memory=8192))
    asked = farm.ask()
    on = farm.running_on(asked)
    attempt = farm.accept(on)
    farm.pass_time(100.0 + OVERDUE)
    assert farm.attempt(*attempt.key).end is AttemptEnd.LIMITED
    assert (on, *attempt.key) in farm.aborts()
    assert farm.heartbeat(on, holding(attempt)) == {attempt.key: Verdict.DROP}
    assert farm.running_on(asked) not in ("", on)


def test_a_clock_that_is_set_changes_no_lease_delay_refusal_or_quarantine() -> None:
    for step in (3_600.0, -3_600.0):
        farm = Farm({"lua": evolve(POLICY, strikes=1)})
        farm.login("anna")
        farm.login("bert")
        running, broken = farm.ask(spec(0)), farm.ask(spec(1))
        farm.accept(farm.running_on(running))
        bad = farm.running_on(broken)
        farm.break_down(bad)
        until = farm.server(bad).quarantined_until
        refusals = {key: row.until for key, row in farm.broker.state.refusals.items()}
        farm.broker.now += step
        farm.send(ClockStepped(step))
        farm.pass_time(0.0)
        assert farm.running_on(running) != ""
        assert farm.server(bad).quarantined_until == until + step
        assert {key: row.until for key, row in farm.broker.state.refusals.items()} == {
            key: old + step for key, old in refusals.items()
        }
        attempt = farm.attempt(farm.build_of(running).id, 1)
        farm.silent.add(attempt.server)
        farm.pass_time(LEASE)
        ended = farm.attempt(*attempt.key)
        assert ended.state is AttemptState.MISSING, "and a lease ends after its term, not an hour later"


def test_a_build_that_waits_to_be_tried_again_waits_as_long_when_the_clock_is_set() -> None:
    for step in (3_600.0, -3_600.0, 0.5):
        farm = Farm()
        farm.login("anna")
        asked = farm.ask()
        farm.login("anna")
        rest = farm.build_of(asked).not_before - farm.broker.now
        assert rest > 0
        farm.broker.now += step
        farm.send(ClockStepped(step))
        assert farm.build_of(asked).not_before - farm.broker.now == rest
        farm.pass_time(rest / 2)
        assert farm.running_on(asked) == ""
        farm.login("bert")
        farm.pass_time(rest / 2)
        assert farm.running_on(asked) != ""


def test_a_clock_that_was_set_back_while_the_metaserver_was_away_lets_nothing_wait_longer_than_it_ever_may() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=1)})
    farm.login("anna")
    asked = farm.ask()
    farm.break_down("anna")
    farm.login("bert")
    farm.lose("bert")
    assert farm.build_of(asked).not_before > farm.broker.now
    farm.broker.now -= 86_400.0
    farm.broker.crash()
    now = farm.broker.now
    assert now < farm.server("anna").quarantined_until <= now + POLICY.quarantine_most
    assert now < farm.build_of(asked).not_before <= now + POLICY.retry_most
    assert all(now < row.until <= now + POLICY.refusal_ttl for row in farm.broker.state.refusals.values())


def test_the_owner_of_a_machine_that_is_missing_for_an_hour_gets_one_mail() -> None:
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="Ann Owner <ann@example.org>"))
    farm.logout("anna")
    farm.pass_time(OWNER_TOLD_AFTER - 1.0)
    assert farm.mails() == []
    farm.pass_time(10 * OWNER_TOLD_AFTER)
    (mail,) = farm.mails()
    assert (mail.email, mail.server, mail.request_ids) == ("ann@example.org", "anna", ())


def test_an_owner_whose_machine_said_good_bye_or_is_back_gets_none() -> None:
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="ann@example.org"))
    farm.logout("anna", clean=True)
    farm.login("bert", evolve(machine(), admin="bob@example.org"))
    farm.logout("bert")
    farm.pass_time(60.0)
    farm.login("bert", evolve(machine(), admin="bob@example.org"))
    farm.pass_time(2 * OWNER_TOLD_AFTER)
    assert farm.mails() == []


def test_a_restart_gives_the_owners_of_missing_machines_a_fresh_hour() -> None:
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="ann@example.org"))
    farm.pass_time(OWNER_TOLD_AFTER)
    farm.broker.crash()
    farm.pass_time(OWNER_TOLD_AFTER - 1.0)
    assert farm.mails() == []
    farm.pass_time(1.0)
    assert [mail.email for mail in farm.mails()] == ["ann@example.org"]


def test_an_owner_who_was_told_is_not_told_again_however_often_the_metaserver_starts() -> None:
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="ann@example.org"))
    farm.logout("anna")
    farm.pass_time(OWNER_TOLD_AFTER)
    for _ in range(3):
        farm.broker.crash()
        farm.pass_time(2 * OWNER_TOLD_AFTER)
    assert list(farm.broker.mailed.values()) == [1]
    assert sum(one.kind == "server-missing" for one in farm.broker.happened()) == 1


def test_a_server_that_drains_finishes_what_it_has_and_is_given_nothing_more_until_it_comes_back() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    asked = farm.ask(spec(0))
    assert not farm.note(DrainBegun("anna", 1, "its owner wants it back")).stale
    assert isinstance(farm.ask(spec(1)), Queued)
    farm.deliver("anna")
    assert farm.ends_told(asked) == [SATISFIED]
    assert len(farm.attempts()) == 1
    farm.logout("anna", clean=True)
    farm.login("anna")
    assert len(farm.attempts()) == 2
