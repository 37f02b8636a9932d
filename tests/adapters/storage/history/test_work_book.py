"""The file of what a machine did: restarts lose nothing of it, and a kill in the middle of a write the last record."""

import random
from pathlib import Path

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from buildtool.adapters.storage.history.work_book import ADDED, WorkBook, read_history
from buildtool.model.guest.history import NOTHING, DoneWork, HistoryKey
from buildtool.model.records import AttemptEnd
from tests.fakes_build import Immediate
from tests.simulation.disk import Fault, Operation, SimulatedDisk
from tests.support.lanes import examples

PATH = Path("/builds/one/history")
BUILD = DoneWork({AttemptEnd.SUCCEEDED: 1}, 10, 20)


@define
class Calendar:
    """A clock that is set."""

    now: float = 1_800_000_000.0

    def wall(self) -> float:
        return self.now


def disk_of() -> SimulatedDisk:
    disk = SimulatedDisk(random.Random(0))  # noqa: S311 - a seed is to repeat what it draws
    disk.put(PATH.parent / "instance", b"")
    return disk


def kept(disk: SimulatedDisk) -> bytes:
    return disk.files(PATH.parent).get(str(PATH), b"")


works = st.builds(
    DoneWork, st.just({AttemptEnd.SUCCEEDED: 1}), st.integers(0, 10**6), st.integers(0, 10**6), down=st.integers(0, 9)
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["lua", "zlib"]), works),
        st.tuples(st.just("restart"), st.just(""), st.just(NOTHING)),
        st.tuples(st.just("month"), st.just(""), st.just(NOTHING)),
    ),
    max_size=12,
)


class Keeping(SynchronousTestCase):
    def book(self, disk: SimulatedDisk, clock: Calendar) -> WorkBook:
        made = WorkBook(PATH, "farm:1", clock, Immediate(), disk)
        self.successResultOf(Deferred.fromCoroutine(made.open()))
        return made

    @settings(max_examples=examples(40))
    @given(steps, st.floats(0, 1))
    def test_restarts_change_no_sum_and_a_torn_file_loses_the_last_record_and_says_so(
        self, todo: list[tuple[str, str, DoneWork]], where: float
    ) -> None:
        disk, clock = disk_of(), Calendar()
        book = self.book(disk, clock)
        total, last, before = NOTHING, NOTHING, 0
        for what, project, work in todo:
            if what == "add":
                before, last = len(kept(disk)), work
                book.add(project, work)
                total += work
            elif what == "month":
                clock.now += 40 * 86_400
            else:
                disk.stop()
                book = self.book(disk, clock)
            self.assertEqual(book.history.total(), total)
        disk.stop()
        self.assertEqual(read_history(PATH, disk).history.rows, book.history.rows)
        written = kept(disk)
        cut = before + int(where * (len(written) - before))
        if cut == len(written):
            return
        disk.put(PATH, written[:cut])
        found = read_history(PATH, disk)
        self.assertEqual(found.history.total() + last, total)
        self.assertEqual(found.damaged, int(cut > before))
        if found.damaged:
            self.assertIn("one record was not written whole and left out", found.words(PATH))
        book = self.book(disk, clock)
        book.add("lua", last)
        disk.stop()
        found = read_history(PATH, disk)
        self.assertEqual((found.history.total(), found.damaged), (total, 0))

    def test_a_damaged_line_is_left_out_alone_and_said(self) -> None:
        disk, clock = disk_of(), Calendar()
        book = self.book(disk, clock)
        for _ in range(3):
            book.add("lua", BUILD)
        lines = kept(disk).split(b"\n")
        disk.put(PATH, b"\n".join([lines[0], b"x" * 30, lines[2], b""]))
        found = read_history(PATH, disk)
        self.assertEqual((found.history.total().builds, found.damaged), (2, 1))

    def test_the_file_is_replaced_by_one_of_sums_before_it_grows_and_what_that_left_half_made_goes(self) -> None:
        disk, clock = disk_of(), Calendar()
        disk.put(PATH.with_name(f".{PATH.name}.0123456789abcdef"), b"half")
        book, longest = self.book(disk, clock), 0
        for _ in range(3 * ADDED):
            book.add("lua", BUILD)
            longest = max(longest, kept(disk).count(b"\n"))
        self.assertEqual(longest, ADDED + 1)
        disk.stop()
        self.assertEqual(self.book(disk, clock).history.total().builds, 3 * ADDED)
        self.assertEqual(sorted(Path(name).name for name in disk.files()), ["history", "instance"])

    def test_what_a_full_disk_refused_is_written_with_the_next_record(self) -> None:
        disk, clock = disk_of(), Calendar()
        book = self.book(disk, clock)
        book.add("lua", BUILD)
        faults = [Fault.FULL]

        def fault(operation: Operation) -> Fault | None:
            return faults.pop() if faults and operation.name == "append" else None

        disk.fault = fault
        book.add("lua", BUILD)
        book.add("zlib", BUILD)
        disk.stop()
        found = read_history(PATH, disk)
        self.assertEqual((found.history.total().builds, found.damaged), (3, 0))

    def test_what_cannot_be_read_now_is_not_written_over(self) -> None:
        disk, clock = disk_of(), Calendar()
        book = self.book(disk, clock)
        book.add("lua", BUILD)
        before = kept(disk)
        disk.fault = lambda operation: Fault.ERROR if operation.name == "pread" else None
        book = self.book(disk, clock)
        disk.fault = None
        book.add("lua", BUILD)
        self.assertEqual(kept(disk), before)

    def test_months_and_farms_have_rows_of_their_own(self) -> None:
        disk, clock = disk_of(), Calendar()
        book = self.book(disk, clock)
        book.add("lua", BUILD)
        clock.now += 31 * 86_400
        book.add("lua", BUILD)
        other = WorkBook(PATH, "farm:2", clock, Immediate(), disk)
        self.successResultOf(Deferred.fromCoroutine(other.open()))
        other.add("lua", BUILD)
        self.assertEqual(
            sorted(other.history.rows),
            [HistoryKey("2027-01", "farm:1", "lua"), HistoryKey("2027-02", "farm:1", "lua"),
             HistoryKey("2027-02", "farm:2", "lua")],
        )  # fmt: skip
