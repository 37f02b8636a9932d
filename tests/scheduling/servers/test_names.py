"""Names of build servers: who has one keeps it, and names that nobody uses make room for somebody new."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from buildtool.model.records import AttemptEnd, AttemptState
from buildtool.model.servers import Held, HeldState, Server, Verdict
from buildtool.scheduling.answers import NameHeld, NameLimitReached, SessionOpened
from buildtool.scheduling.effects import Fence
from buildtool.scheduling.events import Disconnected, Registered, Restarted, ServerForgotten, ServerPaused, Tick
from buildtool.scheduling.servers.names import AWAY, IDLE_BYTES, KNOWN, SETTLED, USED_LONGER
from buildtool.scheduling.state.lease_table import LEASE
from buildtool.scheduling.state.tables import NAMES_KEPT
from tests.scheduling.farm import Farm, begun
from tests.scheduling.worlds import machine

DAY = 86_400.0


def known(farm: Farm, count: int = KNOWN, **more: Any) -> None:
    """Let so many names be known that never did anything, each seen a second after the one before."""
    now = farm.broker.now
    made = [
        Server(f"s{number:04d}", 1, machine(), connected=False, since=now + number, last_seen=now + number)
        for number in range(count)
    ]
    farm.broker.state.load(evolve(one, **more) for one in made)
    farm.broker.rows |= {("Server", one.name): evolve(one, **more) for one in made}


def come(farm: Farm, name: str, instance: str = "", origin: str = "", silent: int = 0, *held: Held) -> Any:
    return farm.send(Registered(name, machine(), held, instance, origin, silent))


# --- room ---------------------------------------------------------------------------------------------------


def test_a_thousand_invented_names_lock_nobody_out() -> None:
    farm = Farm()
    known(farm)
    for number in range(50):
        assert isinstance(come(farm, f"new{number}"), SessionOpened)
        assert len(farm.broker.state.servers) == KNOWN
    assert "s0049" not in farm.broker.state.servers, "the one not seen for longest goes first"
    assert "s0050" in farm.broker.state.servers
    assert all(("Server", f"s{number:04d}") not in farm.broker.rows for number in range(50)), "its row goes too"


def test_of_the_network_that_has_most_names_one_goes_first() -> None:
    farm = Farm()
    known(farm, KNOWN - 1, origin="192.0.2.1")
    farm.broker.state.load([Server("old", 1, machine(), False, 0.0, 0.0, origin="192.0.2.2")])
    assert isinstance(come(farm, "new", origin="192.0.2.3"), SessionOpened)
    assert "old" in farm.broker.state.servers
    assert "s0000" not in farm.broker.state.servers


@pytest.mark.long  # half a minute of decisions: fewer names than these harmed nobody before
def test_names_from_all_over_a_network_take_no_place_of_a_machine_elsewhere() -> None:
    """Each name from an address of its own, of IPv4 or IPv6, all of them connected and silent, and more to come."""
    farm = Farm()
    assert isinstance(come(farm, "honest", "secret", "203.0.113.7"), SessionOpened)
    farm.broker.now += SETTLED + 1
    for number in range(3 * KNOWN):
        origin = f"2001:db8:0:{number:x}::1" if number % 8 else f"192.0.2.{number % 256}"
        assert isinstance(come(farm, f"invented{number}", origin=origin), SessionOpened)
        farm.broker.now += 0.1
    farm.broker.now += SETTLED + 1
    honest = farm.broker.state.servers["honest"]
    assert honest.connected
    farm.send(Disconnected("honest", honest.session, "lost"))
    for number in range(KNOWN):
        come(farm, f"more{number}", origin=f"192.0.2.{number % 256}")
        farm.broker.now += 0.1
    assert isinstance(come(farm, "honest", "secret", "203.0.113.7"), SessionOpened)
    assert isinstance(come(farm, "another", "mine", "198.51.100.3"), SessionOpened), "somebody new gets in too"


def test_names_whose_announcements_take_too_much_together_go_first_the_largest_of_them() -> None:
    farm = Farm()
    large = evolve(machine(), machine=(("tools", ("x" * (IDLE_BYTES // 10),)),))
    for number in range(12):
        assert isinstance(farm.send(Registered(f"large{number}", large, ())), SessionOpened)
    assert isinstance(come(farm, "small"), SessionOpened)
    for name in ("small", *(f"large{number}" for number in range(12))):
        farm.logout(name, clean=True)
    state = farm.broker.state
    assert sum(state.records.idle_sizes.values()) <= IDLE_BYTES
    assert {"small", "large11", "large10"} <= state.servers.keys()
    assert not {"large0", "large1"} & state.servers.keys()
    assert ("Server", "large0") not in farm.broker.rows
    assert isinstance(farm.send(Registered("large11", large, ())), SessionOpened)
    assert "large11" not in state.records.idle_sizes


def test_a_name_that_did_work_goes_only_when_no_other_can_and_it_was_away_for_a_day() -> None:
    farm = Farm()
    known(farm, KNOWN, used_at=1.0)
    assert come(farm, "new") == NameLimitReached(KNOWN)
    farm.broker.now += AWAY
    assert isinstance(come(farm, "new"), SessionOpened)
    assert "s0000" not in farm.broker.state.servers


def test_where_all_are_connected_one_that_was_never_given_anything_makes_room_and_is_cut_off() -> None:
    farm = Farm()
    known(farm, KNOWN, connected=True)
    assert come(farm, "new") == NameLimitReached(KNOWN), "they have only just come"
    farm.broker.now += KNOWN + SETTLED
    assert isinstance(come(farm, "new"), SessionOpened)
    assert Fence("s0000", 1) in farm.broker.told
    assert farm.note(Disconnected("s0000", 1, "cut off")).stale
    again = come(farm, "s0000")
    assert again.session == 2, "what its older connection says is not taken for the new one's word"
    assert farm.note(Disconnected("s0000", 1, "cut off, told late")).stale
    assert farm.server("s0000").connected


def test_what_an_operator_keeps_or_what_may_still_bring_a_build_is_never_forgotten() -> None:
    farm, _, _ = begun()
    farm.logout("anna")
    farm.login("bert")
    farm.logout("bert", clean=True)
    farm.send(ServerPaused("bert", "stolen"))
    known(farm, KNOWN - 2, used_at=1.0)
    assert isinstance(come(farm, "new"), NameLimitReached)
    assert farm.note(ServerForgotten("anna")).stale
    assert {"anna", "bert"} <= farm.broker.state.servers.keys()


# --- time ---------------------------------------------------------------------------------------------------


def test_names_that_were_never_used_are_forgotten_after_a_while_and_used_ones_much_later() -> None:
    farm = Farm()
    farm.login("there")
    farm.login("used")
    farm.ask()
    farm.accept("there" if farm.broker.state.slots.load_of("there") else "used")
    worker = next(iter(farm.broker.state.attempts.values())).server
    idle = "used" if worker == "there" else "there"
    farm.deliver(worker)
    farm.logout(worker, clean=True)
    farm.login("never")
    farm.logout("never", clean=True)
    farm.broker.now += NAMES_KEPT - 1
    farm.send(Tick())
    assert "never" in farm.broker.state.servers
    farm.broker.now += 3_601
    farm.send(Tick())
    assert "never" not in farm.broker.state.servers
    assert ("Server", "never") not in farm.broker.rows
    assert {worker, idle} <= farm.broker.state.servers.keys(), "one did work, the other is connected"
    farm.broker.now += NAMES_KEPT * USED_LONGER
    farm.send(Tick())
    assert farm.broker.state.servers.keys() == {idle}


def test_the_operator_forgets_a_name_that_is_not_connected_and_that_is_written_down() -> None:
    farm = Farm()
    farm.login("anna")
    assert farm.note(ServerForgotten("anna", "ann")).stale
    farm.logout("anna")
    assert not farm.note(ServerForgotten("anna", "ann")).stale
    assert farm.note(ServerForgotten("anna", "ann")).stale
    assert farm.broker.state.servers == {}
    farm.broker.now += 10 * LEASE
    farm.send(Tick())  # nothing is left that waits for it


def test_what_a_forgotten_server_built_stays() -> None:
    farm, _, _ = begun()
    artifact = farm.deliver("anna")
    farm.logout("anna", clean=True)
    farm.send(ServerForgotten("anna"))
    assert artifact.server == "anna"
    assert [row.server for row in farm.artifacts()] == ["anna"]


# --- two of one name ----------------------------------------------------------------------------------------


def test_a_login_of_a_name_that_is_connected_is_not_taken_before_its_holder_was_asked() -> None:
    farm = Farm()
    come(farm, "anna", "a", "192.0.2.1")
    for instance, kin in (("a", True), ("b", False), ("", False)):
        held = come(farm, "anna", instance, "192.0.2.2")
        assert held == NameHeld(1, "192.0.2.1", farm.broker.now, kin)
        assert farm.server("anna").session == 1
    assert come(farm, "anna", "b", silent=7) != SessionOpened(2), "another Session was asked"
    assert not [effect for effect in farm.broker.told if isinstance(effect, Fence)]
    assert come(farm, "anna", "a", silent=1).session == 2
    assert Fence("anna", 1) in farm.broker.told


def test_two_that_do_not_say_which_machine_they_are_are_never_taken_for_the_same() -> None:
    farm = Farm()
    come(farm, "anna")
    assert come(farm, "anna") == NameHeld(1, "", farm.broker.now, kin=False)


def test_a_name_whose_machine_was_lost_is_kept_for_it_for_a_lease_or_a_quarter_if_it_built_nothing() -> None:
    for builds, kept in ((True, LEASE), (False, LEASE / 4)):
        farm = Farm()
        come(farm, "anna", "a", "192.0.2.1")
        if builds:
            farm.ask()
            farm.accept("anna")
        farm.logout("anna")
        lost = farm.broker.now
        farm.broker.now += kept - 1
        assert come(farm, "anna", "b") == NameHeld(0, "192.0.2.1", lost, until=lost + kept)
        assert come(farm, "anna", "a").session == 2
        farm.logout("anna")
        farm.broker.now += LEASE
        assert come(farm, "anna", "b").session == 3


def test_after_a_good_bye_a_name_is_free_and_after_a_restart_it_is_kept() -> None:
    farm = Farm()
    come(farm, "anna", "a")
    farm.send(Restarted())
    assert isinstance(come(farm, "anna", "b"), NameHeld)
    assert come(farm, "anna", "a").session == 2
    farm.logout("anna", clean=True)
    assert come(farm, "anna", "b").session == 3


def test_another_machine_gets_nothing_of_what_the_first_was_building() -> None:
    """Not what it is believed to build, and not what is missing: it knows the number, but has not built it."""
    farm = Farm()
    come(farm, "anna", "a")
    farm.ask()
    first = farm.accept("anna")
    farm.logout("anna")
    farm.pass_time(LEASE)
    assert farm.attempt(*first.key).state is AttemptState.MISSING
    answer = come(farm, "anna", "b", "", 0, Held(*first.key, HeldState.DONE))
    assert [one.verdict for one in answer.verdicts] == [Verdict.DROP]
    assert farm.attempt(*first.key).end is AttemptEnd.LOST
    farm.logout("anna", clean=True)
    back = come(farm, "anna", "a", "", 0, Held(*first.key, HeldState.DONE))
    assert [one.verdict for one in back.verdicts] == [Verdict.DROP]


def test_the_same_machine_goes_on_with_what_it_has() -> None:
    farm = Farm()
    come(farm, "anna", "a")
    farm.ask()
    key = farm.accept("anna").key
    farm.logout("anna")
    assert [one.verdict for one in come(farm, "anna", "a", "", 0, Held(*key)).verdicts] == [Verdict.GO_ON]


def test_a_program_of_the_first_version_goes_on_too_and_so_does_its_successor() -> None:
    for before, after in (("", ""), ("", "a")):
        farm = Farm()
        name = f"anna{after}"
        come(farm, name, before)
        farm.ask()
        key = farm.accept(name).key
        farm.logout(name)
        assert [one.verdict for one in come(farm, name, after, "", 0, Held(*key)).verdicts] == [Verdict.GO_ON]


class Twins(RuleBasedStateMachine):
    """Two machines and a stranger under one name: each alive, silent or away, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.farm = Farm()
        self.holder = ""
        self.lost_at: float | None = None

    @rule(instance=st.sampled_from(["a", "b"]), asks=st.booleans(), answers=st.booleans())
    def log_in(self, instance: str, asks: bool, answers: bool) -> None:
        old = self.farm.broker.state.servers.get("anna")
        there = old is not None and old.connected
        silent = old.session if old is not None and there and asks and not answers else 0
        answer = come(self.farm, "anna", instance, silent=silent)
        if isinstance(answer, NameHeld):
            assert old is not None
            if there:
                assert not silent
            else:
                assert instance != self.holder
                assert self.lost_at is not None
                assert self.farm.broker.now < self.lost_at + LEASE
            return
        assert not there or silent, "whoever is there and was not asked, or answered, keeps the name"
        if old is not None and instance != self.holder and not there and self.lost_at is not None:
            assert self.farm.broker.now >= self.lost_at + LEASE / 4
        if instance != self.holder:
            live = [one for one in self.farm.broker.state.attempts.values() if one.server == "anna"]
            assert all(one.session == answer.session for one in live), "nothing of the other one's is left"
        self.holder, self.lost_at = instance, None

    @precondition(lambda self: self.farm.broker.state.servers and self.farm.server("anna").connected)
    @rule(clean=st.booleans())
    def leave(self, clean: bool) -> None:
        self.farm.logout("anna", clean=clean)
        self.lost_at = None if clean else self.farm.broker.now

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE, 2 * LEASE]))
    def wait(self, seconds: float) -> None:
        self.farm.pass_time(seconds)

    @rule()
    def ask(self) -> None:
        if len(self.farm.broker.state.builds) < 3:
            self.farm.ask(force=True)

    @rule()
    def accept(self) -> None:
        offered = [row for row in self.farm.broker.state.attempts.values() if row.state is AttemptState.OFFERED]
        if offered and self.farm.server("anna").connected:
            self.farm.accept("anna")

    @invariant()
    def the_name_is_the_holders(self) -> None:
        servers = self.farm.broker.state.servers
        if servers:
            assert servers["anna"].instance == self.holder


TestTwins = Twins.TestCase


@given(st.lists(st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]), st.integers(0, 3)), max_size=12))
def test_somebody_new_always_gets_in_while_anybody_never_did_anything(comers: list[tuple[str, int]]) -> None:
    farm = Farm()
    known(farm, KNOWN, origin="192.0.2.1", connected=True)
    farm.broker.now += KNOWN + SETTLED
    for number, (origin, _) in enumerate(comers):
        assert isinstance(come(farm, f"new{number}", origin=origin), SessionOpened)
        assert len(farm.broker.state.servers) == KNOWN
