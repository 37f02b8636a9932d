"""Cancelling, sessions that take over, restarts, and reports that come too late."""

from attrs import evolve

from buildtool.model.records import AttemptEnd, AttemptState, BuildState, RequestState
from buildtool.model.servers import Held, Verdict
from buildtool.scheduling.answers import Cancelled, Dispatched, JoinedBuild, Queued
from buildtool.scheduling.effects import Fence, RequestMoved
from buildtool.scheduling.events import AttemptAccepted, AttemptEnded, Disconnected, Tick
from tests.scheduling.farm import Farm, NewRequest, begun
from tests.scheduling.worlds import POLICY, machine, spec, submitted

CANCELLED, SATISFIED, WAITING = RequestState.CANCELLED, RequestState.SATISFIED, RequestState.WAITING
X86 = {"os": "linux", "arch": "x86_64"}


# --- cancel ---------------------------------------------------------------------------------------------


def test_when_one_of_two_cancels_the_other_still_gets_the_build() -> None:
    farm = Farm()
    farm.login("anna")
    one, two = farm.ask(email="ann@example.org"), farm.ask(email="bob@example.org")
    assert farm.cancel(one) == Cancelled(farm.request(one))
    assert farm.ends_told(one) == [CANCELLED]
    assert farm.aborts() == []
    farm.deliver("anna")
    assert farm.ends_told(two) == [SATISFIED]
    assert farm.mailed() == [("bob@example.org", SATISFIED)]


def test_when_the_last_one_cancels_the_attempt_is_aborted_and_nobody_is_mailed() -> None:
    farm = Farm()
    farm.login("anna")
    one, two = farm.ask(), farm.ask()
    attempt = farm.attempt_on("anna")
    farm.cancel(one)
    farm.cancel(two)
    assert farm.aborts() == [("anna", *attempt.key)]
    assert farm.build_of(one).state is BuildState.CANCELLED
    assert farm.attempt(*attempt.key).state is AttemptState.ABORTING
    assert farm.mails() == []


def test_the_slot_of_an_aborted_attempt_is_free_only_when_its_server_says_that_it_ended() -> None:
    farm = Farm()
    farm.login("anna")
    farm.cancel(farm.ask(spec(0)))
    waiting = farm.ask(spec(1))
    assert isinstance(waiting, Queued)
    assert not farm.end("anna", AttemptEnd.ABORTED).stale
    assert farm.running_on(waiting) == "anna"


def test_cancelling_the_only_request_of_a_queued_build_ends_the_build() -> None:
    farm = Farm()
    asked = farm.ask()
    farm.cancel(asked)
    assert farm.build_of(asked).state is BuildState.CANCELLED
    farm.login("anna")
    assert farm.attempts() == []


def test_cancelling_twice_or_after_the_end_changes_nothing() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.deliver("anna")
    assert farm.cancel(asked) == Cancelled(None)
    assert farm.state(asked) is SATISFIED
    assert farm.ends_told(asked) == [SATISFIED]


def test_who_asks_again_after_the_last_one_cancelled_gets_a_build_of_their_own() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    first = farm.ask()
    farm.cancel(first)
    second = farm.ask()
    assert isinstance(second, Dispatched)
    assert second.build.id != farm.build_of(first).id


# --- too late -------------------------------------------------------------------------------------------


def test_what_an_aborted_attempt_still_delivers_is_stale_and_frees_its_slot() -> None:
    farm = Farm()
    farm.login("anna")
    farm.cancel(farm.ask(spec(0)))
    waiting = farm.ask(spec(1))
    attempt = farm.attempt_on("anna")
    assert farm.note(farm.delivery(attempt)).stale
    assert farm.artifacts() == []
    assert farm.attempt(*attempt.key).end is AttemptEnd.ABORTED
    assert farm.running_on(waiting) == "anna"


def test_a_failure_reported_by_an_aborted_attempt_is_nobodys() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.cancel(asked)
    farm.end("anna", AttemptEnd.FAILED)
    assert farm.state(asked) is CANCELLED
    assert isinstance(farm.ask(), Dispatched)


def test_an_aborted_attempt_that_is_only_now_taken_is_stale() -> None:
    farm = Farm()
    farm.login("anna")
    farm.cancel(farm.ask())
    attempt = farm.attempt_on("anna")
    assert farm.note(AttemptAccepted("anna", attempt.session, *attempt.key)).stale
    assert farm.attempt(*attempt.key).state is AttemptState.ABORTING


def test_a_build_has_started_when_a_server_first_took_it_not_when_it_was_offered() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.end("anna", AttemptEnd.REFUSED, "busy")
    assert farm.build_of(asked).started_at is None
    farm.pass_time(POLICY.refusal_first)
    farm.pass_time(1)
    begun = farm.broker.now
    farm.accept("anna")
    farm.pass_time(5)
    farm.end("anna", AttemptEnd.RETURNED)
    farm.pass_time(2 * POLICY.lost_ttl)  # it is the second time
    farm.accept("anna")
    assert farm.build_of(asked).started_at == begun


def test_reports_of_an_older_epoch_are_stale() -> None:
    farm, asked, old = begun()
    farm.end("anna", AttemptEnd.RETURNED)
    farm.pass_time(POLICY.lost_ttl)
    assert farm.running_on(asked) == "anna"
    assert farm.note(farm.delivery(old)).stale
    assert farm.end("anna", AttemptEnd.FAILED, attempt=old).stale
    assert farm.state(asked) is WAITING
    assert farm.build_of(asked).epoch == 2


def test_reports_of_another_session_are_stale() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    attempt = farm.attempt_on("anna")
    for session in (attempt.session - 1, attempt.session + 1):
        assert farm.note(AttemptEnded("anna", session, *attempt.key, AttemptEnd.FAILED, "late")).stale
        assert farm.note(AttemptAccepted("anna", session, *attempt.key)).stale
    assert farm.running_on(asked) == "anna"


def test_reports_in_the_name_of_another_server_are_stale() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("mallory")
    attempt = farm.attempt_on("anna")
    assert farm.note(AttemptEnded("mallory", attempt.session, *attempt.key, AttemptEnd.FAILED, "lie")).stale
    assert farm.running_on(asked) == "anna"


def test_the_same_delivery_twice_is_taken_once() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    event = farm.delivery(farm.attempt_on("anna"))
    assert [getattr(answer, "stale", None) for answer in farm.broker.send(event, event)] == [False, True]
    assert len(farm.artifacts()) == 1


# --- sessions -------------------------------------------------------------------------------------------


def test_a_second_login_fences_the_first_and_its_attempts_are_lost() -> None:
    farm, asked, attempt = begun()
    farm.login("bert")
    farm.login("anna")
    assert [effect for effect in farm.broker.told if isinstance(effect, Fence)] == [Fence("anna", 1)]
    assert farm.attempt(*attempt.key).end is AttemptEnd.LOST
    assert farm.running_on(asked) == "bert"
    assert farm.server("anna").session == 2
    assert farm.note(farm.delivery(attempt)).stale


def test_the_end_of_a_fenced_session_does_not_touch_the_new_one() -> None:
    farm = Farm()
    farm.login("anna")
    farm.login("anna")
    asked = farm.ask()
    assert farm.note(Disconnected("anna", 1, "closed")).stale
    assert farm.running_on(asked) == "anna"
    assert farm.server("anna").connected


def test_a_server_that_is_gone_is_given_nothing() -> None:
    farm = Farm()
    farm.login("anna")
    farm.logout("anna")
    assert isinstance(farm.ask(), Queued)


def test_contact_lost_while_aborting_blames_nobody() -> None:
    farm, asked, attempt = begun()
    farm.cancel(asked)
    farm.lose("anna")
    assert farm.attempt(*attempt.key).end is AttemptEnd.ABORTED
    assert farm.server("anna").strikes == 0


# --- restart --------------------------------------------------------------------------------------------


def test_a_restart_keeps_the_queue_and_what_was_running() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=1))
    running = farm.ask(spec(1))
    attempt = farm.accept("anna")
    queued = farm.ask(spec(0))

    farm.broker.crash()

    assert farm.build_of(running).state is BuildState.RUNNING
    assert farm.build_of(queued).state is BuildState.QUEUED
    assert farm.login("anna", held=[Held(*attempt.key)]) == {attempt.key: Verdict.GO_ON}
    farm.deliver("anna", farm.attempt(*attempt.key))
    assert farm.running_on(queued) == "anna"
    assert farm.ends_told(running) == [SATISFIED]


def test_an_attempt_that_its_server_does_not_bring_back_after_a_restart_can_deliver_no_more() -> None:
    farm, _, attempt = begun()
    farm.broker.crash()
    assert farm.note(farm.delivery(attempt)).stale
    farm.login("anna")
    assert farm.note(farm.delivery(attempt)).stale
    assert farm.artifacts() == []


def test_numbers_go_on_after_a_restart() -> None:
    farm = Farm()
    farm.login("anna")
    first = farm.ask(spec(0))
    farm.deliver("anna")
    farm.broker.crash()
    second = farm.ask(spec(1))
    assert second.request.id == first.request.id + 1
    assert farm.build_of(second).id == farm.build_of(first).id + 1
    assert isinstance(farm.ask(spec(1)), JoinedBuild)


# --- a database that refuses ----------------------------------------------------------------------------


def test_what_a_tick_decided_and_could_not_commit_is_decided_again_by_the_next() -> None:
    farm = Farm()
    expiring = farm.ask(spec(0, platform={"os": "linux", "arch": "ppc"}))
    farm.login("anna")
    refused = farm.ask(spec(1))
    farm.end("anna", AttemptEnd.REFUSED)
    farm.broker.now += POLICY.request_ttl - 1.0
    farm.broker.send(Tick(), commit=False)
    assert farm.running_on(refused) == ""
    farm.pass_time(0.0)
    assert farm.running_on(refused) == "anna"
    farm.broker.now += 1.0
    farm.broker.send(Tick(), commit=False)
    assert farm.state(expiring) is WAITING
    farm.pass_time(0.0)
    assert farm.ends_told(expiring) == [RequestState.EXPIRED]


def test_a_request_that_could_not_be_committed_may_be_sent_again() -> None:
    farm = Farm()
    event = submitted("one")
    assert farm.broker.send(event, commit=False) == []
    answer = farm.send(event)
    assert isinstance(answer, Queued)
    assert answer.request.id == 1


# --- followers ------------------------------------------------------------------------------------------


def test_followers_hear_of_every_step_of_their_build() -> None:
    farm = Farm()
    asked = farm.ask()
    farm.login("anna")
    farm.accept("anna")
    farm.end("anna", AttemptEnd.RETURNED)
    farm.login("bert")
    farm.accept("bert")
    farm.deliver("bert")
    moves = [
        (effect.build_state, effect.epoch, effect.server)
        for effect in farm.broker.told
        if isinstance(effect, RequestMoved) and effect.request.id == asked.request.id
    ]
    assert moves == [
        ("queued", 0, ""),
        ("running", 1, "anna"),
        ("running", 1, "anna"),
        ("queued", 1, ""),
        ("running", 2, "bert"),
        ("running", 2, "bert"),
        ("", 0, ""),
    ]


# --- what is built again ----------------------------------------------------------------------------------------


def rebuilt(digest: str = "") -> tuple[Farm, NewRequest]:
    """Build something, ask for it by force, and deliver bytes with this digest, or the same."""
    farm = Farm()
    farm.login("anna")
    farm.ask()
    first = farm.deliver("anna")
    asked = farm.ask(force=True)
    farm.note(evolve(farm.delivery(farm.attempt_on("anna")), digest=digest or first.digest))
    return farm, asked


def test_a_build_made_again_with_other_bytes_succeeds_and_says_so() -> None:
    farm, asked = rebuilt("f" * 64)
    first, _ = farm.artifacts()
    said = (
        f"not the same bytes as build {first.build_id} made of the same on anna: "
        f"SHA-256 {first.digest[:12]}... before, ffffffffffff... now"
    )
    assert (farm.build_of(asked).state, farm.build_of(asked).reason) == (BuildState.SUCCEEDED, said)
    assert (farm.state(asked), farm.request(asked).reason) == (SATISFIED, said)


def test_a_build_made_again_with_the_same_bytes_says_nothing() -> None:
    farm, asked = rebuilt()
    assert (farm.build_of(asked).reason, farm.request(asked).reason) == ("", "")


# --- what it used ---------------------------------------------------------------------------------------


def test_what_an_attempt_used_of_processors_is_kept_with_its_end_however_that_was() -> None:
    farm = Farm()
    for name in ("anna", "bert"):
        farm.login(name)
    farm.ask(spec(0))
    first = farm.attempt_on("anna")
    farm.accept("anna")
    farm.note(AttemptEnded("anna", first.session, *first.key, AttemptEnd.RETURNED, "the owner is there", "", 12.5))
    second = farm.attempt_on("bert")
    farm.note(evolve(farm.delivery(second), processor=3.25))
    assert [farm.attempt(*one.key).processor for one in (first, second)] == [12.5, 3.25]
