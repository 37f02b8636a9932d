"""The index of a log says what a naive count says, whatever pieces the log came in."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.logs.error_lines import JUDGED, judge
from buildtool.model.logs.index import CHUNK, KEPT, STEPS, LogIndex, Phase, line_start
from buildtool.model.logs.marks import LogMark, MarkKind

PARTS = st.sampled_from(
    (
        b"\n",
        b"\n\n",
        b"error: x\n",
        b"a.c:1: warning: y",
        b"ok",
        b"er",
        b"ror: ",
        b"\x00\xff",
        b"x" * JUDGED,
        b"y" * CHUNK,
    )
)
LOGS = st.lists(PARTS, max_size=30).map(b"".join)


def pieces(log: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    return [log[start:end] for start, end in pairwise(at)]


def indexed(log: bytes, cuts: list[int]) -> LogIndex:
    index = LogIndex()
    for piece in pieces(log, cuts):
        index.grow(piece)
    return index


@given(LOGS, st.lists(st.integers(0, 10**6), max_size=8))
def test_it_is_what_a_naive_count_says_for_any_pieces(log: bytes, cuts: list[int]) -> None:
    index = indexed(log, cuts)
    assert index.length == len(log)
    assert index.line_ends == log.count(b"\n")
    assert index.lines == len(log.split(b"\n")) - (log[-1:] in {b"", b"\n"})
    assert index.before == [log.count(b"\n", 0, at) for at in range(0, len(log) + 1, CHUNK)]
    index.close()
    at, errors, warnings = 0, list[tuple[int, int]](), list[tuple[int, int]]()
    for number, line in enumerate(log.split(b"\n"), 1):
        verdict = judge(line)
        if verdict is not None:
            (errors if verdict else warnings).append((number, at))
        at += len(line) + 1
    assert [(it.line, it.offset) for it in index.errors.lines] == errors
    assert [(it.line, it.offset) for it in index.warnings.lines] == warnings
    assert (index.errors.count, index.warnings.count) == (len(errors), len(warnings))


@given(LOGS.filter(bool), st.data())
def test_a_line_begins_where_its_chunk_says(log: bytes, data: st.DataObject) -> None:
    index = indexed(log, [])
    number = data.draw(st.integers(1, index.lines))
    chunk = index.chunk_of(number)
    start = line_start(log[chunk * CHUNK : (chunk + 1) * CHUNK], number - 1 - index.before[chunk])
    assert chunk * CHUNK + start == sum(len(line) + 1 for line in log.split(b"\n")[: number - 1])


def test_what_is_kept_is_bounded_and_what_is_counted_is_not() -> None:
    index = LogIndex()
    index.grow(b"error: again\n" * (KEPT + 5))
    assert (len(index.errors.lines), index.errors.count) == (KEPT, KEPT + 5)


def test_times_are_recorded_more_seldom_the_longer_a_build_takes() -> None:
    index = LogIndex()
    for second in range(4 * STEPS):
        index.grow(b"x")
        index.arrived(1_000.0 + second)
    assert STEPS < len(index.times) < 3 * STEPS
    assert index.arrived(5.0) is None  # nothing has come since
    index.grow(b"x")
    assert index.arrived(5.0) is not None  # the clock was set back


def mark(number: int, offset: int, kind: MarkKind, seconds: float, words: str = "") -> LogMark:
    return LogMark(number, offset, kind, seconds, words)


def test_phases_end_where_they_say_or_where_the_next_one_begins() -> None:
    index = LogIndex()
    index.grow(b"x\n" * 50)
    for it in (
        mark(0, 0, MarkKind.BEGIN, 0.0, "sources"),
        mark(1, 10, MarkKind.BEGIN, 1.5, "configure"),
        mark(2, 20, MarkKind.END, 2.0, "exited with code 0"),
        mark(3, 30, MarkKind.CUT, 2.5, "12345"),
        mark(4, 30, MarkKind.BEGIN, 3.0, "build"),
        mark(5, 40, MarkKind.FAILED, 4.0, "exited with code 2"),
    ):
        assert index.mark(it, it.offset // 2 + 1)
    assert index.phases() == (
        Phase("sources", 0, 1, 0.0, 10, 1.5),
        Phase("configure", 10, 6, 1.5, 20, 2.0, "exited with code 0"),
        Phase("build", 30, 16, 3.0, 40, 4.0, "exited with code 2", failed=True),
    )
    assert [(cut.offset, cut.line, cut.size) for cut in index.cuts()] == [(30, 16, 12345)]
    index = LogIndex()
    index.mark(mark(0, 0, MarkKind.BEGIN, 0.0, "sources"), 1)
    assert index.phases() == (Phase("sources", 0, 1, 0.0),)


def test_a_mark_that_is_known_or_beyond_the_log_is_not_added() -> None:
    index = LogIndex()
    index.grow(b"12345")
    assert index.mark(mark(3, 2, MarkKind.BEGIN, 0.0), 1)
    for it in ((3, 2), (2, 4), (4, 1), (4, 6)):
        assert not index.mark(mark(*it, MarkKind.BEGIN, 0.0), 1)
    assert index.mark(mark(4, 5, MarkKind.END, 0.0), 1)
