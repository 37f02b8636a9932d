"""Owners of machines: a build that they freeze loses nothing but time, and their machine gets none meanwhile."""

import pytest
from attrs import evolve

from buildtool.model.records import AttemptEnd, AttemptState, RequestState
from buildtool.model.servers import Held, HeldState, OwnerNotice, Verdict
from buildtool.scheduling.answers import ExplainedAnswer
from buildtool.scheduling.events import AskedWhy, ClockStepped, HeldReported
from buildtool.scheduling.state.lease_table import LEASE, MOST_FROZEN, OVERDUE, frozen_for
from buildtool.scheduling.state.timers import OWNER_TOLD_AFTER
from buildtool.scheduling.waiting import lines, offered_in, remaining
from tests.scheduling.farm import Farm, NewRequest, begun
from tests.scheduling.worlds import POLICY, machine, spec

LIMIT = 100.0


def explained(farm: Farm, build_id: int) -> ExplainedAnswer:
    answer = farm.send(AskedWhy(build_id))
    assert isinstance(answer, ExplainedAnswer)
    return answer


def limited() -> Farm:
    return Farm({"lua": evolve(POLICY, time_limit=LIMIT, request_ttl=1e9)})


def kinds(farm: Farm) -> list[str]:
    return [one.kind for one in farm.broker.happened() if one.kind.startswith(("attempt-frozen", "attempt-thawed"))]


def test_a_frozen_build_keeps_its_lease_and_ends_where_it_began() -> None:
    farm, asked, attempt = begun()
    farm.login("bert")
    farm.take_back("anna")
    farm.pass_time(100 * LEASE)

    assert farm.running_on(asked) == "anna"
    assert farm.attempt(*attempt.key).frozen_at is not None
    farm.lend_again("anna")
    assert (farm.attempt(*attempt.key).frozen_at, farm.attempt(*attempt.key).rested) == (None, 100 * LEASE)
    farm.deliver("anna")
    assert farm.state(asked) is RequestState.SATISFIED
    assert kinds(farm) == ["attempt-frozen", "attempt-thawed"]


def test_whoever_follows_a_build_is_told_that_it_stands_still_and_that_it_goes_on() -> None:
    farm, asked, _ = begun()
    told = len(farm.broker.moves(asked.request.id))
    farm.take_back("anna")
    farm.take_back("anna")
    assert len(farm.broker.moves(asked.request.id)) == told + 1, "once, however often it says so"
    farm.lend_again("anna")
    assert len(farm.broker.moves(asked.request.id)) == told + 2


def test_time_in_which_a_build_was_frozen_counts_against_no_limit() -> None:
    farm = limited()
    farm.login("anna")
    farm.ask()
    attempt = farm.accept("anna")
    farm.pass_time(LIMIT)
    farm.take_back("anna")
    farm.pass_time(2 * OVERDUE)
    assert farm.attempt(*attempt.key).state is AttemptState.BUILDING

    farm.lend_again("anna")
    farm.pass_time(OVERDUE - 1)
    assert farm.attempt(*attempt.key).state is AttemptState.BUILDING
    farm.pass_time(2)
    assert farm.attempt(*attempt.key).end is AttemptEnd.LIMITED


def test_a_machine_that_says_for_ever_that_its_owner_is_there_does_not_keep_a_build_for_ever() -> None:
    farm = limited()
    farm.login("anna")
    farm.ask()
    attempt = farm.accept("anna")
    farm.take_back("anna")
    farm.pass_time(MOST_FROZEN - 1)
    assert farm.attempt(*attempt.key).state is AttemptState.BUILDING
    farm.pass_time(LIMIT + OVERDUE + 2)
    assert farm.attempt(*attempt.key).end is AttemptEnd.LIMITED


def test_a_frozen_build_whose_machine_is_lost_is_missed_like_any_other_and_goes_on_when_it_comes_back() -> None:
    farm, asked, attempt = begun()
    farm.take_back("anna")
    farm.lose("anna")
    assert farm.attempt(*attempt.key).state is AttemptState.MISSING
    assert farm.attempt(*attempt.key).frozen_at is None, "for all that anybody knows"

    assert farm.login("anna", held=[Held(*attempt.key, frozen=True)]) == {attempt.key: Verdict.GO_ON}
    farm.pass_time(10 * LEASE)
    assert farm.running_on(asked) == "anna"
    farm.frozen.discard("anna")
    farm.beat()
    farm.deliver("anna")
    assert farm.server("anna").strikes == 0


def test_what_is_finished_is_not_frozen_whatever_is_said() -> None:
    farm, _, attempt = begun()
    session = farm.server("anna").session
    farm.send(HeldReported("anna", session, (Held(*attempt.key, HeldState.DONE, frozen=True),)))
    assert farm.attempt(*attempt.key).frozen_at is None


def test_a_machine_whose_owner_is_there_gets_no_build_until_they_leave_and_then_at_once() -> None:
    farm = Farm()
    farm.login("anna")
    farm.take_back("anna")
    asked = farm.ask()

    assert farm.running_on(asked) == ""
    assert lines(farm.why(asked))[0] == "anna: takes nothing now: its owner is at the machine"
    farm.lend_again("anna")
    assert farm.running_on(asked) == "anna"


def test_a_build_that_is_handed_back_goes_elsewhere_at_once_and_costs_no_strike() -> None:
    farm, asked, _ = begun()
    farm.login("bert")
    farm.take_back("anna")
    farm.end("anna", AttemptEnd.RETURNED, "its owner is at the machine")

    assert farm.running_on(asked) == "bert"
    assert (farm.server("anna").strikes, farm.build_of(asked).broken_on) == (0, ())


def test_what_ended_while_it_was_frozen_stands_still_no_more() -> None:
    farm, _, attempt = begun()
    farm.take_back("anna")
    farm.pass_time(30)
    farm.end("anna", AttemptEnd.RETURNED, "its owner is at the machine")
    assert (farm.attempt(*attempt.key).frozen_at, farm.attempt(*attempt.key).rested) == (None, 30)


def test_when_a_machine_takes_builds_again_is_known_where_its_owner_said_so() -> None:
    farm = Farm()
    farm.login("anna")
    farm.take_back("anna", "it is outside its hours", farm.broker.now + 500)
    asked = farm.ask()
    state, build, now = farm.broker.state, farm.build_of(asked), farm.broker.now

    assert offered_in(state, build, farm.server("anna"), now) == 500
    farm.take_back("anna")
    assert offered_in(state, build, farm.server("anna"), now) == float("inf")


def test_nothing_is_estimated_of_a_build_that_stands_still() -> None:
    farm, _, attempt = begun()
    farm.pass_time(2.0)
    farm.deliver("anna")
    farm.ask(spec(1))
    again = farm.accept("anna")
    state, wanted = farm.broker.state, spec(1)
    assert remaining(state, again, wanted, farm.broker.now) is not None

    farm.take_back("anna")
    assert remaining(state, farm.attempt(*again.key), wanted, farm.broker.now) is None
    assert attempt.key != again.key


def test_why_says_that_a_build_stands_still_and_until_when() -> None:
    farm, asked, _ = begun()
    build = farm.build_of(asked).id
    assert explained(farm, build).reason == ""
    farm.take_back("anna", "its owner is at the machine until they have left it for 15 min")
    told = explained(farm, build)
    assert told.reason == "it is frozen on anna: its owner is at the machine until they have left it for 15 min"
    assert told.estimate is None


def test_owners_are_not_asked_for_a_machine_that_they_said_is_away() -> None:
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="ann@example.org"))
    begins = farm.broker.now + 100
    farm.wishes["anna"] = OwnerNotice(away=((begins, begins + 100_000),))
    farm.heartbeat("anna")
    farm.pass_time(200)
    farm.logout("anna")
    farm.pass_time(99_000)
    assert not farm.broker.mailed

    asked = farm.ask()
    assert "anna: is not connected (its owner said so, until 1970-01-02 04:05 UTC)" in lines(farm.why(asked))[0]
    farm.pass_time(1_000 + OWNER_TOLD_AFTER)
    assert sum(farm.broker.mailed.values()) == 1


def test_owners_are_not_asked_for_a_machine_in_the_second_of_two_downtimes_either() -> None:
    """One begins where the other ends, or soon after, as days do that were announced one by one."""
    farm = Farm()
    farm.login("anna", evolve(machine(), admin="ann@example.org"))
    begins = farm.broker.now + 100
    first, second = (begins, begins + 90_000), (begins + 90_000 + OWNER_TOLD_AFTER / 2, begins + 200_000)
    farm.wishes["anna"] = OwnerNotice(away=(second, first))
    farm.heartbeat("anna")
    farm.pass_time(200)
    farm.logout("anna")
    farm.pass_time(199_800 + OWNER_TOLD_AFTER)
    assert not farm.broker.mailed

    farm.pass_time(200)
    assert sum(farm.broker.mailed.values()) == 1


def failed_once_with_bert_to_confirm() -> tuple[Farm, NewRequest, float]:
    """Return a farm whose anna failed a build that bert, who is there, takes nothing now, and is away soon, could."""
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    begins = farm.broker.now + 100
    farm.wishes["bert"] = OwnerNotice("its owner is at the machine", away=((begins, begins + 900_000),))
    farm.heartbeat("bert")
    farm.fail("anna")
    assert farm.state(asked) is RequestState.WAITING
    return farm, asked, begins


def test_a_failure_waits_for_no_machine_to_confirm_it_that_is_away() -> None:
    farm, asked, begins = failed_once_with_bert_to_confirm()
    farm.pass_time(begins - farm.broker.now - 1)
    farm.heartbeat("bert")
    assert farm.state(asked) is RequestState.WAITING
    farm.pass_time(2)
    farm.heartbeat("bert")
    assert farm.state(asked) is RequestState.FAILED


def test_a_failure_waits_no_lease_for_a_machine_that_left_in_its_downtime() -> None:
    farm, asked, _ = failed_once_with_bert_to_confirm()
    farm.pass_time(150)
    farm.logout("bert")
    assert farm.state(asked) is RequestState.FAILED


@pytest.mark.parametrize("step", [3_600.0, -3_600.0])
def test_a_clock_that_is_set_makes_no_build_frozen_for_longer_or_shorter(step: float) -> None:
    farm, _, attempt = begun()
    farm.take_back("anna", until=farm.broker.now + 50)
    before = frozen_for(farm.attempt(*attempt.key), farm.broker.now)
    until = farm.server("anna").closed_until
    farm.broker.now += step
    farm.send(ClockStepped(step))

    assert frozen_for(farm.attempt(*attempt.key), farm.broker.now) == before
    assert farm.server("anna").closed_until == until + step


def test_what_an_owner_wishes_survives_a_restart() -> None:
    farm, _, attempt = begun()
    farm.take_back("anna")
    farm.pass_time(10)
    farm.broker.crash()
    farm.login("anna", held=[Held(*attempt.key, frozen=True)])
    assert frozen_for(farm.broker.state.attempts[attempt.key], farm.broker.now) == 10
