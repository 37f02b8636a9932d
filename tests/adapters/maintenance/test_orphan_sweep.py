"""The sweep finds files without rows and rows without files, takes its time, and never takes what somebody delivers."""

import errno
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from buildtool.adapters.maintenance import orphan_sweep
from buildtool.adapters.maintenance.fsck import Fsck
from buildtool.adapters.maintenance.orphan_sweep import AT_ONCE, EVERY, GRACE, PAUSE, OrphanSweep
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.filesystem import FileStatus, RealDisk
from buildtool.concurrency.periodic import PeriodicTask
from tests.adapters.maintenance import states
from tests.adapters.maintenance.keeping import KeepingCase
from tests.adapters.maintenance.states import DIGEST, stored
from tests.support.inline import run


class TestSweep(KeepingCase):
    def setUp(self) -> None:
        super().setUp()
        self.sweep = OrphanSweep(self.database, self.removal, self.gone)

    def sweeps(self, seconds: float) -> None:
        """Sweep for some time."""
        self.task(self.sweep.round_)
        self.pass_time(seconds, 5.0)

    def test_what_is_in_order_stays_as_it_is(self) -> None:
        self.sweeps(3 * GRACE)
        assert self.withdrawn == []
        assert stored(self.state).exists()

    def test_a_file_that_no_row_names_is_deleted_after_an_hour_and_not_before(self) -> None:
        digest = self.orphan()
        self.sweeps(GRACE - EVERY)
        assert stored(self.state, digest).exists()
        self.pass_time(3 * EVERY, 5.0)
        assert not stored(self.state, digest).exists()
        assert stored(self.state).exists()
        assert run(Fsck(self.state, states.NOW).run(repair=False)).findings == ()

    def test_most_of_what_is_there_is_never_deleted_and_the_operator_is_told(self) -> None:
        """As when the database was lost, or is another: whoever has the right one finds all files still there."""
        digests = [self.orphan(b"%d" % number) for number in range(3)]
        self.sweeps(3 * GRACE)
        assert all(stored(self.state, digest).exists() for digest in digests)
        (told,) = self.sweep.problems()
        assert told.startswith("no row names 3 of the 4 files in artifacts/, so none is deleted")
        self.commit(*(states.artifact(states.DONE, 2 + number, b"%d" % number) for number in range(2)))
        self.pass_time(2 * EVERY, 5.0)
        assert [stored(self.state, digest).exists() for digest in digests] == [True, True, False]
        assert self.sweep.problems() == ()

    def test_the_last_file_there_is_stays_though_no_row_names_it(self) -> None:
        states.spoil(self.state, "UPDATE requests SET artifact_id = NULL", "DELETE FROM artifacts")
        self.sweeps(3 * GRACE)
        assert stored(self.state).exists()
        assert "no row names 1 of the 1 file in artifacts/" in self.sweep.problems()[0]

    def test_more_files_than_are_remembered_are_counted_all(self) -> None:
        self.patch(orphan_sweep, "ORPHANS_MOST", 2)
        digests = [self.orphan(b"%d" % number) for number in range(7)]
        self.sweeps(3 * GRACE)
        assert all(stored(self.state, digest).exists() for digest in digests)

    def test_a_file_whose_row_comes_late_stays(self) -> None:
        digest = self.orphan(b"its row comes")
        self.sweeps(GRACE - EVERY)
        self.commit(states.artifact(states.DONE, 2, b"its row comes"))
        self.pass_time(3 * GRACE, 5.0)
        assert stored(self.state, digest).exists()

    def test_who_delivers_again_what_a_crash_left_without_a_row_gives_it_a_fresh_hour(self) -> None:
        """The file is there already, so the build server sends nothing but that it is done."""
        data = b"published right before a crash"
        digest = self.orphan(data)
        self.sweeps(GRACE - EVERY)
        run(self.removal.publish(9, 1, digest, len(data)))
        self.pass_time(GRACE - EVERY, 5.0)
        assert stored(self.state, digest).exists()
        self.pass_time(4 * EVERY, 5.0)
        assert not stored(self.state, digest).exists()

    def test_a_file_that_is_published_while_it_is_about_to_be_deleted_stays(self) -> None:
        data = b"published right before a crash"
        digest = self.orphan(data)
        self.removal.orphans[digest] = -GRACE
        removing = self.removal.remove_orphan(digest)
        run(self.removal.publish(9, 1, digest, len(data)))
        assert run(removing) is False
        assert stored(self.state, digest).exists()

    def test_an_artifact_whose_file_is_gone_or_cut_off_is_withdrawn(self) -> None:
        self.commit(states.artifact(states.DONE, 2, b"another"))
        states.put(self.artifacts, 2, b"another")
        stored(self.state).write_bytes(b"short")
        self.sweeps(2 * EVERY)
        assert self.withdrawn == [(1, "its file is absent or has another size")]

    def test_when_all_files_are_gone_at_once_nothing_is_withdrawn_and_the_operator_is_told(self) -> None:
        aside = self.state / "aside"
        shutil.move(self.state / "artifacts", aside)
        (self.state / "artifacts").mkdir()
        self.sweeps(EVERY)
        assert self.withdrawn == []
        (told,) = self.sweep.problems()
        assert "is its disk mounted?" in told
        (self.state / "artifacts").rmdir()
        shutil.move(aside, self.state / "artifacts")
        self.pass_time(2 * EVERY, 5.0)
        assert self.sweep.problems() == ()
        assert self.withdrawn == []

    def test_a_disk_that_cannot_be_read_or_goes_away_in_the_middle_of_a_sweep_withdraws_nothing(self) -> None:
        """What a directory holds may be known, while the files are out of reach for a moment."""

        class Dying(RealDisk):
            def look(self, path: Path) -> FileStatus:
                raise OSError(errno.EIO, "Input/output error", str(path))

        disk = Dying()
        artifacts = ArtifactStore(self.state, Inline(), disk)
        self.sweep.removal = ArtifactRemoval(self.state, artifacts, Inline(), disk)
        self.sweeps(2 * EVERY)
        assert self.withdrawn == []

        class Unmounted(OrphanSweep):
            async def _files(self, task: PeriodicTask) -> bool:
                found = await super()._files(task)
                shutil.rmtree(self.removal.directory / "artifacts")
                (self.removal.directory / "artifacts").mkdir()
                return found

        self.sweep = Unmounted(self.database, self.removal, self.gone)
        self.sweeps(EVERY)
        assert self.withdrawn == []

    def test_it_looks_at_a_few_at_a_time_and_pauses_between(self) -> None:
        count = 3 * AT_ONCE + 1
        rows = [states.artifact(states.DONE, number, b"%d" % number) for number in range(2, 2 + count)]
        self.commit(*rows)
        asked: list[float] = []
        asked_before = self.sweep.database.run

        async def ask(function: Callable[[Connection], Any]) -> Any:
            asked.append(self.clock.seconds())
            return await asked_before(function)

        self.patch(self.sweep.database, "run", ask)
        self.sweeps(EVERY / 2)
        assert len(self.withdrawn) == count
        gaps = [later - earlier for earlier, later in pairwise(asked)]
        assert sum(gap >= PAUSE for gap in gaps) >= 3

    def test_a_sweep_that_the_database_refuses_is_tried_again(self) -> None:
        stored(self.state).write_bytes(b"short")
        with states.opened(self.state) as other:
            other.execute("BEGIN IMMEDIATE")
            self.sweeps(30)
            assert self.withdrawn == []
            other.execute("ROLLBACK")
        self.pass_time(90)
        assert [number for number, _ in self.withdrawn] == [1]

    def test_it_stops_in_the_middle_of_a_pause(self) -> None:
        task = self.task(self.sweep.round_)
        self.clock.advance(0)
        run(task.stop())
        assert self.clock.getDelayedCalls() == []


class TestQuarantine(KeepingCase):
    def test_a_damaged_file_goes_to_quarantine_and_a_sound_one_stays(self) -> None:
        assert run(self.removal.quarantine(DIGEST)) is False
        states.soil(stored(self.state))
        assert run(self.removal.quarantine(DIGEST)) is True
        assert run(self.removal.absent([(DIGEST, len(states.BYTES))]))
        assert (self.state / "quarantine" / f"{DIGEST}.zip").exists()

    def test_a_second_one_of_the_same_digest_takes_another_name(self) -> None:
        for _ in range(2):
            states.put(self.artifacts, 1, states.BYTES)
            states.soil(stored(self.state))
            assert run(self.removal.quarantine(DIGEST)) is True
        names = sorted(path.name for path in (self.state / "quarantine").iterdir())
        assert names == [f"{DIGEST}.zip", f"{DIGEST}.zip.2"]

    def test_a_file_that_is_not_there_is_not_moved(self) -> None:
        assert run(ArtifactRemoval(self.state, self.artifacts, Inline()).quarantine("0" * 64)) is False
