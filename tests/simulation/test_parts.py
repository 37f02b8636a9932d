"""What the simulation stands on: time that the dead do not share in, streams that keep their order, mutants undone."""

import inspect
import random
from typing import Any

import pytest
from twisted.internet import error
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.simulation.clock import Life, VirtualTime
from tests.simulation.faults import Faults
from tests.simulation.hunting import hunt, main
from tests.simulation.mutants import MUTANTS, switched
from tests.simulation.network import KEEP_ALIVE, Network
from tests.simulation.trace import Trace


class Ear(Protocol):
    """Remembers what it heard, and why it was left."""

    transport: Any

    def __init__(self) -> None:
        self.heard = b""
        self.left: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.left.append(type(reason.value))


class Ears(Factory):
    """Makes one after the other."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Ear] = []

    def buildProtocol(self, addr: object) -> Ear:
        self.made.append(Ear())
        return self.made[-1]


class Pair:
    """One connection over a network that is as it should be."""

    def __init__(self) -> None:
        rng = random.Random(1)
        self.time = VirtualTime()
        self.network = Network(self.time, rng, Trace(self.time), Faults(rng))
        self.here, self.there = Life(self.time, "here"), Life(self.time, "there")
        listening, calling = Ears(), Ears()
        self.network.listen("there", self.there, listening)
        self.network.endpoint(self.here, "here", "there").connect(calling)
        self.run(1.0)
        (self.near,), (self.far,) = calling.made, listening.made

    def run(self, seconds: float) -> None:
        until = self.time.now + seconds
        while (due := self.time.next_time()) is not None and due <= until:
            self.time.step()
        self.time.now = until


def test_what_is_written_arrives_in_its_order_and_a_close_after_it() -> None:
    pair = Pair()
    for number in range(20):
        pair.near.transport.write(b"%d," % number)
    pair.near.transport.loseConnection()
    pair.run(10.0)
    assert pair.far.heard == b"".join(b"%d," % number for number in range(20))
    assert pair.far.left == [error.ConnectionDone]


def test_a_half_open_connection_swallows_everything_and_is_noticed_late() -> None:
    pair = Pair()
    (wire,) = pair.network.wires
    wire.go_silent()
    pair.near.transport.write(b"hello?")
    pair.run(KEEP_ALIVE - 1)
    assert (pair.far.heard, pair.far.left, pair.near.left) == (b"", [], [])
    pair.run(KEEP_ALIVE)
    assert pair.far.left == pair.near.left == [error.TimeoutError]


def test_a_short_partition_delays_and_loses_nothing() -> None:
    pair = Pair()
    pair.network.part("here", "there", 20.0)
    pair.near.transport.write(b"later")
    pair.run(19.0)
    assert pair.far.heard == b""
    pair.run(5.0)
    assert pair.far.heard == b"later"


def test_nothing_that_a_program_asked_for_is_done_once_it_has_ended() -> None:
    time = VirtualTime()
    done: list[str] = []
    life = Life(time, "one")
    life.callLater(1.0, done.append, "before")
    life.callLater(3.0, done.append, "after")
    time.call(2.0, lambda: setattr(life, "ended", True))
    while time.next_time() is not None:
        time.step()
    assert done == ["before"]


def test_a_program_that_ended_is_refused_by_its_system() -> None:
    pair = Pair()
    pair.there.ended = True
    pair.network.machine_gone(pair.there, silently=False)
    pair.run(5.0)
    assert pair.near.left == [error.ConnectionLost]
    assert pair.far.left == [], "the dead hear nothing"


def test_a_mutant_leaves_the_program_as_it_was() -> None:
    for mutant in MUTANTS:
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in mutant.changes()]
        with switched(mutant):
            assert any(getattr(owner, name) is not was for owner, name, was in before), mutant.name
        assert all(getattr(owner, name) is was for owner, name, was in before), mutant.name


def test_a_missing_guard_is_noticed() -> None:
    """One of them here; ``make mutants`` hunts all."""
    (mutant,) = (one for one in MUTANTS if one.name == "told-before-commit")
    assert hunt(mutant) is not None


@pytest.mark.parametrize("name", ["no-such", "--help"])
def test_a_name_that_is_no_mutant_is_refused_with_those_that_there_are(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([MUTANTS[0].name, name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"no such mutant: {name}; there are: {MUTANTS[0].name}, ")


def _unfit(mutant: str, owner: object, name: str, instead: object) -> str:
    """Return how what a mutant puts in the place of a function cannot be called as that is, "" where it can be."""
    original = vars(owner)[name]
    original = getattr(original, "__func__", original)  # of a class or static method
    stand_in = getattr(instead, "__func__", instead)
    if not inspect.isfunction(original) or not inspect.isfunction(stand_in):
        return ""
    asked = inspect.signature(original).parameters.values()
    places = [one.name for one in asked if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    words = {one.name: None for one in asked if one.kind is one.KEYWORD_ONLY}
    try:
        inspect.signature(stand_in).bind(*places, **words)
    except TypeError as error:
        return f"{mutant}: {name}: {error}"
    return ""


def test_what_a_mutant_puts_in_a_places_stead_can_be_called_as_that_is_so_that_no_wrong_call_is_what_finds_it() -> None:
    assert [
        unfit
        for mutant in MUTANTS
        for owner, name, instead in mutant.changes()
        if (unfit := _unfit(mutant.name, owner, name, instead))
    ] == []
