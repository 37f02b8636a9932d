"""Whose failure it was: confirmed failures of the project, broken machines, strikes and quarantine."""

import pytest
from attrs import evolve

from buildtool.model.records import AttemptEnd, BuildState, RememberedFailure, RequestState
from buildtool.scheduling.answers import Dispatched, KnownFailure, Queued
from buildtool.scheduling.events import CancelRequested
from buildtool.scheduling.state.lease_table import LEASE
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import POLICY, machine, spec, submitted

FAILED, SATISFIED, UNBUILDABLE, WAITING = (
    RequestState.FAILED,
    RequestState.SATISFIED,
    RequestState.UNBUILDABLE,
    RequestState.WAITING,
)
X86 = {"os": "linux", "arch": "x86_64"}
BREAKAGES = (AttemptEnd.BROKEN, AttemptEnd.LIMITED, AttemptEnd.LOST)


# --- what only the project can mend ---------------------------------------------------------------------


def test_a_mistake_of_the_project_is_final_at_once_and_costs_no_machine_a_strike() -> None:
    """Three such commits quarantined a machine, and three machines could not say whose fault it was."""
    farm = Farm()
    farm.login("anna")
    farm.login("bert")
    for revision in range(POLICY.strikes + 1):
        asked = farm.ask(spec(revision))
        name = farm.running_on(asked)
        farm.break_down(name, AttemptEnd.MISTAKEN, "NameError in config.py:3")
        assert farm.ends_told(asked) == [FAILED]
        assert farm.build_of(asked).reason == "NameError in config.py:3"
    assert [farm.server(name).strikes for name in ("anna", "bert")] == [0, 0]
    assert farm.server("anna").takes
    assert farm.server("bert").takes


def test_a_mistake_is_not_remembered_since_it_may_be_mended_without_a_new_revision() -> None:
    farm = Farm()
    farm.login("anna")
    first = farm.ask()
    farm.break_down("anna", AttemptEnd.MISTAKEN, "a submodule's commit is nowhere")
    again = farm.ask()
    assert farm.state(first) is FAILED
    assert farm.running_on(again) == "anna"
    farm.deliver("anna")
    assert farm.ends_told(again) == [SATISFIED]


def test_a_mistake_neither_adds_a_strike_nor_takes_one_back() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask(spec(0))
    farm.break_down("anna")
    asked = farm.ask(spec(1))
    farm.break_down("anna", AttemptEnd.MISTAKEN)
    assert farm.state(asked) is FAILED
    assert farm.server("anna").strikes == 1


# --- the project's own failure --------------------------------------------------------------------------


def test_a_failure_is_confirmed_once_on_another_server_and_then_mailed_to_all() -> None:
    farm = Farm()
    farm.login("anna")
    farm.login("bert")
    farm.login("carl")
    asked = [farm.ask(email=f"{name}@example.org") for name in ("ann", "bob")]
    first = farm.running_on(asked[0])
    farm.fail(first)
    assert farm.mails() == []
    second = farm.running_on(asked[0])
    assert second not in {"", first}
    farm.fail(second, "make: *** really")
    assert [farm.ends_told(one) for one in asked] == [[FAILED], [FAILED]]
    assert farm.mailed() == [("ann@example.org", FAILED), ("bob@example.org", FAILED)]
    build = farm.build_of(asked[0])
    assert (build.state, build.reason, build.deciding_epoch) == (BuildState.FAILED, "make: *** really", 2)
    assert len(farm.attempts()) == 2


def test_a_failure_is_final_at_once_where_no_other_server_could_repeat_it() -> None:
    farm = Farm()
    farm.login("anna")
    farm.login("bert", machine(arch="ppc"))
    asked = farm.ask(spec(platform=X86))
    farm.fail("anna")
    assert farm.ends_told(asked) == [FAILED]


def test_a_failure_waits_for_a_busy_server_to_confirm_it() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(spec(0))
    farm.login("bert")
    farm.ask(spec(1))
    farm.fail("anna")
    assert farm.state(asked) is WAITING
    assert farm.running_on(asked) == ""
    farm.deliver("bert")
    assert farm.running_on(asked) == "bert"
    farm.fail("bert")
    assert farm.ends_told(asked) == [FAILED]


def test_a_failure_that_waits_to_be_confirmed_is_final_when_the_last_other_server_leaves() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(spec(0))
    farm.login("bert")
    farm.login("carl")
    others = [farm.ask(spec(1)), farm.ask(spec(2))]
    farm.fail("anna", "cc: error")
    farm.logout("bert")
    assert farm.state(asked) is WAITING
    farm.logout("carl")
    assert farm.state(asked) is WAITING, "they may be back any time"
    farm.pass_time(LEASE)
    assert farm.ends_told(asked) == [FAILED]
    assert farm.request(asked).reason == "cc: error"
    assert [farm.state(other) for other in others] == [WAITING, WAITING]


def test_a_failure_that_waits_to_be_confirmed_is_final_when_the_other_server_can_no_longer() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(spec(0, platform=X86))
    farm.login("bert")
    farm.ask(spec(1))
    farm.fail("anna")
    farm.login("bert", machine(arch="ppc"))
    assert farm.ends_told(asked) == [FAILED]


def test_a_failure_whose_confirmation_is_lost_with_the_last_other_server_is_the_projects() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.fail("anna", "cc: error")
    farm.accept("bert")
    farm.lose("bert")
    assert farm.ends_told(asked) == [FAILED]
    build = farm.build_of(asked)
    assert (build.reason, build.deciding_epoch) == ("cc: error", 1)


def test_a_confirmation_that_a_machine_breaks_is_repeated_elsewhere() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.login("carl")
    farm.fail("anna")
    second = farm.running_on(asked)
    farm.break_down(second)
    third = farm.running_on(asked)
    assert third not in {"", "anna", second}
    farm.fail(third)
    assert farm.ends_told(asked) == [FAILED]


def test_a_confirmation_that_succeeds_is_a_success() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.fail("anna")
    farm.deliver("bert")
    assert farm.ends_told(asked) == [SATISFIED]
    assert not any(isinstance(row, RememberedFailure) for row in farm.broker.rows.values())


@pytest.mark.parametrize(("times", "attempts"), [(0, 1), (1, 2), (2, 3)])
def test_the_project_says_how_often_a_failure_is_confirmed(times: int, attempts: int) -> None:
    farm = Farm({"lua": evolve(POLICY, confirm_failures=times)})
    for name in ("anna", "bert", "carl", "dora"):
        farm.login(name)
    asked = farm.ask()
    while farm.state(asked) is WAITING:
        farm.fail(farm.running_on(asked))
    assert len(farm.attempts()) == attempts


def test_a_final_failure_is_never_retried_by_itself() -> None:
    farm = Farm()
    farm.login("anna")
    farm.ask()
    farm.fail("anna")
    farm.login("bert")
    farm.pass_time(POLICY.failure_ttl * 2)
    farm.broker.crash()
    farm.login("carl")
    assert len(farm.attempts()) == 1


def test_of_two_failures_for_one_platform_the_one_remembered_longest_counts_before_a_restart_and_after() -> None:
    farm = Farm()
    older, younger = farm.ask(spec(platform={"os": "linux"})), farm.ask(spec(platform=X86))
    farm.login("anna", machine(max_builds=2))
    first, second = farm.attempts()
    assert (first.build_id, second.build_id) == (farm.build_of(older).id, farm.build_of(younger).id)
    farm.end("anna", AttemptEnd.FAILED, attempt=second)
    farm.pass_time(60.0)
    farm.end("anna", AttemptEnd.FAILED, attempt=first)
    for again in ("before", "after"):
        assert [one.build_id for one in farm.broker.state.shelves.get(spec().shelf).failures] == [first.build_id]
        farm.broker.state.shelves.kept.clear()
        assert isinstance(farm.broker.send(submitted(again, spec(platform=X86)))[0], KnownFailure)


def test_a_restart_remembers_who_failed_a_build_that_waits_to_be_confirmed() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.fail("anna")
    farm.broker.crash()
    farm.login("bert")
    farm.pass_time(POLICY.retry_first)
    assert farm.running_on(asked) == "bert"
    farm.login("anna")
    farm.fail("bert")
    assert farm.ends_told(asked) == [FAILED]


def test_a_project_failure_ends_the_servers_row_of_breakages() -> None:
    """It finished a build: that the project is broken is no fault of the machine."""
    farm = Farm()
    farm.login("anna")
    asked = farm.ask(spec(0))
    farm.break_down("anna")
    assert farm.server("anna").strikes == 1
    farm.ask(spec(1))
    farm.fail("anna")
    assert farm.server("anna").strikes == 0
    assert farm.state(asked) is WAITING


# --- broken machines ------------------------------------------------------------------------------------


def break_on(farm: Farm, *names: str, how: AttemptEnd = AttemptEnd.BROKEN) -> NewRequest:
    """A build that breaks on one server after the other, each of which logs in for it."""
    asked = farm.ask()
    for name in names:
        farm.login(name)
        assert farm.running_on(asked) == name
        farm.break_down(name, how, f"{name} broke")
    return asked


@pytest.mark.parametrize("how", BREAKAGES)
def test_a_build_that_breaks_a_machine_is_retried_elsewhere_at_once(how: AttemptEnd) -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.break_down("anna", how)
    assert farm.running_on(asked) == "bert"
    farm.deliver("bert")
    assert farm.ends_told(asked) == [SATISFIED]


@pytest.mark.parametrize("how", BREAKAGES)
def test_three_distinct_machines_that_break_make_a_build_unbuildable(how: AttemptEnd) -> None:
    farm = Farm()
    asked = break_on(farm, "anna", "bert", how=how)
    assert farm.state(asked) is WAITING
    farm.ask(email="bob@example.org")
    farm.login("carl")
    farm.break_down("carl", how, "carl broke")
    build = farm.build_of(asked)
    assert build.state is BuildState.UNBUILDABLE
    assert build.deciding_epoch == 3
    assert farm.mailed() == [("bob@example.org", UNBUILDABLE), ("user@example.org", UNBUILDABLE)]
    for name in ("anna", "bert", "carl"):
        assert name in farm.request(asked).reason
    assert "carl broke" in farm.request(asked).reason


def test_an_unbuildable_build_is_not_remembered_as_a_failure_of_the_project() -> None:
    farm = Farm()
    break_on(farm, "anna", "bert", "carl")
    assert isinstance(farm.ask(), Dispatched)
    assert not any(isinstance(row, RememberedFailure) for row in farm.broker.rows.values())


def test_the_servers_of_an_unbuildable_build_get_their_strikes_back() -> None:
    farm = Farm()
    break_on(farm, "anna", "bert")
    assert [farm.server(name).strikes for name in ("anna", "bert")] == [1, 1]
    farm.login("carl")
    farm.break_down("carl")
    assert [farm.server(name).strikes for name in ("anna", "bert", "carl")] == [0, 0, 0]


def test_a_server_whose_quarantine_an_unbuildable_build_lifts_takes_up_what_waits() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=1, quarantine_first=1_000.0)})
    break_on(farm, "anna", "bert")
    waiting = farm.ask(spec(1, machine={"memory": 2048}, platform=X86))
    assert isinstance(waiting, Queued)
    farm.login("carl", machine(memory=1024))
    farm.break_down("carl")
    assert farm.running_on(waiting) in {"anna", "bert"}


def test_the_same_machine_breaking_again_and_again_does_not_make_a_build_unbuildable() -> None:
    farm = Farm({"lua": evolve(POLICY, strikes=99)})
    farm.login("anna")
    asked = farm.ask()
    for _ in range(5):
        farm.break_down("anna")
        farm.pass_time(POLICY.refusal_ttl)
    assert farm.state(asked) is WAITING
    assert farm.build_of(asked).broken_on == ("anna",)


def test_a_broken_machine_is_not_offered_the_build_again_for_a_while() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.break_down("anna")
    farm.pass_time(POLICY.refusal_ttl - 1.0)
    assert farm.running_on(asked) == ""
    farm.pass_time(1.0)
    assert farm.running_on(asked) == "anna"


def test_a_breakage_before_the_start_is_held_against_nobody() -> None:
    farm = Farm()
    asked = farm.ask()
    for name in ("anna", "bert", "carl", "dora"):
        farm.login(name)
        farm.end(name, AttemptEnd.BROKEN)
    assert farm.state(asked) is WAITING
    assert farm.build_of(asked).broken_on == ()
    assert farm.server("anna").strikes == 0


def test_who_joined_an_unbuildable_build_by_range_is_admitted_anew_and_told_nothing() -> None:
    farm = Farm({"lua": evolve(POLICY, breakages=1)})
    farm.login("anna")
    own = farm.ask(spec(1))
    ranged = farm.ask(spec(0), near=1)
    farm.break_down("anna")
    assert farm.ends_told(own) == [UNBUILDABLE]
    assert farm.ends_told(ranged) == []
    assert farm.running_on(ranged) == "anna"


# --- returned -------------------------------------------------------------------------------------------


def test_a_build_that_its_owner_hands_back_costs_no_strike_and_no_delay() -> None:
    farm = Farm()
    farm.login("anna")
    asked = farm.ask()
    farm.login("bert")
    farm.break_down("anna", AttemptEnd.RETURNED)
    assert farm.running_on(asked) == "bert"
    build = farm.build_of(asked)
    assert (build.broken_on, build.delays, build.not_before) == ((), 0, 0.0)
    assert farm.server("anna").strikes == 0


# --- quarantine -----------------------------------------------------------------------------------------


def quarantine(farm: Farm) -> None:
    """Three builds break on anna, one after the other."""
    for revision in range(3):
        farm.ask(spec(revision))
        farm.break_down("anna", reason=f"breakage {revision}")


def test_a_server_that_breaks_three_builds_in_a_row_is_quarantined_and_comes_back() -> None:
    farm = Farm()
    farm.login("anna")
    quarantine(farm)
    server = farm.server("anna")
    assert server.quarantined_until == farm.broker.now + POLICY.quarantine_first
    assert "breakage 2" in server.quarantine_reason
    asked = farm.ask(spec(4))
    assert isinstance(asked, Queued)
    farm.pass_time(POLICY.quarantine_first - 1.0)
    assert farm.running_on(asked) == ""
    farm.pass_time(1.0)
    assert farm.running_on(asked) == "anna"
    assert farm.server("anna").quarantine_reason == ""


def test_a_quarantine_outlasts_a_new_login_and_a_restart() -> None:
    farm = Farm()
    farm.login("anna")
    quarantine(farm)
    asked = farm.ask(spec(4))
    farm.login("anna")
    farm.broker.crash()
    farm.login("anna")
    assert farm.running_on(asked) == ""
    farm.pass_time(POLICY.quarantine_first)
    assert farm.running_on(asked) == "anna"


def test_each_quarantine_is_twice_as_long_as_the_one_before_up_to_a_limit() -> None:
    farm = Farm({"lua": evolve(POLICY, quarantine_first=10.0, quarantine_most=35.0, refusal_ttl=1.0)})
    farm.login("anna")
    for expected in (10.0, 20.0, 35.0, 35.0):
        farm.pass_time(2_000.0)
        quarantine(farm)
        assert farm.server("anna").quarantined_until - farm.broker.now == expected
        for build_id in list(farm.broker.state.builds):
            for request in farm.broker.state.waiters(build_id):
                farm.send(CancelRequested(request.id))
        farm.pass_time(expected)


def test_a_finished_build_gives_the_strikes_back() -> None:
    farm = Farm()
    farm.login("anna")
    for revision in (0, 1):
        farm.ask(spec(revision))
        farm.break_down("anna")
    assert farm.server("anna").strikes == 2
    farm.ask(spec(2))
    farm.deliver("anna")
    assert farm.server("anna").strikes == 0
