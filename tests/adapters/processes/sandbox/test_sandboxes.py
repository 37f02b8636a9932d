"""Sandboxes that are made ahead; and the account of a slot's builds, on machines with all numbers and with few."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.procfs import descendants, look_at
from buildtool.adapters.processes.sandbox.proving import _PROOF_SLOT
from buildtool.adapters.processes.sandbox.sandboxes import FIRST_ACCOUNT, Sandboxes, account
from tests.adapters.processes.sandbox.sandboxed import Boxed, Slot, bubblewrap

ALL, CONTAINER = "0 0 4294967295", "0 100000 65536"
GIVEN_OUT = range(61_184, 65_536)
"""Numbers that systemd gives out to services for a while, and that of nobody."""


def of(tmp_path: Path, said: str, slot: int) -> int:
    (tmp_path / "uid_map").write_text(f"  {said}\n")
    return account(slot, tmp_path / "uid_map")


@pytest.mark.parametrize("slot", [0, 1, _PROOF_SLOT])
def test_each_slot_and_the_proof_have_an_account_of_their_own_that_nobody_else_has(slot: int, tmp_path: Path) -> None:
    assert of(tmp_path, ALL, slot) == FIRST_ACCOUNT + slot
    low = of(tmp_path, CONTAINER, slot)
    assert low < 65_536
    assert low not in GIVEN_OUT
    assert low - of(tmp_path, CONTAINER, 0) == slot


def test_who_has_no_number_for_builds_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no account 60600"):
        of(tmp_path, "0 1000 1", 0)


class Machine:
    """Slots of one machine, each used by one Attempt after the other."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.keepers = Keepers(1)
        self.sandboxes = Sandboxes(self.keepers, bubblewrap(), top / "made")

    def slot(self, number: int) -> Slot:
        """Return a slot's directories, all that a build writes in new."""
        found = Slot(self.top / "slots" / str(number))
        for directory in (found.tree, found.place.home, found.place.temporary):
            shutil.rmtree(directory, ignore_errors=True)
        return found.make()

    def attempt(self, number: int) -> tuple[Boxed, Slot]:
        slot = self.slot(number)
        return Boxed(self.sandboxes.make(number, slot.tree, slot.place), slot), slot

    def close(self) -> None:
        self.sandboxes.close()
        self.keepers.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.close()


def first(boxed: Boxed) -> int:
    return boxed.sandbox.pid


@pytest.mark.world
def test_a_sandbox_that_was_made_ahead_is_used_once_by_its_slot_and_has_its_directories_as_they_are_now(
    machine: Machine,
) -> None:
    boxed, slot = machine.attempt(0)
    boxed.shell("echo old > tree.txt; echo old > /tmp/left")
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    ready = machine.sandboxes._ahead[0][1].pid
    other, _ = machine.attempt(1)
    assert first(other) != ready
    other.sandbox.end()
    again, slot = machine.attempt(0)  # whose directories were removed and made anew meanwhile
    (slot.tree / "source").write_text("new")
    assert first(again) == ready
    assert (
        again.shell("cat source; ls -A . ; cat /tmp/left 2> /dev/null; echo built > out; echo kept > /tmp/x").output
        == "newsource\n"
    )
    assert (slot.tree / "out").read_text() == "built\n"
    assert (slot.place.temporary / "x").read_text() == "kept\n"
    again.sandbox.end()
    third, _ = machine.attempt(0)
    assert first(third) not in {ready, first(boxed)}
    third.sandbox.end()


@pytest.mark.world
def test_nothing_of_other_slots_or_of_what_was_hidden_is_in_a_sandbox_once_anything_runs_in_it(
    machine: Machine,
) -> None:
    secret = machine.slot(7).tree / "secret"
    secret.write_text("x")
    boxed, slot = machine.attempt(0)
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    boxed, slot = machine.attempt(0)
    said = boxed.shell(
        f"ls -A /.all/0 {slot.top.parent} {machine.top}; cat {secret}; grep -c -e /.all /proc/self/mountinfo"
    )
    assert said.output.splitlines()[-1] == "0"
    assert "secret: No such file" in said.output
    assert f"{slot.top.parent}:\n{slot.top.name}\n" in said.output
    assert "touch: " in boxed.shell(f"touch {slot.top}/x {slot.top.parent}/x").output
    assert not (slot.top / "x").exists()
    boxed.sandbox.end()


@pytest.mark.world
def test_one_that_died_or_was_made_for_other_settings_is_replaced(machine: Machine) -> None:
    boxed, _ = machine.attempt(0)
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    killed = machine.sandboxes._ahead[0][1].pid
    os.kill(killed, signal.SIGKILL)
    boxed, _ = machine.attempt(0)
    assert first(boxed) != killed
    assert boxed.shell("echo well").output == "well\n"
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    older = machine.sandboxes._ahead[0][1].pid
    machine.sandboxes.readable = (machine.slot(9).tree,)
    boxed, _ = machine.attempt(0)
    assert first(boxed) != older
    boxed.sandbox.end()
    with pytest.raises(ProcessLookupError):
        os.kill(older, 0)


@pytest.mark.world
def test_those_that_were_made_ahead_end_with_the_build_server(machine: Machine) -> None:
    boxed, _ = machine.attempt(0)
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    ready = machine.sandboxes._ahead[0][1].pid
    machine.sandboxes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(ready, 0)
    machine.sandboxes.make_ahead(0)
    assert machine.sandboxes._ahead == {}


@pytest.mark.world
def test_nothing_starts_in_a_sandbox_that_is_not_equipped(machine: Machine) -> None:
    boxed, slot = machine.attempt(0)
    boxed.sandbox.end()
    machine.sandboxes.make_ahead(0)
    reading, writing = os.pipe()
    with pytest.raises(PermissionError):
        machine.sandboxes._ahead[0][1].start(CommandLine(("true",), slot.tree, {}), writing)
    os.close(reading)
    os.close(writing)


ROOT = Path(__file__).parents[4]
PROGRAM = """
import sys, time
from pathlib import Path
from tests.adapters.processes.sandbox.test_sandboxes import Machine
machine = Machine(Path(sys.argv[1]))
boxed, _ = machine.attempt(0)
boxed.sandbox.end()
machine.sandboxes.make_ahead(0)
keeper = machine.sandboxes._ahead[0][1].pid
print(keeper, machine.keepers._nursery.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.world
@pytest.mark.parametrize("nursery_too", [False, True])
def test_a_build_server_that_is_killed_leaves_no_sandbox_that_was_made_ahead(tmp_path: Path, nursery_too: bool) -> None:
    bubblewrap()
    words = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        keeper, nursery = map(int, program.stdout.readline().split())
        made = [keeper, *(seen.pid for seen in descendants(keeper))]
        assert len(made) > 2
        if nursery_too:
            os.kill(nursery, signal.SIGKILL)
        program.kill()
    for pid in made:
        while (seen := look_at(pid)) is not None and seen.alive:
            os.sched_yield()
