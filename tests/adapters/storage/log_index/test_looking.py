"""Lines and searches of a log are what splitting all of it says, however long its lines are."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.storage.log_index import looking
from buildtool.adapters.storage.log_index.looking import LogSearch, read_lines
from buildtool.adapters.storage.logs import SEARCHES, LogStore
from buildtool.concurrency.backpressure import PIECE
from buildtool.errors import LimitReached
from buildtool.model.logs.index import FOUND_LIMIT
from buildtool.ports.pages import LINE_LIMIT
from tests.model.logs.test_index import LOGS, indexed
from tests.support.inline import run


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, a search is not broken off."""
    monkeypatch.setattr(looking, "SECONDS", 3_600.0)


class Held:
    """A log in memory that counts what is read of it."""

    finished = True

    def __init__(self, data: bytes) -> None:
        self.data, self.length, self.reads = data, len(data), 0

    def read(self, start: int, size: int) -> bytes:
        self.reads += 1
        return self.data[start : start + size]


def lines_of(log: bytes) -> list[bytes]:
    return log.split(b"\n")[: None if log[-1:] not in {b"", b"\n"} else -1]


@settings(max_examples=40)
@given(LOGS, st.integers(1, 40), st.integers(1, 20))
def test_lines_are_those_of_the_whole_log_cut_to_their_limit(log: bytes, first: int, count: int) -> None:
    found = read_lines(Held(log), indexed(log, []), first, count)
    expected = lines_of(log)[first - 1 : first - 1 + count]
    assert list(found) == [line[:LINE_LIMIT] for line in expected]


def test_a_line_of_a_gigabyte_is_skipped_and_not_read() -> None:
    log = b"before\n" + b"x" * 50_000_000 + b"\nafter\n"
    held = Held(log)
    found = read_lines(held, indexed(log, []), 1, 9)
    assert found == (b"before", b"x" * LINE_LIMIT, b"after")
    assert held.reads < 8


@settings(max_examples=40)
@given(LOGS, st.sampled_from([b"x", b"ok", b"\x00\xff", b"error:", b"ERROR", b"nothing", b"r: xe"]), st.booleans())
def test_a_search_finds_the_lines_that_have_the_text(log: bytes, text: bytes, fold: bool) -> None:
    told = LogSearch(text, fold, lambda: False).run(Held(log * 4))
    expected = [
        number
        for number, line in enumerate((log * 4).split(b"\n"), 1)
        if (text.lower() in line.lower() if fold else text in line)
    ]
    assert (list(told.lines), told.count, told.complete) == (expected, len(expected), True)


def test_colours_do_not_hide_a_text() -> None:
    told = LogSearch(b"c:1: error: no", True, lambda: False).run(Held(b"\n\x1b[1ma.c:1: \x1b[31mERROR: \x1b[mno\n"))
    assert told.lines == (2,)


def test_what_is_told_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = LogSearch(b"x", False, lambda: False).run(Held(b"x\n" * (FOUND_LIMIT + 7)))
    assert (len(told.lines), told.count, told.complete) == (FOUND_LIMIT, FOUND_LIMIT + 7, True)
    monkeypatch.setattr(looking, "SECONDS", -1.0)
    told = LogSearch(b"x", False, lambda: False).run(Held(b"x\n" * PIECE))
    assert not told.complete


def test_a_search_that_nobody_waits_for_ends_at_the_next_piece() -> None:
    held = Held(b"x\n" * 10 * PIECE)
    told = LogSearch(b"x", False, lambda: held.reads >= 3).run(held)
    assert held.reads == 3
    assert not told.complete
    assert told.upto == 3 * PIECE // 2


def test_more_searches_than_there_is_room_for_are_told_to_come_again(tmp_path: Path) -> None:
    logs = LogStore(tmp_path, Inline())
    run(logs.start())
    run(logs.append(7, 1, 0, b"x", 9))
    logs._searching = SEARCHES
    with pytest.raises(LimitReached):
        run(logs.search(7, 1, b"x", fold=False))
    logs._searching = 0
    assert run(logs.search(7, 1, b"x", fold=False)).lines == (1,)
