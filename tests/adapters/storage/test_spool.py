"""An end that was kept is there whole after any crash, and one that was not kept to its end leaves nothing behind."""

import json
import os
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.filesystem import Disk, OpenMode, RealDisk, make_directories
from buildtool.adapters.storage.spool import Spool
from buildtool.errors import MachineFault
from buildtool.model.records import AttemptEnd
from buildtool.ports.buildserver import Spooled
from buildtool.protocol.codec import encode
from buildtool.protocol.messages import Done, Ended
from tests.adapters.http.transfers import digest_of
from tests.simulation.disk import Crashed, Fault, Operation, SimulatedDisk
from tests.support.lanes import examples
from tests.support.logs import listening

T = TypeVar("T")

BYTES = b"what was built, as a zip"
DONE = Done(7, 2, digest_of(BYTES), "c" * 64, len(BYTES), "p-1.zip", 1.5, "the end\x1b[0m of the \u20ac log")
ENDED = Ended(7, 2, AttemptEnd.BROKEN, "no disk", "tail")
OTHER = Ended(9, 0, AttemptEnd.FAILED, "exit code 2", "")
AGAIN = evolve(DONE, digest=digest_of(BYTES[::-1]))
MOST = 32
"""More operations than anything here takes."""
SEEDS = st.integers(0, 9999)


def do(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result, which is there at once; also Crashed, which no Failure holds back."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]  # type: ignore[no-any-return]


def trouble(coroutine: Coroutine[Any, Any, object]) -> str:
    """Return what the machine is said to be at fault with, if it is."""
    try:
        do(coroutine)
    except MachineFault as error:
        return str(error)
    return ""


class Machine:
    """A build server's disk with a slot in which an archive was just made, and a spool."""

    def __init__(self, seed: int = 0) -> None:
        self.disk = SimulatedDisk(random.Random(seed))  # noqa: S311 - a seed is to repeat what it draws
        self.top = Path("builds/me")
        self.output = self.top / "slot-0" / "output.zip"
        make_directories(self.disk, self.output.parent)
        self.pack(BYTES)

    def pack(self, data: bytes) -> None:
        """The archive is not synced, as ``make_zip`` leaves it."""
        file = self.disk.open(self.output, OpenMode.EMPTY)
        self.disk.append(file, data)
        self.disk.close(file)

    @property
    def spool(self) -> Spool:
        """What a program that was just started has."""
        return Spool(self.top / "spool", Inline(), self.disk)

    def kept(self) -> list[tuple[Done | Ended, bytes | None]]:
        """What a start finds; and nothing else is in the spool then."""
        found = do(self.spool.entries())
        files = self.disk.files()
        expected = set()
        for one in found:
            place = self.spool.path(one.end.build_id, one.end.epoch)
            expected |= {str(place / "end.json")} | ({str(one.artifact)} if one.artifact else set())
        assert {name for name in files if "/spool/" in name} == expected
        return [(one.end, files[str(one.artifact)] if one.artifact else None) for one in found]


def done(machine: Machine, step: int, act: Coroutine[Any, Any, object]) -> bool:
    """Let the machine go down after so many operations; say whether something had come to its end by then."""
    machine.disk.crash_at = machine.disk.operations + step
    try:
        do(act)
    except Crashed:
        return False
    return True


@pytest.mark.parametrize("disk", [RealDisk(), None], ids=["real", "simulated"])
def test_what_is_kept_is_found_after_a_start_with_its_file_until_it_is_dropped(
    disk: Disk | None, tmp_path: Path
) -> None:
    disk = disk or Machine().disk
    make_directories(disk, tmp_path) if not isinstance(disk, RealDisk) else None
    archive = tmp_path / "out.zip"
    file = disk.open(archive, OpenMode.NEW)
    disk.append(file, BYTES)
    disk.close(file)
    spool = Spool(tmp_path / "spool", Inline(), disk)
    assert list(do(spool.entries())) == []
    kept = do(spool.keep(DONE, archive))
    assert do(spool.keep(OTHER)) == Spooled(OTHER)
    assert kept == Spooled(DONE, tmp_path / "spool" / "7-2" / "artifact.zip")
    assert disk.names(tmp_path) == ["spool"]
    again = Spool(tmp_path / "spool", Inline(), disk)
    assert list(do(again.entries())) == [kept, Spooled(OTHER)]
    do(again.drop(7, 2))
    do(again.drop(7, 2))
    assert list(do(again.entries())) == [Spooled(OTHER)]
    assert disk.names(tmp_path / "spool") == ["9-0"]


def test_it_is_for_its_owner_alone_and_the_oldest_comes_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", Inline())
    for build_id in (5, 4):
        do(spool.keep(evolve(OTHER, build_id=build_id)))
    os.utime(spool.path(5, 0) / "end.json", (1, 1))
    assert [one.end.build_id for one in do(spool.entries())] == [5, 4]
    assert spool.path(5, 0).stat().st_mode & 0o777 == 0o700
    assert (spool.path(5, 0) / "end.json").stat().st_mode & 0o777 == 0o600


@settings(max_examples=examples(12))
@given(SEEDS, st.booleans())
def test_whenever_the_machine_goes_down_an_end_is_kept_whole_or_not_at_all_and_for_certain_once_that_was_said(
    seed: int, power: bool
) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        said = done(machine, step, machine.spool.keep(DONE, machine.output))
        machine.disk.crash() if power else machine.disk.stop()
        assert machine.kept() in ([[(DONE, BYTES)]] if said else [[], [(DONE, BYTES)]])
        machine.disk.crash()
        assert machine.kept() in ([[(DONE, BYTES)]] if said else [[], [(DONE, BYTES)]])


def test_keeping_takes_fewer_operations_than_are_tried_here() -> None:
    for end in (DONE, ENDED):
        machine = Machine()
        before = machine.disk.operations
        do(machine.spool.keep(end, machine.output if end is DONE else None))
        assert 5 < machine.disk.operations - before < MOST - 5


@settings(max_examples=examples(12))
@given(SEEDS)
def test_what_a_start_found_is_still_there_after_the_machine_goes_down(seed: int) -> None:
    """A program killed before it synced leaves what can be read and is not durable: the start sees to that."""
    for step in range(MOST):
        machine = Machine(seed)
        done(machine, step, machine.spool.keep(DONE, machine.output))
        machine.disk.stop()
        found = machine.kept()
        machine.disk.crash()
        assert machine.kept() == found


@settings(max_examples=examples(12))
@given(SEEDS)
def test_an_end_that_takes_the_place_of_an_artifact_does_so_whole_or_not_at_all(seed: int) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        do(machine.spool.keep(DONE, machine.output))
        said = done(machine, step, machine.spool.keep(ENDED))
        machine.disk.crash()
        assert machine.kept() in ([[(ENDED, None)]] if said else [[(DONE, BYTES)], [(ENDED, None)]])


@settings(max_examples=examples(12))
@given(SEEDS)
def test_an_artifact_never_stands_beside_the_message_of_another_one(seed: int) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        do(machine.spool.keep(DONE, machine.output))
        machine.pack(BYTES[::-1])
        said = done(machine, step, machine.spool.keep(AGAIN, machine.output))
        machine.disk.crash()
        found = machine.kept()
        assert found in ([[(AGAIN, BYTES[::-1])]] if said else [[], [(DONE, BYTES)], [(AGAIN, BYTES[::-1])]])


@settings(max_examples=examples(12))
@given(SEEDS)
def test_after_a_crash_while_dropping_it_is_there_whole_or_not_at_all(seed: int) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        do(machine.spool.keep(DONE, machine.output))
        do(machine.spool.keep(OTHER))
        done(machine, step, machine.spool.drop(7, 2))
        machine.disk.crash()
        assert sorted(machine.kept(), key=repr) in [[(DONE, BYTES), (OTHER, None)], [(OTHER, None)]]


@settings(max_examples=examples(12))
@given(SEEDS, st.sampled_from([Fault.FULL, Fault.ERROR]))
def test_what_the_disk_does_not_take_is_said_in_one_line_and_the_artifact_is_where_it_was(
    seed: int, fault: Fault
) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        machine.disk.fault = failing_at(machine.disk.operations + step, fault)
        error = trouble(machine.spool.keep(DONE, machine.output))
        machine.disk.fault = None
        if error:
            assert "\n" not in error
            assert "cannot keep the end of build 7" in error
            assert ("disk is full" in error) == (fault is Fault.FULL)
            assert machine.disk.files()[str(machine.output)] == BYTES
            assert machine.kept() == []
            do(machine.spool.keep(DONE, machine.output))
        assert machine.kept() == [(DONE, BYTES)]


@settings(max_examples=examples(12))
@given(SEEDS, st.sampled_from([Fault.FULL, Fault.ERROR]))
def test_what_was_kept_stays_when_the_disk_does_not_take_what_should_stand_in_its_place(
    seed: int, fault: Fault
) -> None:
    for step in range(MOST):
        machine = Machine(seed)
        do(machine.spool.keep(DONE, machine.output))
        machine.disk.fault = failing_at(machine.disk.operations + step, fault)
        error = trouble(machine.spool.keep(ENDED))
        machine.disk.fault = None
        machine.disk.crash()
        assert machine.kept() in ([[(DONE, BYTES)], [(ENDED, None)]] if error else [[(ENDED, None)]])


def failing_at(number: int, fault: Fault) -> Any:
    def decide(operation: Operation) -> Fault | None:
        return fault if operation.number == number else None

    return decide


def test_a_name_that_cannot_be_removed_afterwards_does_not_make_it_unkept() -> None:
    machine = Machine()
    machine.disk.fault = lambda one: Fault.ERROR if (one.name, one.path) == ("unlink", str(machine.output)) else None
    with listening() as lines:
        do(machine.spool.keep(DONE, machine.output))
    assert any("cannot be deleted" in line for line in lines)
    assert machine.kept() == [(DONE, BYTES)]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("end.json", b"", "damaged"),
        ("end.json", b"[" * 100_000, "damaged"),
        ("end.json", b'{"type": "Done"}', "damaged"),
        ("end.json", json.dumps(encode(DONE)).encode()[:-1] + b', "epoch": 2}', "damaged"),
        ("end.json", json.dumps(encode(DONE)).encode()[:-1] + b', "new": ' + b"[" * 40 + b"]" * 40 + b"}", "damaged"),
        ("end.json", b"\xff\xff", "damaged"),
        ("end.json", json.dumps(encode(DONE)).encode() + b" " * 300_000, "damaged"),
        ("end.json", json.dumps({"type": "Ok", "stale": False}).encode(), "damaged"),
        ("artifact.zip", BYTES[1:], "has 23 bytes, not 24"),
        ("artifact.zip", None, "artifact is missing"),
        ("end.json", None, "not kept to the end"),
    ],
)
def test_what_is_not_whole_is_deleted_with_a_line_in_the_log_and_the_rest_is_found(
    name: str, content: bytes | None, why: str
) -> None:
    machine = Machine()
    do(machine.spool.keep(DONE, machine.output))
    do(machine.spool.keep(OTHER))
    machine.disk.unlink(machine.top / "spool" / "7-2" / name)
    if content is not None:
        machine.disk.put(machine.top / "spool" / "7-2" / name, content)
    with listening() as lines:
        assert machine.kept() == [(OTHER, None)]
    assert [line for line in lines if "7-2" in line and why in line and "deleted" in line] == lines


def test_what_does_not_belong_there_is_deleted() -> None:
    machine = Machine()
    do(machine.spool.keep(OTHER))
    spool = machine.top / "spool"
    machine.disk.put(spool / "stray", b"x")
    machine.disk.put(spool / "8-1" / "deep" / "x", b"x")
    machine.disk.put(spool / "10-1" / "end.json", machine.disk.files()[str(spool / "9-0" / "end.json")])
    machine.disk.put(spool / "9-0" / "more", b"x")
    with listening() as lines:
        assert machine.kept() == [(OTHER, None)]
    assert machine.disk.names(spool) == ["9-0"]
    assert any("it holds the end of build 9.0" in line for line in lines)


def test_an_entry_that_cannot_be_read_is_left_for_the_next_start() -> None:
    machine = Machine()
    do(machine.spool.keep(DONE, machine.output))
    do(machine.spool.keep(OTHER))
    machine.disk.fault = lambda one: Fault.ERROR if one.name == "pread" and "7-2" in one.path else None
    with listening() as lines:
        assert [one.end for one in do(machine.spool.entries())] == [OTHER]
    assert any("left alone" in line for line in lines)
    machine.disk.fault = None
    assert machine.kept() == [(DONE, BYTES), (OTHER, None)]


def test_a_directory_that_cannot_be_made_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"in the way")
    spool = Spool(tmp_path / "spool", Inline())
    for act in (spool.entries(), spool.keep(OTHER), spool.drop(7, 2)):
        with pytest.raises(MachineFault):
            do(act)


def test_what_was_read_whole_is_offered_although_it_cannot_be_synced_now() -> None:
    """The metaserver would hear that the server came back without it, and have it built again."""
    machine = Machine()
    do(machine.spool.keep(DONE, machine.output))
    machine.disk.fault = lambda operation: (
        Fault.ERROR if (operation.name, Path(operation.path).name) == ("sync_directory", "7-2") else None
    )
    with listening() as said:
        assert [one.end for one in do(machine.spool.entries())] == [DONE]
    assert any("may not outlive a loss of power" in line for line in said)
