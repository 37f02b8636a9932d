"""The files of logs are counted with their indexes, and go together, unless somebody reads them."""

from pathlib import Path

import pytest

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.keeping.log_files import KeptLogFiles
from buildtool.adapters.storage.logs import LogStore
from tests.support.inline import run


@pytest.fixture
def kept(tmp_path: Path) -> tuple[LogStore, KeptLogFiles]:
    logs = LogStore(tmp_path, Inline())
    run(logs.start())
    for build, epoch in ((3, 1), (3, 2), (12, 1)):
        run(logs.append(build, epoch, 0, b"one line\n" * 100, 10_000))
    run(logs.finish(3, 1))
    return logs, KeptLogFiles(tmp_path, Inline(), logs)


def test_all_files_of_a_build_are_counted_and_go(kept: tuple[LogStore, KeptLogFiles], tmp_path: Path) -> None:
    _, files = kept
    (tmp_path / "logs" / "notes.txt").write_text("mine")
    assert run(files.kept()) == [3, 12]
    assert (files.between(1, 11), files.between(4, 99), files.between(4, 11)) == ([3], [12], [])
    there = sum(path.stat().st_size for path in (tmp_path / "logs").glob("3-*"))
    assert run(files.sizes([3, 7])) == {3: there, 7: 0}
    assert run(files.remove(3))
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["12-1.log", "12-1.log.idx", "notes.txt"]
    assert run(files.kept()) == [12]


def test_a_log_that_is_being_read_stays_until_nobody_does(kept: tuple[LogStore, KeptLogFiles]) -> None:
    logs, files = kept
    run(logs.read(3, 1, 0, 10))
    run(files.kept())
    assert not run(files.remove(3))
    run(logs.read(12, 1, 0, 10))
    assert not run(files.remove(12))
    run(files.kept())
    assert run(files.remove(3))
    assert not run(files.remove(12))
    run(files.kept())
    assert run(files.remove(12))


def test_where_there_are_no_logs_nothing_is_kept(tmp_path: Path) -> None:
    assert run(KeptLogFiles(tmp_path, Inline()).kept()) == []
