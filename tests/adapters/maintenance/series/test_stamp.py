"""The time of the last good backup is told as it was noted, and whatever else is in the file is none."""

from pathlib import Path

import pytest

from buildtool.adapters.maintenance.series.stamp import STAMP, read_stamp, write_stamp


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
