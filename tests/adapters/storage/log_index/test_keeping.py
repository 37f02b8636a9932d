"""The index beside a log lasts as the log does, and is made anew from it where it was torn."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.logs.index import CHUNK, LogIndex
from buildtool.model.logs.marks import LogMark, MarkKind
from tests.model.logs.test_index import LOGS, indexed, pieces
from tests.support.inline import run
from tests.support.lanes import examples

T = TypeVar("T")
LIMIT = 1 << 40


def do(coroutine: Coroutine[Any, Any, T]) -> T:
    return run(coroutine)


class Place:
    """A directory of logs, and stores that are opened on it one after the other; time passes with each append."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 1_000.0
        self.open()

    def open(self) -> None:
        self.store = LogStore(self.directory, Inline(), now=lambda: self.now)
        do(self.store.start())

    def append(self, offset: int, data: bytes, *marks: LogMark) -> None:
        self.now += 10
        do(self.store.append(7, 1, offset, data, LIMIT, marks))

    def index(self) -> LogIndex:
        return do(self.store.index(7, 1))

    @property
    def file(self) -> Path:
        return self.directory / "logs" / "7-1.log.idx"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


places = iter(range(10**6))


def a_place(root: Path) -> Place:
    return Place(root / str(next(places)))


def facts(index: LogIndex) -> tuple[object, ...]:
    return index.length, index.line_ends, index.before, index.errors, index.warnings


def counted(log: bytes, *, finished: bool) -> tuple[object, ...]:
    index = indexed(log, [])
    if finished:
        index.close()
    return facts(index)


CUTS = st.lists(st.integers(0, 10**6), max_size=6)


@settings(max_examples=examples(25))
@given(LOGS.filter(bool), CUTS, st.data())
def test_any_pieces_restarts_and_tears_lead_to_the_index_of_the_log(
    root: Path, log: bytes, cuts: list[int], data: st.DataObject
) -> None:
    place, at = a_place(root), 0
    for piece in pieces(log, cuts):
        place.append(at, piece)
        at += len(piece)
        event = data.draw(st.sampled_from(["", "", "restart", "torn", "lost", "damaged"]))
        if event == "torn" and place.file.exists():
            with place.file.open("r+b") as file:
                file.truncate(data.draw(st.integers(0, place.file.stat().st_size)))
        elif event == "lost":
            place.file.unlink(missing_ok=True)
        elif event == "damaged" and place.file.exists() and place.file.stat().st_size:
            with place.file.open("r+b") as file:
                file.seek(data.draw(st.integers(0, place.file.stat().st_size - 1)))
                file.write(b"?")
        if event:
            place.open()
        assert facts(place.index()) == counted(log[:at], finished=False)
    do(place.store.finish(7, 1))
    expected = counted(log, finished=True)
    assert facts(place.index()) == expected
    place.open()
    assert facts(place.index()) == expected
    place.file.unlink(missing_ok=True)  # as of a log that is older than indexes
    place.open()
    assert facts(place.index()) == expected


def test_times_and_marks_are_there_after_a_restart_and_in_the_finished_log(root: Path) -> None:
    place = a_place(root)
    begin, end = LogMark(0, 0, MarkKind.BEGIN, 0.0, "build: é"), LogMark(1, 6, MarkKind.FAILED, 2.5, "code 2")
    place.append(0, b"one\n", begin)
    place.open()
    place.append(4, b"2\n3\n", begin, end)
    for finished in (False, True):
        if finished:
            do(place.store.finish(7, 1))
            place.open()
        index = place.index()
        assert [(time.offset, time.at) for time in index.times] == [(4, 1_010.0), (8, 1_020.0)]
        assert index.marks == [begin, end]
        assert index.mark_lines == [1, 3]


def test_a_mark_that_comes_after_its_bytes_is_taken_too(root: Path) -> None:
    """The answer to the first try was lost, and the metaserver was killed between the log and its index."""
    place = a_place(root)
    place.append(0, b"one\ntwo\n")
    place.append(0, b"one\ntwo\n", LogMark(0, 4, MarkKind.BEGIN, 0.0, "build"))
    assert place.index().mark_lines == [2]


def test_an_index_that_says_more_than_the_log_has_is_believed_as_far_as_that_goes(root: Path) -> None:
    """A loss of power may take the end of a log and not that of its index."""
    place, log = a_place(root), b"x\n" * CHUNK
    place.append(0, log[:2], LogMark(0, 0, MarkKind.BEGIN, 0.0, "a"))
    place.append(2, log[2:], LogMark(1, CHUNK + 4, MarkKind.END, 1.0, "b"))
    with (place.directory / "logs" / "7-1.log").open("r+b") as file:
        file.truncate(CHUNK + 3)
    place.open()
    index = place.index()
    assert facts(index) == counted(log[: CHUNK + 3], finished=False)
    assert [mark.number for mark in index.marks] == [0]
    place.append(CHUNK + 3, b"\nerror: y\n")
    assert [it.line for it in place.index().errors.lines] == [CHUNK // 2 + 3]


def test_an_index_that_cannot_be_written_costs_nothing_of_the_log(root: Path) -> None:
    place = a_place(root)
    place.file.mkdir()
    place.append(0, b"x\n")
    assert do(place.store.read(7, 1, 0, 9)) == b"x\n"
    place.file.rmdir()
    place.append(2, b"error: y\n")
    assert [it.line for it in place.index().errors.lines] == [2]


def test_a_reader_that_may_not_write_writes_nothing(root: Path) -> None:
    """The pages' process reads the directory of another account."""
    place = a_place(root)
    place.append(0, b"error: x\n")
    place.file.unlink()
    reader = LogStore(place.directory, Inline())
    assert do(reader.index(7, 1)).errors.count == 1
    assert not place.file.exists()
