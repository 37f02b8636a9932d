"""What tells of the owner is found out once; whatever saw them last counts."""

import os
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from buildtool.adapters.host.presence.probe import PresenceProbe, ToldBy, parse_ioreg
from buildtool.model.guest.stance import Observed, OwnerWishes
from tests.adapters.host.presence.test_devices import machine, plug_in

IDLE_ONLY = OwnerWishes(UTC, idle_only=True)
IDLE_SINCE_100 = "b true\nt 100000000\n"


class Machine:
    """A machine whose clocks stand still, with the answers of its commands."""

    def __init__(self, root: Path, answers: dict[str, str], system: str = "linux") -> None:
        self.now = 200.0
        self.asked: list[str] = []
        self.answers = answers
        self.probe = PresenceProbe(root, self.ask, lambda: self.now, lambda: self.now, system)

    def ask(self, command: Sequence[str]) -> str | None:
        self.asked.append(command[0])
        return self.answers.get(command[0])


def test_where_nothing_tells_nothing_is_seen(tmp_path: Path) -> None:
    it = Machine(tmp_path, {})

    assert it.probe.told_by() == ToldBy()
    assert it.probe.told_by().words() == ""
    assert it.probe.look(IDLE_ONLY) == Observed()


def test_logind_is_asked_where_devices_may_not_be_read(tmp_path: Path) -> None:
    it = Machine(tmp_path, {"busctl": IDLE_SINCE_100})

    assert it.probe.told_by() == ToldBy(("logind",))
    assert it.probe.look(IDLE_ONLY) == Observed(input_age=100.0)


def test_devices_that_may_be_read_tell_more_than_logind(tmp_path: Path) -> None:
    keyboard = plug_in(machine(tmp_path), "event3")
    it = Machine(tmp_path, {"busctl": "b false\nt 0\n"})

    assert it.probe.told_by().words() == "/dev/input"
    it.now += 1_000
    assert it.probe.look(IDLE_ONLY) == Observed(input_age=1_000.0)
    os.write(keyboard, b"x")
    assert it.probe.look(IDLE_ONLY) == Observed(input_age=0.0)
    it.probe.close()
    os.close(keyboard)


def test_the_load_of_others_is_measured_where_nothing_else_tells(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    it = Machine(tmp_path, {})
    assert it.probe.told_by().words() == "the load of others"
    assert it.probe.look(IDLE_ONLY) == Observed()

    it.now += 10
    (tmp_path / "proc/stat").write_text(f"cpu  {20 * os.sysconf('SC_CLK_TCK')} 0 0 0 0 0 0 0 0 0\n")
    found = it.probe.look(IDLE_ONLY).others_load
    assert found is not None
    assert 1.0 < found <= 2.0


def test_nothing_is_looked_at_that_nobody_asked_for(tmp_path: Path) -> None:
    it = Machine(tmp_path, {"busctl": IDLE_SINCE_100})
    it.probe.told_by()
    it.asked.clear()

    assert it.probe.look(OwnerWishes(UTC)) == Observed()
    assert it.probe.look(OwnerWishes(UTC, mains_only=True)) == Observed()
    assert it.asked == []


def test_free_disk_is_that_where_builds_write(tmp_path: Path) -> None:
    it = Machine(tmp_path, {})
    it.probe.disk_at = tmp_path
    found = it.probe.look(OwnerWishes(UTC, disk=1.0)).free_disk
    assert found is not None
    assert found > 0
    it.probe.disk_at = tmp_path / "gone"
    assert it.probe.look(OwnerWishes(UTC, disk=1.0)) == Observed()


def test_a_mac_is_asked_by_its_own_commands(tmp_path: Path) -> None:
    said = {"ioreg": '  | {\n  |   "HIDIdleTime" = 93000000000\n', "pmset": "Now drawing from 'Battery Power'"}
    it = Machine(tmp_path, said, "darwin")

    assert it.probe.told_by() == ToldBy(("IOHIDSystem",), power="the power supply")
    seen = it.probe.look(OwnerWishes(UTC, idle_only=True, mains_only=True))
    assert seen == Observed(input_age=93.0, on_battery=True)
    assert parse_ioreg("nothing") is None


def test_where_builds_have_a_share_of_memory_beside_the_owner_both_are_looked_at(tmp_path: Path) -> None:
    it = Machine(tmp_path, {"busctl": IDLE_SINCE_100})
    it.probe.builds_memory = lambda: 4096
    assert it.probe.look(OwnerWishes(UTC, memory_present=1)) == Observed(input_age=100.0, builds_memory=4096)
    assert it.probe.look(IDLE_ONLY).builds_memory is None
