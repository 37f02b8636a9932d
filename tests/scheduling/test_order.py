"""Which Build goes where and when: first come first served among those that compete, refusals, delays, expiry."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.records import AttemptEnd, AttemptState, BuildState, JoinReason, RequestState
from buildtool.model.servers import OfferKind, ProjectSkill
from buildtool.scheduling.answers import Dispatched, Queued
from buildtool.scheduling.decision import DecisionContext
from buildtool.scheduling.dispatching import fill, may_take, start_somewhere
from buildtool.scheduling.effects import Dispatch
from buildtool.scheduling.events import AttemptAccepted, ServerPaused
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.waiting import lines
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import OPTIONS, POLICY, machine, spec

X86 = {"os": "linux", "arch": "x86_64"}
PPC = {"os": "linux", "arch": "ppc"}
SHORT = evolve(POLICY, request_ttl=1_000.0)
"""Whose Requests end before a build is overdue."""

EXPIRED, WAITING = RequestState.EXPIRED, RequestState.WAITING


def test_a_build_queues_until_a_capable_server_registers() -> None:
    farm = Farm()
    farm.login("anna", machine(arch="aarch64"))
    asked = farm.ask(spec(platform=PPC))
    assert isinstance(asked, Queued)
    farm.login("bert", machine(arch="x86_64"))
    assert farm.running_on(asked) == ""
    farm.login("carl", machine(arch="x86_64", cross=("ppc",)))
    assert farm.running_on(asked) == "carl"


def test_a_server_with_another_recipe_or_other_descriptions_gets_nothing() -> None:
    farm = Farm()
    farm.login("anna", machine(skill=ProjectSkill("lua", 2, OPTIONS.digest())))
    farm.login("bert", machine(skill=ProjectSkill("lua", 3, "0" * 64)))
    farm.login("carl", machine(skill=ProjectSkill("zlib", 3, OPTIONS.digest())))
    assert isinstance(farm.ask(), Queued)


def test_a_server_that_announces_more_gets_what_waits_for_that() -> None:
    farm = Farm()
    farm.login("anna", machine(memory=512))
    asked = farm.ask(spec(machine={"memory": 1024}, platform=X86))
    assert isinstance(asked, Queued)
    farm.login("anna", machine(memory=1024))
    assert farm.running_on(asked) == "anna"


def test_a_server_takes_as_many_builds_at_once_as_it_says() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    asked = [farm.ask(spec(revision)) for revision in range(3)]
    assert [farm.running_on(one) for one in asked] == ["anna", "anna", ""]


def test_builds_that_compete_are_served_in_the_order_of_admission() -> None:
    farm = Farm()
    asked = [farm.ask(spec(revision)) for revision in (3, 0, 2, 1)]
    farm.login("anna")
    for one in asked:
        assert farm.running_on(one) == "anna"
        farm.deliver("anna")


def test_builds_of_different_needs_that_compete_for_one_server_are_served_in_the_order_of_admission() -> None:
    farm = Farm()
    asked = [
        farm.ask(spec(0, platform=PPC)),
        farm.ask(spec(0, platform=X86)),
        farm.ask(spec(1, machine={"memory": 64}, platform=PPC)),
        farm.ask(spec(1, platform=X86)),
    ]
    farm.login("anna", machine(cross=("ppc",)))
    for one in asked:
        assert farm.running_on(one) == "anna"
        farm.deliver("anna")


def test_a_build_that_no_server_can_take_delays_nobody() -> None:
    farm = Farm()
    stuck = farm.ask(spec(platform=PPC))
    later = farm.ask(spec(platform=X86))
    farm.login("anna", machine(arch="x86_64"))
    assert farm.running_on(stuck) == ""
    assert farm.running_on(later) == "anna"


def test_a_build_that_is_retried_keeps_its_place() -> None:
    farm = Farm()
    farm.login("anna")
    first = farm.ask(spec(0))
    second, third = farm.ask(spec(1)), farm.ask(spec(2))
    farm.end("anna", AttemptEnd.RETURNED)
    assert farm.running_on(second) == "anna"
    farm.pass_time(POLICY.lost_ttl)
    assert farm.running_on(first) == ""
    farm.deliver("anna")
    assert farm.running_on(first) == "anna"
    assert farm.running_on(third) == ""


def test_native_beats_cross_beats_emulated() -> None:
    def emulating(name: str) -> None:
        capability = machine(arch="x86_64", cross=("ppc",))
        offers = tuple(evolve(offer, kind=OfferKind.EMULATED) for offer in capability.offers[1:])
        farm.login(name, evolve(capability, offers=offers))

    farm = Farm()
    emulating("anna")
    farm.login("bert", machine(arch="x86_64", cross=("ppc",)))
    farm.login("carl", machine(arch="ppc"))
    asked = [farm.ask(spec(revision, platform=PPC)) for revision in range(3)]
    assert [farm.running_on(one) for one in asked] == ["carl", "bert", "anna"]


def test_a_machine_that_offers_a_platform_twice_makes_it_natively() -> None:
    farm = Farm()
    capability = machine(arch="x86_64", cross=("x86_64",))
    farm.login("anna", evolve(capability, offers=capability.offers[::-1]))
    farm.ask(spec(platform=X86))
    assert farm.attempt_on("anna").kind is OfferKind.NATIVE


def test_a_native_build_waits_for_a_native_machine() -> None:
    farm = Farm()
    farm.login("anna", machine(arch="x86_64", cross=("ppc",)))
    asked = farm.ask(evolve(spec(platform=PPC), native=True))
    assert isinstance(asked, Queued)
    farm.login("bert", machine(arch="ppc"))
    assert farm.running_on(asked) == "bert"


def test_the_least_loaded_server_is_preferred_and_then_the_one_with_more_processors() -> None:
    farm = Farm()
    big, small = machine(max_builds=2), machine(max_builds=2)
    farm.login("anna", small)
    farm.login("bert", evolve(big, machine=(("cpus", 64), ("memory", 4096))))
    asked = [farm.ask(spec(revision)) for revision in range(4)]
    assert [farm.running_on(one) for one in asked] == ["bert", "anna", "bert", "anna"]


def test_who_is_admitted_anew_does_not_overtake_an_older_build_that_waits_for_the_same_slot() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    older = farm.ask(spec(3))
    ranged = farm.ask(spec(0), near=1)
    farm.fail("anna")
    assert farm.running_on(older) == "anna"
    assert farm.running_on(ranged) == ""


def test_who_is_admitted_anew_keeps_their_place_before_who_came_later() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    ranged = farm.ask(spec(0), near=1)
    younger = farm.ask(spec(3))
    farm.fail("anna")
    assert farm.running_on(ranged) == "anna"
    assert farm.running_on(younger) == ""


def test_who_is_admitted_anew_into_a_younger_build_brings_their_place_along() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    ranged = farm.ask(spec(0), near=1)
    second = farm.ask(spec(3))
    third = farm.ask(spec(0))
    farm.fail("anna")
    assert farm.build_of(third).id == farm.build_of(ranged).id
    assert farm.running_on(ranged) == "anna"
    assert farm.running_on(second) == ""


@pytest.mark.parametrize("how", [AttemptEnd.MISTAKEN, AttemptEnd.FAILED])
def test_the_place_that_was_brought_along_stays_with_the_build_when_it_starts(how: AttemptEnd) -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    ranged = farm.ask(spec(0), near=1)
    second, third = farm.ask(spec(3)), farm.ask(spec(2))
    farm.ask(spec(0))
    farm.end("anna", how)
    assert farm.running_on(ranged) == "anna"
    assert farm.build_of(ranged).place == ranged.request.id

    farm.end("anna", AttemptEnd.REFUSED)
    assert farm.running_on(second) == "anna"
    farm.pass_time(POLICY.refusal_first)
    farm.deliver("anna")
    assert farm.running_on(ranged) == "anna"
    assert farm.running_on(third) == ""


def test_who_is_admitted_anew_does_not_overtake_the_build_whose_attempt_they_had_joined() -> None:
    farm = Farm()
    farm.login("anna", machine(memory=512))
    older = farm.ask(spec(1, platform={"os": "linux"}))
    joined = farm.ask(spec(0, machine={"memory": 1024}, platform={"os": "linux", "arch": "x86_64"}), near=1)
    assert farm.build_of(joined).id == farm.build_of(older).id
    farm.login("bert")
    farm.accept("anna")
    farm.end("anna", AttemptEnd.BROKEN)
    assert farm.running_on(older) == "bert"


def test_a_failure_that_a_login_makes_final_does_not_let_newer_builds_overtake() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(1))
    farm.login("bert")
    blocked = farm.ask(spec(4))
    older = farm.ask(spec(3, platform=PPC))
    ranged = farm.ask(spec(0), near=1)
    farm.fail("anna")
    farm.logout("anna")
    assert farm.running_on(blocked) == "bert"
    farm.login("bert", machine(arch="ppc"))
    assert farm.running_on(older) == "bert"
    assert farm.ends_told(ranged) == []


def test_two_builds_lost_with_one_server_keep_their_order_where_there_is_one_other_slot() -> None:
    farm = Farm()
    older, newer = farm.ask(spec(0)), farm.ask(spec(1))
    farm.login("anna", machine(max_builds=2))
    first = next(row for row in farm.attempts() if row.build_id == farm.build_of(older).id)
    farm.end("anna", AttemptEnd.REFUSED, attempt=first)
    farm.pass_time(POLICY.refusal_first)
    assert farm.running_on(older) == farm.running_on(newer) == "anna"
    for attempt in farm.attempts():
        if attempt.state is AttemptState.OFFERED:
            farm.send(AttemptAccepted("anna", attempt.session, *attempt.key))
    farm.login("bert")
    farm.lose("anna")
    assert (farm.running_on(older), farm.running_on(newer)) == ("bert", "")


def test_who_left_a_lost_build_does_not_overtake_an_older_one_that_was_lost_with_it() -> None:
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    lost = farm.ask(spec(0, platform={"os": "linux"}))
    older = farm.ask(spec(2))
    joined = farm.ask(spec(0, platform=X86))
    assert farm.request(joined).joined is JoinReason.ATTEMPT
    farm.cancel(lost)
    farm.login("bert")
    for attempt in list(farm.attempts()):
        farm.send(AttemptAccepted("anna", attempt.session, *attempt.key))
    farm.lose("anna")
    assert (farm.running_on(older), farm.running_on(joined)) == ("bert", "")


def test_who_is_admitted_anew_from_several_builds_at_once_comes_in_the_order_of_admission() -> None:
    """Two failures become final together; who had joined the younger build asked first, and there is one slot."""
    farm = Farm()
    farm.login("anna", machine(max_builds=2))
    failing = farm.ask(spec(0)), farm.ask(spec(4))
    farm.login("bert")
    farm.ask(spec(2, jit=True))
    first, second = farm.ask(spec(3), near=1), farm.ask(spec(1), near=1)
    assert [farm.request(one).joined for one in (first, second)] == [JoinReason.RANGE] * 2
    filler = farm.ask(spec(0, jit=True))
    for attempt in list(farm.attempts())[:2]:
        farm.end("anna", AttemptEnd.FAILED, attempt=attempt)
    assert farm.running_on(filler) == "anna"
    farm.login("bert", machine(arch="ppc"))
    assert [farm.state(one) for one in failing] == [RequestState.FAILED] * 2
    assert (farm.running_on(first), farm.running_on(second)) == ("anna", "")


# --- refusals -------------------------------------------------------------------------------------------


def refuse(farm: Farm, asked: NewRequest) -> float:
    """The server refuses what it was just offered; return for how long that is remembered."""
    farm.end("anna", AttemptEnd.REFUSED, "a checker said no")
    return farm.broker.state.refusals[farm.build_of(asked).id, "anna"].until - farm.broker.now


def test_a_refusal_is_remembered_twice_as_long_each_time_up_to_a_limit_and_then_retried() -> None:
    farm = Farm({"lua": evolve(POLICY, refusal_first=10.0, refusal_ttl=35.0)})
    farm.login("anna")
    asked = farm.ask()
    for expected in (10.0, 20.0, 35.0, 35.0):
        assert farm.running_on(asked) == "anna"
        assert refuse(farm, asked) == expected
        farm.pass_time(expected - 1.0)
        assert farm.running_on(asked) == ""
        farm.pass_time(1.0)


DECLINES = {
    AttemptEnd.REFUSED: (POLICY.refusal_first, POLICY.refusal_ttl),
    AttemptEnd.RETURNED: (POLICY.lost_ttl, POLICY.quarantine_most),
    AttemptEnd.LIMITED: (POLICY.refusal_ttl, POLICY.limited_most),
}
"""How a machine gives up a build that nothing is held against it for: seconds without it at first, and at most."""


@given(st.lists(st.tuples(st.sampled_from(list(DECLINES)), st.booleans(), st.floats(0, 50)), min_size=1, max_size=7))
def test_whatever_a_declining_machine_does_it_holds_a_build_less_and_less_and_a_free_one_has_it_in_between(
    ends: list[tuple[AttemptEnd, bool, float]],
) -> None:
    farm = Farm({"lua": evolve(POLICY, request_ttl=30 * 86_400.0)})
    farm.login("anna")
    asked = farm.ask()
    for count, (how, takes, held) in enumerate(ends):
        assert farm.running_on(asked) == "anna"
        if takes:
            farm.accept("anna")
            farm.pass_time(held)
        farm.end("anna", how, "no")
        first, most = DECLINES[how]
        rest = farm.broker.state.refusals[farm.build_of(asked).id, "anna"].until - farm.broker.now
        assert rest == pytest.approx(min(most, first * 2.0**count))
        if count + 1 < len(ends):
            farm.pass_time(rest + 0.1)
    farm.login("bert")
    assert farm.running_on(asked) == "bert"


def test_who_waits_is_told_how_often_a_machine_gave_it_up() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.break_down("anna", AttemptEnd.RETURNED, "its owner is there")
    farm.pass_time(POLICY.lost_ttl)
    farm.break_down("anna", AttemptEnd.RETURNED, "its owner is there")
    assert "anna: handed it back: its owner is there (is asked again in 60 s, 2 times by now)" in lines(farm.why(asked))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (AttemptEnd.REFUSED, "anna: declined: no disk (is asked again in "),
        (AttemptEnd.BROKEN, "anna: broke: no disk (is asked again in "),
        (AttemptEnd.LIMITED, "anna: reached its limit: no disk (is asked again in "),
        (AttemptEnd.RETURNED, "anna: handed it back: no disk (is asked again in "),
    ],
)
def test_who_waits_is_told_what_the_server_did(how: AttemptEnd, said: str) -> None:
    """Whether it declined or broke is not the same to somebody who wonders what to do."""
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    if how is not AttemptEnd.REFUSED:
        farm.accept("anna")
    farm.end("anna", how, "no disk")
    (line, *_) = lines(farm.why(asked))
    assert line.startswith(said)


def test_a_refusal_concerns_one_build_and_one_server() -> None:
    farm = Farm()
    farm.login("anna")
    refused = farm.ask(spec(0))
    refuse(farm, refused)
    other = farm.ask(spec(1))
    assert farm.running_on(other) == "anna"
    farm.login("bert")
    assert farm.running_on(refused) == "bert"


def test_a_refusal_is_remembered_through_a_restart() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    refuse(farm, asked)
    farm.broker.crash()
    farm.login("anna")
    assert farm.running_on(asked) == ""
    farm.pass_time(POLICY.refusal_first)
    assert farm.running_on(asked) == "anna"


def test_a_refusal_costs_no_strike_and_never_makes_a_build_unbuildable() -> None:
    farm = Farm()
    asked = farm.ask()
    for name in ("anna", "bert", "carl", "dora"):
        farm.login(name)
        farm.end(name, AttemptEnd.REFUSED)
    assert farm.state(asked) is WAITING
    assert farm.build_of(asked).broken_on == ()
    assert {farm.server(name).strikes for name in ("anna", "bert", "carl", "dora")} == {0}


# --- contact lost before the start ----------------------------------------------------------------------


def test_contact_lost_before_the_start_delays_with_growth_and_costs_no_strike() -> None:
    farm = Farm({"lua": evolve(POLICY, retry_first=2.0, retry_most=7.0)})
    asked = farm.ask()
    for number, wait in enumerate((2.0, 4.0, 7.0, 7.0)):
        name = f"server{number}"
        farm.login(name)
        assert farm.running_on(asked) == name
        farm.lose(name)
        farm.login("spare")
        assert farm.build_of(asked).not_before == farm.broker.now + wait
        farm.pass_time(wait - 0.5)
        assert farm.running_on(asked) == ""
        farm.logout("spare")
        farm.pass_time(0.5)
        assert farm.server(name).strikes == 0
    assert farm.build_of(asked).broken_on == ()


def test_a_delayed_build_starts_when_its_time_has_come() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.lose("anna")
    farm.login("bert")
    assert farm.running_on(asked) == ""
    farm.pass_time(POLICY.retry_first)
    assert farm.running_on(asked) == "bert"


def test_an_order_that_nobody_answers_is_believed_lost_after_a_while() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    silent = farm.attempt_on("anna")
    farm.silent.add("anna")
    farm.pass_time(LEASE - 1.0)
    assert farm.attempt(*silent.key).state is AttemptState.OFFERED
    farm.login("bert")
    farm.pass_time(1.0)
    assert farm.attempt(*silent.key).state is AttemptState.MISSING
    farm.pass_time(POLICY.retry_first)
    assert farm.running_on(asked) == "bert"
    farm.accept("bert")
    farm.pass_time(300.0)
    assert farm.running_on(asked) == "bert", "one that was taken is not asked to hurry"


def test_of_two_delayed_builds_that_are_due_at_once_the_older_goes_first() -> None:
    """When the clock was not looked at for a while, one Tick finds several times due."""
    farm = Farm()
    farm.login("anna")
    farm.login("bert")
    older, newer = farm.ask(spec(0)), farm.ask(spec(1))
    farm.logout(farm.running_on(newer))
    farm.pass_time(0.5)
    farm.beat()
    farm.logout(farm.running_on(older))
    farm.pass_time(LEASE)
    assert farm.build_of(newer).not_before < farm.build_of(older).not_before
    farm.login("carl")
    farm.broker.now += 60.0
    farm.pass_time(0.0)
    assert farm.running_on(older) == "carl"


def test_a_delayed_build_does_not_overtake_an_older_one_whose_refusal_is_over_too() -> None:
    farm = Farm()
    farm.login("anna")
    refused = farm.ask(spec(0))
    refuse(farm, refused)
    farm.login("bert", machine(arch="ppc"))
    delayed = farm.ask(spec(1, platform=X86))
    farm.logout("anna")
    farm.login("anna")
    assert (farm.running_on(refused), farm.running_on(delayed)) == ("", "")
    farm.broker.now += 60.0
    farm.pass_time(0.0)
    assert farm.running_on(refused) == "anna"


# --- expiry ---------------------------------------------------------------------------------------------


def test_a_queued_request_expires_and_is_mailed() -> None:
    farm = Farm()
    asked = farm.ask()
    build = farm.build_of(asked)
    farm.pass_time(POLICY.request_ttl - 1.0)
    assert farm.state(asked) is WAITING
    farm.pass_time(1.0)
    assert farm.ends_told(asked) == [EXPIRED]
    assert farm.mailed() == [("user@example.org", EXPIRED)]
    assert farm.build(build.id).state is BuildState.EXPIRED


def test_who_expires_is_told_what_every_server_lacked() -> None:
    farm = Farm({"lua": SHORT})
    farm.login("anna", machine(memory=512))
    asked = farm.ask(spec(machine={"memory": 8192}))
    farm.pass_time(SHORT.request_ttl)
    assert farm.ends_told(asked) == [EXPIRED]
    assert "anna: needs memory ≥ 8192, has 512" in farm.request(asked).reason


def test_who_asked_later_for_a_queued_build_expires_later_and_keeps_it_alive() -> None:
    farm = Farm()
    early = farm.ask()
    farm.pass_time(1_000.0)
    late = farm.ask()
    farm.pass_time(POLICY.request_ttl - 1_000.0)
    assert (farm.state(early), farm.state(late)) == (EXPIRED, WAITING)
    farm.login("anna")
    assert farm.running_on(late) == "anna"
    farm.deliver("anna")
    assert farm.ends_told(early) == [EXPIRED]


def test_a_running_build_does_not_expire_and_whoever_waits_for_it_gets_it() -> None:
    farm = Farm({"lua": SHORT})
    farm.login("anna")
    asked = farm.ask()
    farm.accept("anna")
    farm.pass_time(SHORT.request_ttl + 10.0)
    assert farm.state(asked) is WAITING
    farm.deliver("anna")
    assert farm.ends_told(asked) == [RequestState.SATISFIED]


def test_a_request_whose_time_ran_out_while_it_was_built_expires_when_the_build_would_queue_again() -> None:
    farm = Farm({"lua": SHORT})
    farm.login("anna")
    asked = farm.ask()
    build = farm.build_of(asked)
    farm.accept("anna")
    farm.pass_time(SHORT.request_ttl + 10.0)
    farm.end("anna", AttemptEnd.RETURNED)
    assert farm.ends_told(asked) == [EXPIRED]
    assert farm.build(build.id).state is BuildState.EXPIRED


def test_a_request_whose_time_ran_out_is_not_queued_for_ever_when_it_is_admitted_anew() -> None:
    """Its timer is used up, so nothing would ever end it."""
    farm = Farm({"lua": SHORT})
    farm.login("anna")
    farm.ask(spec(1))
    farm.accept("anna")
    ranged = farm.ask(spec(0), near=1)
    farm.pass_time(SHORT.request_ttl + 10.0)
    assert farm.state(ranged) is WAITING
    assert isinstance(farm.ask(spec(2)), Queued)
    farm.end("anna", AttemptEnd.FAILED)
    assert farm.ends_told(ranged) == [EXPIRED]


def test_a_request_whose_time_ran_out_does_not_join_a_queue_when_it_is_admitted_anew() -> None:
    farm = Farm({"lua": SHORT})
    farm.login("anna")
    farm.ask(spec(1))
    farm.accept("anna")
    ranged = farm.ask(spec(0), near=1)
    farm.pass_time(SHORT.request_ttl + 10.0)
    assert isinstance(farm.ask(spec(0)), Queued)
    farm.end("anna", AttemptEnd.FAILED)
    assert farm.ends_told(ranged) == [EXPIRED]


def test_what_expired_while_the_clock_was_not_looked_at_is_not_started_any_more() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.end("anna", AttemptEnd.REFUSED)
    farm.broker.now += POLICY.request_ttl
    farm.pass_time(0.0)
    assert farm.ends_told(asked) == [EXPIRED]
    assert len(farm.attempts()) == 1


# --- what is told ---------------------------------------------------------------------------------------


def test_every_dispatch_carries_an_epoch_of_its_own() -> None:
    farm = Farm()
    asked = farm.ask()
    for name in ("anna", "bert", "carl"):
        farm.login(name)
        farm.end(name, AttemptEnd.RETURNED)
    epochs = [effect.attempt.epoch for effect in farm.broker.told if isinstance(effect, Dispatch)]
    assert epochs == [1, 2, 3]
    assert farm.build_of(asked).epoch == 3


def test_nothing_is_held_against_a_server_that_never_had_the_build() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    assert isinstance(asked, Dispatched)
    context = DecisionContext(farm.broker.state, farm.broker.now)
    assert may_take(context, farm.build_of(asked), "bert")


@given(st.integers(1, 4), st.integers(0, 6))
def test_of_the_slots_that_a_machine_brings_along_a_build_has_one_that_older_ones_leave_it(
    slots: int, older: int
) -> None:
    farm = Farm()
    farm.login("anna", machine(arch="ppc", memory=8192, max_builds=slots))
    farm.login("carl", machine(arch="x86_64", cross=("ppc",)))
    for name in ("anna", "carl"):
        farm.send(ServerPaused(name, "lunch"))
    for number in range(older):
        farm.ask(evolve(spec(platform=PPC, machine={"memory": 8192}), source=f"{number}"))
    last = farm.ask(spec(platform=PPC))
    state = farm.broker.state
    for name in ("anna", "carl"):
        state.put(evolve(state.servers[name], paused=""))
    context = DecisionContext(state, farm.broker.now)
    context.freed.add("anna")
    assert start_somewhere(context, farm.build_of(last)) == ("anna" if older < slots else "carl")
    fill(context, "anna")
    assert state.slots.load_of("anna") == min(slots, older + (older < slots)), "and the older ones have theirs"
