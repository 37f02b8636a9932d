"""What a build has on the disk is counted once, and whatever it does to hide it."""

import os
from pathlib import Path

from buildtool.adapters.host.limits.disk_use import disk_free, disk_use

MIB = 1 << 20


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
