"""What a build has on the disk is counted once, and whatever it does to hide it."""

import os
import signal
from pathlib import Path

import pytest

from buildtool.adapters.host.limits.disk_use import disk_free, disk_use
from buildtool.adapters.host.limits.watching import LimitWatch, within_disk
from buildtool.adapters.processes.command import CommandResult
from buildtool.model.guest.limits import FILE_SIZE, MIB, BuildLimits, Limited
from buildtool.model.records import AttemptEnd


def write(path: Path, size: int = MIB) -> None:
    with path.open("wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())


def test_all_files_and_directories_are_counted_at_any_depth(tmp_path: Path) -> None:
    before = disk_use([tmp_path], ())
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path / "a" / "b" / "c")
    after = disk_use([tmp_path], ())
    assert after.files - before.files == 3
    assert MIB <= after.size - before.size < 2 * MIB
    assert after.whole
    assert disk_use([tmp_path / "nowhere"], ()).whole


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "one")
    for name in ("two", "three"):
        (tmp_path / name).hardlink_to(tmp_path / "one")
    used = disk_use([tmp_path], ())
    assert used.files == 1
    assert MIB <= used.size < 2 * MIB


def test_files_without_a_name_count_as_long_as_somebody_holds_them(tmp_path: Path) -> None:
    with (tmp_path / "gone").open("wb") as file, open(os.memfd_create("memory"), "wb") as memory:  # noqa: PTH123
        (tmp_path / "gone").unlink()
        for held in (file, memory):
            held.write(os.urandom(MIB))
            held.flush()
            os.fsync(held.fileno())
        used = disk_use([tmp_path], [os.getpid(), os.getpid()])
        assert (used.size >= MIB, used.memory >= MIB) == (True, True)
        assert used.size < 2 * MIB
    assert disk_use([tmp_path], [os.getpid()]).size == 0


def test_a_directory_that_is_shut_is_told_but_to_root_to_whom_none_is(tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    assert disk_use([tmp_path], ()).whole == (os.geteuid() == 0)


def test_what_is_deeper_than_a_path_can_say_is_told(tmp_path: Path) -> None:
    there = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=there)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=there)
        os.close(there)
        there = deeper
    os.close(there)
    assert not disk_use([tmp_path], ()).whole


def test_what_is_free_is_told(tmp_path: Path) -> None:
    free = disk_free(tmp_path)
    assert free.size > 0
    assert free.files >= 0


def test_builds_may_write_a_part_of_what_is_free_beyond_what_the_owner_keeps(tmp_path: Path) -> None:
    free = disk_free(tmp_path).size

    def may(kept: int, builds: int = 1) -> int:
        found = within_disk(BuildLimits(), tmp_path, builds, kept)
        assert found.disk is not None
        assert found.file_size <= found.disk
        return found.disk

    half = free // 2
    assert may(half) <= free - half
    assert 0.7 * may(0) < 2 * may(half) < 1.3 * may(0)
    assert may(0, builds=4) < may(0) / 3
    assert may(2 * free) == MIB


@pytest.mark.parametrize(
    ("disk", "size", "what", "end"),
    [
        (4 * MIB, 4 * MIB, Limited.DISK, AttemptEnd.LIMITED),
        (2 * FILE_SIZE, FILE_SIZE, Limited.FILE_SIZE, AttemptEnd.FAILED),
        (None, FILE_SIZE, Limited.FILE_SIZE, AttemptEnd.FAILED),
    ],
)
def test_a_file_that_only_this_machine_has_no_room_for_is_not_held_against_the_project(
    disk: int | None, size: int, what: Limited, end: AttemptEnd
) -> None:
    watch = LimitWatch(BuildLimits(disk=disk, file_size=size), None, 1, ())
    found = watch.judge(CommandResult(128 + signal.SIGXFSZ, None, "exited", 1.0, ""))
    assert found is not None
    assert (found.what, found.end, found.limit) == (what, end, size)
