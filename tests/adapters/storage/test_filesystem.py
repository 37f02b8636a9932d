"""The real disk: what it makes is for its owner alone, and nothing leads it elsewhere."""

import os
import stat
from pathlib import Path

import pytest

from buildtool.adapters.storage.filesystem import (
    OpenMode,
    RealDisk,
    exists,
    make_directories,
    read_whole,
    remove,
    storage_unavailable,
)


def test_what_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    disk = RealDisk()
    before = os.umask(0)
    try:
        make_directories(disk, tmp_path / "a" / "b")
        disk.close(disk.open(tmp_path / "a" / "b" / "file", OpenMode.NEW))
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/file")]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("mode", OpenMode)
def test_a_link_is_not_followed_and_is_removed_itself(tmp_path: Path, mode: OpenMode) -> None:
    (tmp_path / "precious").write_bytes(b"bytes")
    (tmp_path / "directory").mkdir()
    for target in ("precious", "directory"):
        (tmp_path / "link").symlink_to(tmp_path / target)
        with pytest.raises(OSError, match=r"link|File exists"):
            RealDisk().open(tmp_path / "link", mode)
        remove(RealDisk(), tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "precious"]
    assert (tmp_path / "precious").read_bytes() == b"bytes"


def test_a_file_that_is_still_open_in_a_program_that_is_started_is_not_open_there(tmp_path: Path) -> None:
    file = RealDisk().open(tmp_path / "file", OpenMode.NEW)
    try:
        assert not os.get_inheritable(file)
    finally:
        RealDisk().close(file)


class Private(RealDisk):
    """A disk on which a directory may be entered and not read."""

    def sync_directory(self, path: Path) -> None:
        if path.name == "private":
            raise PermissionError(13, "Permission denied")
        super().sync_directory(path)


def test_a_directory_may_lie_in_one_that_cannot_be_read_when_it_was_there_before(tmp_path: Path) -> None:
    """As systemd has it: /var/lib/private is for root alone."""
    (tmp_path / "private" / "state").mkdir(parents=True)
    make_directories(Private(), tmp_path / "private" / "state" / "logs")
    make_directories(Private(), tmp_path / "private" / "state")
    with pytest.raises(PermissionError):
        make_directories(Private(), tmp_path / "private" / "new")


def test_small_files_are_read_as_far_as_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_whole(RealDisk(), tmp_path / "file", 3) == b"123"
    assert exists(RealDisk(), tmp_path / "file")
    assert not exists(RealDisk(), tmp_path / "other")


def test_removing_what_is_not_there_is_fine_and_so_is_a_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "file").write_bytes(b"x")
    remove(RealDisk(), tmp_path / "tree")
    remove(RealDisk(), tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_system_become_one_line() -> None:
    assert "the disk is full; try again" in str(storage_unavailable("keep it", OSError(28, "No space left on device")))
    assert "cannot keep it: Input/output error; try" in str(
        storage_unavailable("keep it", OSError(5, "Input/output error"))
    )
