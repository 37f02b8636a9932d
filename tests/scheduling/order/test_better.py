"""A build waits for a better machine that is busy exactly where that is quicker, and never longer than was said."""

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.model.servers import Capability, OfferKind
from buildtool.scheduling.order.better import BetterServer, worth_waiting
from buildtool.scheduling.waiting import lines
from tests.scheduling.farm import Farm, NewRequest
from tests.scheduling.worlds import REVISIONS, machine, spec

PPC = {"os": "linux", "arch": "ppc"}
SECONDS = st.floats(1.0, 5_000.0)
BETTER = st.lists(st.builds(BetterServer, st.sampled_from(["bert", "carl", "dora"]), SECONDS, SECONDS), max_size=4)


def emulating() -> Capability:
    plain = machine(cross=("ppc",))
    return evolve(plain, offers=(plain.offers[0], evolve(plain.offers[1], kind=OfferKind.EMULATED)))


class Story(Farm):
    """A farm whose anna emulates what carl is; how long both need was seen once, in seconds."""

    revision = 0

    def know(self, name: str, capability: Capability, seconds: float) -> None:
        """The machine, alone, builds something in so many seconds."""
        self.login(name, capability)
        self.ask_new()
        attempt = self.attempt_on(name)
        self.note(evolve(self.delivery(attempt), seconds=seconds))
        self.logout(name, clean=True)

    def ask_new(self) -> NewRequest:
        self.revision += 1
        return self.ask(spec(self.revision % len(REVISIONS), platform=PPC), force=True)

    def begin(self, emulated: float, native: float) -> NewRequest:
        """Both come, and carl builds something; how long they need is known."""
        self.know("anna", emulating(), emulated)
        self.know("carl", machine(arch="ppc"), native)
        self.login("carl", machine(arch="ppc"))
        first = self.ask_new()
        self.accept("carl")
        self.login("anna", emulating())
        return first


@given(SECONDS, BETTER)
@example(4.0, [BetterServer("bert", 1.0, 2.0), BetterServer("bert", 2.0, 1.0)])
def test_it_is_worth_waiting_only_where_all_of_it_is_quicker_and_for_no_longer_than_the_difference(
    length: float, better: list[BetterServer]
) -> None:
    found = worth_waiting(length, better)
    assert (found is None) == all(one.free + one.length >= length for one in better)
    if found is not None:
        seconds, name = found
        chosen = [one for one in better if one.name == name and length - one.length == seconds]
        assert any(one.free <= seconds for one in chosen), "it waits until after it would be free"
        assert min(one.free + one.length for one in better) in [one.free + one.length for one in chosen]
        assert 0 < seconds < length


def test_a_build_waits_for_the_native_machine_that_has_it_done_sooner_and_is_told_so() -> None:
    farm = Story()
    farm.begin(emulated=600.0, native=60.0)
    second = farm.ask_new()
    assert farm.running_on(second) == ""
    told = lines(farm.why(second))
    assert any(
        "anna: would make it emulated, and carl is expected to have it done sooner, native" in one for one in told
    )
    farm.pass_time(30.0)
    farm.deliver("carl")
    assert farm.running_on(second) == "carl"


def test_it_takes_the_emulated_machine_where_that_is_quicker_than_to_wait() -> None:
    farm = Story()
    farm.begin(emulated=600.0, native=500.0)
    assert farm.running_on(farm.ask_new()) == "anna"


def test_where_nothing_is_known_of_one_of_them_it_takes_what_is_free() -> None:
    farm = Farm()
    farm.login("carl", machine(arch="ppc"))
    farm.login("anna", emulating())
    asked = [farm.ask(spec(revision, platform=PPC)) for revision in range(2)]
    assert [farm.running_on(one) for one in asked] == ["carl", "anna"]


def test_only_who_is_next_there_waits_and_the_one_behind_takes_what_is_free() -> None:
    farm = Story()
    farm.begin(emulated=600.0, native=60.0)
    second, third = farm.ask_new(), farm.ask_new()
    assert (farm.running_on(second), farm.running_on(third)) == ("", "anna")


def test_who_asks_for_a_build_that_would_expire_meanwhile_does_not_wait() -> None:
    farm = Story()
    farm.begin(emulated=600.0, native=60.0)
    farm.broker.state.projects.of["lua"] = evolve(farm.broker.state.projects.of["lua"], request_ttl=500.0)
    assert farm.running_on(farm.ask_new()) == "anna"


def test_a_machine_that_has_been_overdue_is_not_waited_for() -> None:
    farm = Story()
    farm.begin(emulated=600.0, native=60.0)
    farm.pass_time(70.0)
    assert farm.running_on(farm.ask_new()) == "anna"


def test_another_slow_machine_that_comes_meanwhile_does_not_put_off_what_was_said_first() -> None:
    """Its own difference is an hour, but 540 seconds were said when the build came."""
    farm = Story()
    farm.know("bert", emulating(), 5_000.0)
    farm.begin(emulated=600.0, native=60.0)
    second = farm.ask_new()
    farm.pass_time(50.0)
    farm.logout("anna", clean=True)
    farm.login("bert", emulating())
    farm.pass_time(480.0)
    assert farm.running_on(second) == ""
    farm.pass_time(11.0)
    assert farm.running_on(second) == "bert"


@given(
    emulated=st.floats(30.0, 900.0), native=st.floats(10.0, 900.0), late=st.floats(0.0, 500.0), more=st.booleans()
)  # fmt: skip
def test_however_long_builds_take_none_waits_longer_than_the_difference_when_the_better_machine_never_ends(
    emulated: float, native: float, late: float, *, more: bool
) -> None:
    farm = Story()
    if more:
        farm.know("bert", emulating(), emulated + 1_000.0)
    farm.begin(emulated, native)
    farm.pass_time(late)
    second = farm.ask_new()
    left = native - late
    assert (farm.running_on(second) == "") == (left > 0.0 and left + native < emulated)
    if more:
        farm.login("bert", emulating())  # slower by far: it is not had for that, and puts nothing off
    farm.pass_time(max(0.0, emulated - native) + 0.001)
    assert farm.running_on(second) != ""
