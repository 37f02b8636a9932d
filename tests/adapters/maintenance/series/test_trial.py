"""A try to restore finds what is wrong with a backup, and leaves nothing behind."""

import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.maintenance.backup import Backup, BackupContents
from buildtool.adapters.maintenance.series.directory import BackupMark
from buildtool.adapters.maintenance.series.sealing import SEALED
from buildtool.adapters.maintenance.series.trial import TrialRestore
from buildtool.adapters.storage.filesystem import storage_unavailable
from buildtool.errors import StorageUnavailable
from buildtool.model.farm.backups import name_of
from tests.adapters.maintenance import states
from tests.adapters.maintenance.states import NOW, soil, spoil, stored
from tests.support.inline import run

MARK = BackupMark(name_of(NOW), NOW, sealed=hashlib.sha256(b"closed").hexdigest())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BackupContents]:
    directory = tmp_path_factory.mktemp("made")
    (directory / "state").mkdir()
    states.make(directory / "state")
    contents = run(Backup(directory / "state", directory / MARK.name).run())
    (directory / MARK.name / SEALED).write_bytes(b"closed")
    return directory / MARK.name, contents


@pytest.fixture
def backup(original: tuple[Path, BackupContents], tmp_path: Path) -> Path:
    return Path(shutil.copytree(original[0], tmp_path / MARK.name))


def test_a_whole_backup_is_restored_and_read_and_nothing_of_that_is_left(
    backup: Path, original: tuple[Path, BackupContents]
) -> None:
    assert run(TrialRestore(backup, MARK, original[1], NOW).run()) == ()
    assert list(backup.parent.iterdir()) == [backup]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda place: soil(stored(place)), "artifact-damaged: artifact 1"),
        (lambda place: stored(place).unlink(), "0 artifacts of 1"),
        (lambda place: (place / "logs/1-1.log.zst").unlink(), "1 logs of 2"),
        (lambda place: soil(place / "logs/1-1.log.zst"), "log"),
        (lambda place: spoil(place, "UPDATE requests SET state = 'cancelled' WHERE id = 2"), "build-unwanted"),
        (lambda place: (place / "buildtool.sqlite").write_bytes(b"no database" * 100), "file is not a database"),
        (lambda place: (place / "buildtool.sqlite").unlink(), "buildtool.sqlite"),
        (lambda place: (place / SEALED).write_bytes(b"another"), "config.tar.age is not what was written"),
        (lambda place: (place / SEALED).unlink(), "config.tar.age"),
    ],
)
def test_whatever_is_wrong_with_a_backup_is_found_and_nothing_of_the_try_is_left(
    backup: Path, original: tuple[Path, BackupContents], harm: Callable[[Path], object], why: str
) -> None:
    harm(backup)
    wrong = run(TrialRestore(backup, MARK, original[1], NOW).run())
    assert any(why in line for line in wrong), wrong
    assert list(backup.parent.iterdir()) == [backup]


def test_a_backup_with_less_than_was_copied_is_not_good_though_nothing_in_it_is_damaged(
    backup: Path, original: tuple[Path, BackupContents]
) -> None:
    more = evolve(original[1], logs=5)
    assert run(TrialRestore(backup, MARK, more, NOW).run()) == ("2 logs of 5", "2 logs that fsck read of 5")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_that_there_is_no_room_to_try_it_says_nothing_of_the_backup(
    backup: Path, original: tuple[Path, BackupContents], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    class FullDisk(Backup):
        async def run(self) -> BackupContents:
            full = OSError(number, "full")
            raise storage_unavailable("write", full) from full

    monkeypatch.setattr("buildtool.adapters.maintenance.series.trial.Backup", FullDisk)
    with pytest.raises(StorageUnavailable, match=r"backup-.*Z is made, but there is no room beside it to try"):
        run(TrialRestore(backup, MARK, original[1], NOW).run())
