"""Processors and memory: what affinity and control groups leave, however the groups are mounted and nested."""

import math
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildtool.adapters.host.processors import (
    memory_limit,
    parse_groups,
    parse_limit,
    parse_mounts,
    parse_quota,
    usable_processors,
)

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
GROUPS = ["", "system.slice", "system.slice/farm.service", "system.slice/farm.service/a b"]
QUOTAS = st.lists(st.one_of(st.none(), st.integers(1_000, 1_000_000)), min_size=4, max_size=4)
LIMITS = st.lists(st.one_of(st.none(), st.integers(1, 2**40)), min_size=4, max_size=4)
PERIOD = 100_000


def mountinfo(root: Path, *lines: str) -> None:
    proc = root / "proc" / "self"
    proc.mkdir(parents=True, exist_ok=True)
    proc.joinpath("mountinfo").write_text(
        "22 1 0:21 / / rw - ext4 /dev/vda rw\n" + "".join(f"{one}\n" for one in lines)
    )


def version2(root: Path, quotas: list[int | None], limits: list[int | None], top: str = "/") -> None:
    """A machine with version 2, where this process is in the last of the groups; ``top`` is what is mounted."""
    mountinfo(root, f"30 22 0:26 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate")
    (root / "proc/self/cgroup").write_text(f"0::{top.rstrip('/')}/{GROUPS[-1]}\n")
    for group, quota, limit in zip(GROUPS, quotas, limits, strict=True):
        place = root / "sys/fs/cgroup" / group
        place.mkdir(parents=True, exist_ok=True)
        place.joinpath("cpu.max").write_text(f"{'max' if quota is None else quota} {PERIOD}\n")
        place.joinpath("memory.max").write_text(f"{'max' if limit is None else limit}\n")


def version1(root: Path, quotas: list[int | None], limits: list[int | None], top: str = "/") -> None:
    mountinfo(
        root,
        f"30 22 0:26 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
        f"31 22 0:27 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
        "32 22 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    )
    path = f"{top.rstrip('/')}/{GROUPS[-1]}"
    (root / "proc/self/cgroup").write_text(f"4:memory:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n")
    for group, quota, limit in zip(GROUPS, quotas, limits, strict=True):
        place = root / "sys/fs/cgroup/cpu,cpuacct" / group
        place.mkdir(parents=True, exist_ok=True)
        place.joinpath("cpu.cfs_quota_us").write_text(f"{-1 if quota is None else quota}\n")
        place.joinpath("cpu.cfs_period_us").write_text(f"{PERIOD}\n")
        place = root / "sys/fs/cgroup/memory" / group
        place.mkdir(parents=True, exist_ok=True)
        place.joinpath("memory.limit_in_bytes").write_text(f"{0x7FFFFFFFFFFFF000 if limit is None else limit}\n")


@given(QUOTAS, LIMITS, st.sampled_from([version1, version2]), st.sampled_from(["/", "/docker/0123"]))
@example([None, None, None, 1_000], [None] * 4, version2, "/")
def test_the_least_that_any_group_up_to_the_root_leaves_counts_rounded_up(
    quotas: list[int | None], limits: list[int | None], version: object, top: str
) -> None:
    assert callable(version)
    with TemporaryDirectory() as directory:
        root = Path(directory)
        version(root, quotas, limits, top)
        counts = [math.ceil(quota / PERIOD) for quota in quotas if quota is not None]
        assert usable_processors(root) == max(1, min([AFFINITY, *counts]))
        assert memory_limit(root) == min((limit for limit in limits if limit is not None), default=None)


def test_a_machine_without_control_groups_has_its_affinity(tmp_path: Path) -> None:
    assert usable_processors(tmp_path) == AFFINITY
    assert memory_limit(tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_that_may_use_one_processor_is_told_of_one(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_processors(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
@example("1 2 3 / /x - cgroup2")
@example("0::/../..\n1:cpu\n:::")
@example("9" * 5_000)
def test_whatever_the_system_says_is_no_error(text: str) -> None:
    parse_mounts(text)
    parse_groups(text)
    parse_quota(text)
    parse_quota(f"{text} {text}")
    parse_limit(text)
    with TemporaryDirectory() as directory:
        root = Path(directory)
        mountinfo(root, text.replace("\n", " "))
        (root / "proc/self/cgroup").write_text(text)
        assert usable_processors(root) >= 1
