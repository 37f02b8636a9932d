"""A series lists and removes what this program made, and nothing else."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from buildtool.adapters.maintenance.backup import MARK
from buildtool.adapters.maintenance.series.directory import BackupMark, BackupSeries, owner_of, scratch
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.model.farm.backups import MadeBackup, name_of

NOW = 1_795_857_460.5
NAME = name_of(NOW)


def backup(directory: Path, name: str = NAME, wrong: str = "") -> Path:
    """Make what looks like a backup of a series."""
    place = directory / name
    (place / "artifacts").mkdir(parents=True)
    (place / "buildtool.sqlite-wal").touch()
    BackupMark(name, NOW, wrong=wrong).begin(place)
    return place


def test_what_was_made_is_listed_with_its_time_and_whether_it_is_good(tmp_path: Path) -> None:
    backup(tmp_path)
    backup(tmp_path, f"{NAME}-2", "a log is missing")
    found = sorted(BackupSeries(tmp_path).there(), key=lambda one: one.name)
    assert found == [MadeBackup(NAME, NOW), MadeBackup(f"{NAME}-2", NOW, good=False)]


def test_what_this_program_did_not_make_is_neither_listed_nor_removed(tmp_path: Path) -> None:
    series = BackupSeries(tmp_path)
    (tmp_path / name_of(1.0)).mkdir()  # its name only
    (tmp_path / name_of(2.0)).symlink_to(backup(tmp_path, "mine"))
    backup(tmp_path, name_of(3.0)).rename(tmp_path / name_of(4.0))  # a copy under another name
    (tmp_path / name_of(5.0)).write_text("a file")
    wrong: tuple[object, ...] = (
        {}, [], None, {"format": 2}, {"made": True}, {"made": "x"}, {"made": float("inf")}, {"sealed": 1}, {"wrong": 1},
        {"of": 1},
    )  # fmt: skip
    for second, told in enumerate(wrong, 10):
        place = backup(tmp_path, name_of(second))
        mark = {"format": 1, "name": place.name, "made": NOW}
        (place / MARK).write_text(json.dumps({**mark, **told} if isinstance(told, dict) and told else told))
    (backup(tmp_path, name_of(50.0)) / MARK).write_text("[" * 60_000)
    before = sorted(tmp_path.iterdir())
    assert series.there() == []
    for path in before:
        assert series.remove(path.name) == "this program did not make it"
    assert sorted(tmp_path.iterdir()) == before


def test_a_backup_goes_whole_and_one_that_a_metaserver_was_started_on_or_that_is_used_stays(tmp_path: Path) -> None:
    series, place = BackupSeries(tmp_path), backup(tmp_path)
    (place / "incarnation.1").touch()
    assert series.remove(NAME) == (
        "there is incarnation.1 in it, which no backup has (was a metaserver started on it?)"
    )
    (place / "incarnation.1").unlink()
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(BlockingIOError):
        series.remove(NAME)
    assert (place / MARK).exists()
    os.close(descriptor)
    assert series.remove(NAME) == ""
    assert list(tmp_path.iterdir()) == []


def test_what_was_left_of_writing_that_one_is_damaged_keeps_no_backup(tmp_path: Path) -> None:
    (backup(tmp_path) / f".{MARK}.0123456789abcdef").touch()
    assert BackupSeries(tmp_path).remove(NAME) == ""


def test_backups_of_another_farm_in_the_same_directory_are_counted_and_stay(tmp_path: Path) -> None:
    owners = []
    for second, key in enumerate((b"a" * 32, b"b" * 32), 1):
        (tmp_path / f"state{second}").mkdir()
        (tmp_path / f"state{second}/key").write_bytes(key)
        owners.append(owner_of(tmp_path / f"state{second}"))
        place = backup(tmp_path, name_of(second))
        BackupMark(place.name, NOW, owners[-1]).begin(place)
    first = BackupSeries(tmp_path, owners[0])
    assert [one.name for one in first.there()] == [name_of(1)]
    assert first.others() == 1
    assert first.remove(name_of(2)) == "this program did not make it"
    assert first.remove(name_of(1)) == ""
    (tmp_path / "state1").rename(tmp_path / "moved")
    assert owner_of(tmp_path / "moved") == owners[0]
    assert owner_of(tmp_path / "none") == ""


def test_names_of_one_second_are_told_apart(tmp_path: Path) -> None:
    series = BackupSeries(tmp_path)
    for name in (NAME, f"{NAME}-2", f"{NAME}-3"):
        assert series.fresh(NOW) == name
        backup(tmp_path, name)
    assert len(series.there()) == 3


def test_one_process_at_a_time_has_a_series(tmp_path: Path) -> None:
    with (
        BackupSeries(tmp_path).mine(),
        pytest.raises(StorageUnavailable, match="another backup is being made"),
        BackupSeries(tmp_path).mine(),
    ):
        pass
    with BackupSeries(tmp_path).mine():
        pass
    with pytest.raises(UsageError, match="make the directory first"), BackupSeries(tmp_path / "no").mine():
        pass


def test_what_is_tried_out_is_gone_afterwards_whatever_happened(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch(tmp_path, NAME) as place:
            (place / "artifacts").mkdir(parents=True)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []
