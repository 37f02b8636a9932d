"""Control groups: those that can be used are found by using them, and of what was left nothing stays."""

import os
import subprocess
from pathlib import Path

import pytest

from buildtool.adapters.host.limits.control_groups import ControlGroups, SlotGroup
from buildtool.model.guest.limits import MIB, BuildLimits
from tests.support.packages import require_that

pytestmark = pytest.mark.world


@pytest.fixture
def groups() -> ControlGroups:
    found = ControlGroups.found(f"test-{os.getpid()}")
    require_that(
        present="memory" in found.places,
        what="no control groups to use",
        remedy="run as root, or as a unit with Delegate=yes",
    )
    return found


def test_a_group_has_the_limits_and_is_gone_when_it_is_removed(groups: ControlGroups) -> None:
    group = groups.make(3, BuildLimits(memory=64 * MIB, processes=50, cpus=0.5))
    assert group is not None
    try:
        limit = "memory.max" if groups.unified else "memory.limit_in_bytes"
        assert int((group.places["memory"] / limit).read_text()) == 64 * MIB
        assert int((group.places["pids"] / "pids.max").read_text()) == 50
        assert (group.memory_kills(), group.process_refusals()) == (0, 0)
        # To write into the other file of version 1 takes 13 ms, as the kernel waits for all that fork.
        assert {path.name for path in group.processes} == {"cgroup.procs" if groups.unified else "tasks"}
        assert all(os.access(path, os.W_OK) for path in group.processes)
    finally:
        group.remove()
        groups.close()
    assert not any(place.exists() for place in (*group.places.values(), *groups.places.values()))


def test_what_ended_programs_left_is_removed_and_of_those_that_run_nothing(groups: ControlGroups) -> None:
    held = groups.make(1, BuildLimits())
    assert held is not None
    again = ControlGroups.found(f"test-{os.getpid()}")
    assert all(place.exists() for place in held.places.values()), "another of the same name took what a build is in"
    assert set(again.places.values()).isdisjoint(groups.places.values())
    for descriptor in groups.held:  # as the system does when a program is killed
        os.close(descriptor)
    third = ControlGroups.found("another")
    assert not any(place.exists() for place in (*held.places.values(), *groups.places.values()))
    again.close()
    third.close()


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_any_there_are_none_and_that_is_said(tmp_path: Path) -> None:
    written(tmp_path / "proc/self/mountinfo", "")
    written(tmp_path / "proc/self/cgroup", "")
    found = ControlGroups.found("a", tmp_path)
    assert (found.places, found.make(1, BuildLimits())) == ({}, None)
    assert "looked at twice a second" in found.words()


def test_a_group_of_version_2_that_other_processes_are_in_is_left_alone(tmp_path: Path) -> None:
    written(tmp_path / "proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    written(tmp_path / "proc/self/cgroup", "0::/session\n")
    own = tmp_path / "sys/fs/cgroup/session"
    written(own / "cgroup.controllers", "cpu memory pids\n")
    written(own / "cgroup.procs", f"{os.getpid()}\n1\n")
    assert ControlGroups.found("a", tmp_path).places == {}
    assert {path.name for path in own.iterdir()} == {"cgroup.controllers", "cgroup.procs"}


def test_what_version_2_counts_is_read(tmp_path: Path) -> None:
    written(tmp_path / "memory.peak", "4096\n")
    written(tmp_path / "memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    written(tmp_path / "pids.events", "max 7\n")
    group = SlotGroup({"memory": tmp_path, "pids": tmp_path}, unified=True)
    assert (group.memory_peak(), group.memory_kills(), group.process_refusals()) == (4096, 2, 7)
    assert group.processes == (tmp_path / "cgroup.procs",)
    group.limit(BuildLimits(memory=MIB, processes=9))
    assert (tmp_path / "memory.max").read_text() == str(MIB)
    assert (tmp_path / "pids.max").read_text() == "9"


def test_what_all_builds_use_is_counted_without_what_is_given_back_and_held_back_without_killing(
    tmp_path: Path,
) -> None:
    written(tmp_path / "memory.current", "9000\n")
    written(tmp_path / "memory.stat", "anon 5000\ninactive_file 4000\n")
    found = ControlGroups({"memory": tmp_path}, unified=True)
    assert found.memory_used() == 5000
    found.hold_back(4096)
    assert (tmp_path / "memory.high").read_text() == "4096"
    found.hold_back(None)
    assert (tmp_path / "memory.high").read_text() == "max"
    assert not (tmp_path / "memory.max").exists(), "beyond that the kernel kills"
    assert ControlGroups().memory_used() is None
    ControlGroups().hold_back(4096)


def test_a_build_that_has_more_than_is_held_back_goes_on(groups: ControlGroups) -> None:
    group = groups.make(5, BuildLimits(memory=512 * MIB))
    assert group is not None
    script = "read go; a=$(head -c 30000000 /dev/zero | tr '\\0' x); echo has; read go; echo lives"
    build = subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert build.stdin is not None
    assert build.stdout is not None
    try:
        for file in group.processes:
            file.write_text(str(build.pid))
        build.stdin.write("go\n")
        build.stdin.flush()
        assert build.stdout.readline() == "has\n"
        assert (groups.memory_used() or 0) > 25_000_000
        groups.hold_back(8 * MIB)
        build.stdin.write("go\n")
        build.stdin.flush()
        assert build.stdout.readline() == "lives\n"
        assert (build.wait(), group.memory_kills()) == (0, 0)
    finally:
        build.kill()
        build.communicate()
        group.remove()
        groups.close()


def test_a_build_whose_processors_are_not_limited_is_in_no_group_of_the_scheduler(groups: ControlGroups) -> None:
    require_that(
        present=not groups.unified, what="no control groups of version 1", remedy="run as root on such a system"
    )
    group = groups.make(3, BuildLimits(memory=64 * MIB))
    assert group is not None
    try:
        assert "cpu" not in group.places
        assert {"memory", "pids"} <= group.places.keys()
    finally:
        group.remove()
        groups.close()
