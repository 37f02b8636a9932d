"""``SlotFiles``: a build server's own directories, what the simulation has in their place, and its tests' fake."""

import random
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol, cast

import pytest
from twisted.internet.defer import Deferred

from buildtool.adapters.host.build_slots import BuildSlots
from buildtool.adapters.runtime.threads import Inline
from buildtool.errors import BuildFailed
from buildtool.model.trust.evidence import SandboxLevel
from buildtool.ports.buildserver import Halt, Halted, PackedFile, SlotFiles
from tests.fakes_build import FakeWorkshop
from tests.simulation.builders import Workbench
from tests.simulation.clock import Life, VirtualTime
from tests.simulation.faults import Faults
from tests.simulation.machine import Machine
from tests.simulation.projects import Truth

LIMIT = 10_000


class At(Protocol):
    """Slots, and a tree in which ``made`` can be delivered."""

    slots: SlotFiles
    tree: Path

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...


class Real:
    """Directories."""

    def __init__(self, top: Path) -> None:
        self.slots = BuildSlots(top / "slots", Inline(), {"cpus": 2})
        self.tree = top / "tree"
        self.tree.mkdir()
        (self.tree / "made").write_text("something")
        self.time = VirtualTime()

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        found: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(found.append)
        while not found and self.time.next_time() is not None:
            self.time.step()
        if hasattr(found[0], "raiseException"):
            found[0].raiseException()
        return found[0]


class Faked(Real):
    """What the build server's tests have."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.slots = FakeWorkshop()  # type: ignore[assignment] # the port is what counts


class Simulated(Real):
    """What build servers of the simulation have, where nothing goes wrong."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        faults = Faults(random.Random(1))  # noqa: S311 - no secret
        truths = SimpleNamespace(of=lambda *_: Truth(False, 1.0))
        watch = SimpleNamespace(packed=lambda *_: None, files=lambda *_: ())
        world: Any = SimpleNamespace(
            faults=faults, truths=truths, watch=watch, sandboxes=watch, owners=watch, needs=watch, time=self.time
        )
        builder: Any = SimpleNamespace(machine=Machine("anna", faults), name="anna", bulk=1, really=SandboxLevel.NONE)
        bench = Workbench(world, builder, Life(self.time, "anna"), {self.tree: ("r1", "red")})
        self.slots = cast("BuildSlots", bench)


@pytest.fixture(params=[Real, Faked, Simulated])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> At:
    made: At = request.param(tmp_path)
    return made


def pack(at: At, limit: int = LIMIT, halt: Halt | None = None) -> PackedFile:
    place = at.do(at.slots.prepare(0, Halt()))
    packed: PackedFile = at.do(at.slots.pack(at.tree, ["made"], place.output / "made.zip", limit, halt or Halt()))
    return packed


def asked_to_end() -> Halt:
    halt = Halt()
    halt.ask("nobody waits")
    return halt


def test_each_slot_has_directories_of_its_own_which_are_the_same_each_time(at: At) -> None:
    places = [at.do(at.slots.prepare(slot, Halt())) for slot in (0, 1, 0)]
    assert places[0] == places[2]
    own = {path for place in places for path in (place.home, place.temporary, place.output)}
    assert len(own) == 6
    assert not any(one in other.parents for one in own for other in own)


def test_what_is_packed_has_size_and_digests_and_nothing_in_it_is_for_a_machine(at: At) -> None:
    packed = pack(at)
    assert 0 < packed.size <= LIMIT
    assert [len(digest) for digest in (packed.digest, packed.content_digest)] == [64, 64]
    output = at.do(at.slots.prepare(0, Halt())).output / "made.zip"
    at.do(at.slots.pack(at.tree, ["made"], output, LIMIT, Halt()))
    assert at.do(at.slots.measure(output, Halt())) == ()


def test_what_is_longer_than_its_limit_is_the_builds_failure(at: At) -> None:
    with pytest.raises(BuildFailed):
        pack(at, limit=10)


def test_everything_ends_soon_once_it_was_asked_to(at: At) -> None:
    pack(at)
    for act in (
        at.slots.prepare(0, asked_to_end()),
        at.slots.pack(at.tree, ["made"], at.do(at.slots.prepare(1, Halt())).output / "x", LIMIT, asked_to_end()),
        at.slots.clear(0, asked_to_end()),
    ):
        with pytest.raises(Halted, match="nobody waits"):
            at.do(act)


def test_a_slot_is_cleared_however_often_and_whether_or_not_it_was_used(at: At) -> None:
    for _ in range(2):
        at.do(at.slots.clear(3, Halt()))
    pack(at)
    for _ in range(2):
        at.do(at.slots.clear(0, Halt()))
