"""The time of the last good backup is told as it was noted, and whatever else is in the file is none."""

from pathlib import Path

import pytest

from buildtool.adapters.maintenance.series.stamp import STAMP, BackupWatch, read_stamp, write_stamp
from buildtool.model.farm.backups import LastBackup


def test_the_last_good_backup_is_noted_and_one_later_replaces_it(tmp_path: Path) -> None:
    assert read_stamp(tmp_path) is None
    write_stamp(tmp_path, 17.5, Path("/backup/a"))
    write_stamp(tmp_path, 18.5, Path("/backup/b"))
    assert read_stamp(tmp_path) == 18.5
    assert [path.name for path in tmp_path.iterdir()] == [STAMP]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"made": "x"}', '{"made": true}', '{"made": Infinity}', "\udcff", "[" * 60_000]
)
def test_a_stamp_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / STAMP).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_stamp(tmp_path) is None


def test_the_age_of_the_last_good_backup_is_told_past_the_limit_until_another_is_made(tmp_path: Path) -> None:
    day, now, limit = 86_400.0, 1_795_857_460.0, 0.0
    watch = BackupWatch(tmp_path, lambda: limit, lambda: now)
    assert watch.look() == LastBackup(None, 0.0, ""), "nobody said how old it may be"
    limit = 1.5 * day
    assert watch.look().problem.startswith("no good backup was ever made")
    write_stamp(tmp_path, now, tmp_path)
    assert watch.look() == LastBackup(now, limit, "")
    now += 3 * day
    told = "the last good backup is of 2026-11-28 09:17 UTC, longer ago than backup_within = 36h"
    assert watch.look() == LastBackup(now - 3 * day, limit, told)
    now += day
    assert watch.look().problem == told, "a line that changed would be logged each time"
    write_stamp(tmp_path, now, tmp_path)
    assert watch.look().problem == ""
    (tmp_path / STAMP).unlink()
    (tmp_path / STAMP).mkdir()
    told = "last-backup in the state directory cannot be read: it is no plain file"
    assert watch.look() == LastBackup(None, limit, told)
    limit = 0.0
    assert watch.look() == LastBackup(None, 0.0, "")
