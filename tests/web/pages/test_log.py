"""A screen of a log: the part that matters, harmless, in colours that are classes."""

from hypothesis import given
from hypothesis import strategies as st

from buildtool.model.logs.index import FoundInLog, LogIndex
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.model.records import Build
from buildtool.web.app import make_urls
from buildtool.web.pages.log import (
    BEFORE,
    LINES,
    LogFacts,
    LogPiece,
    LogQuestion,
    coloured,
    first_line,
    found_words,
    log_card,
)
from tests.web.farm import detail
from tests.web.visitor import PUBLIC, TRANSFER

URLS = make_urls(PUBLIC, TRANSFER)
DONE, FAILED = detail(1).build, detail(3).build


def facts(build: Build, log: bytes, *, found: FoundInLog | None = None, start: int = 0) -> LogFacts:
    index = LogIndex()
    index.grow(log)
    return LogFacts(build, 1, index, True, found, LogQuestion(start))


def test_colours_are_classes_and_other_controls_are_nothing() -> None:
    line = b"\x1b[01m\x1b[Kx.c:1:\x1b[m \x1b[1;31merror: \x1b[0;4mno\x1b[m "
    line += b"\x1b[38;5;9mbright\x1b[38;2;1;2;3m true\x1b[39m."
    assert coloured(line) == (
        LogPiece("b", "x.c:1:"),
        LogPiece("", " "),
        LogPiece("c1 b", "error: "),
        LogPiece("u", "no"),
        LogPiece("", " "),
        LogPiece("c1", "bright"),
        LogPiece("c1", " true"),
        LogPiece("", "."),
    )
    assert coloured(b"10%\r20%\r") == (LogPiece("", "20%"),)


@given(
    st.binary(max_size=300)
    | st.text(max_size=100).map(str.encode)
    | st.lists(
        st.sampled_from([b"\x1b[", b"38;5;", b"1", b"m", b"\x1b]0;", b"\x07", b"<b>", b";;;", b"999999"]), max_size=60
    ).map(b"".join)
)
def test_whatever_stands_in_a_line_is_harmless_text(line: bytes) -> None:
    for piece in coloured(line):
        assert all(char.isprintable() or char == "\t" for char in piece.text)
        assert set(piece.css.split()) <= {*(f"c{n}" for n in range(8)), "b", "d", "u"}


def test_the_part_that_matters_is_shown() -> None:
    log = b"ok\n" * 499 + b"error: no\n" + b"ok\n" * 500
    assert first_line(facts(FAILED, log)) == 500 - BEFORE
    assert first_line(facts(DONE, log)) == 1_000 - LINES + 1
    assert first_line(facts(FAILED, b"ok\n")) == 1
    assert first_line(facts(FAILED, log, start=7)) == 7
    assert first_line(facts(FAILED, log, start=9_999)) == 1_000
    assert first_line(facts(DONE, log, found=FoundInLog((300,), 1, 1_000, complete=True))) == 300 - BEFORE
    assert first_line(facts(FAILED, b"")) == 1


def test_a_card_links_the_lines_before_and_after_the_errors_and_the_steps() -> None:
    log = b"ok\n" * 499 + b"error: no\n" + b"ok\n" * 500
    found = facts(FAILED, log)
    found.index.mark(LogMark(0, 300, MarkKind.BEGIN, 0.0, "build"), 101)
    card = log_card(found, [b"x"] * LINES, URLS)
    assert (card.before, card.after) == ("/build/3/log?attempt=1&from=380", "/build/3/log?attempt=1&from=580")
    assert [(it.url, it.text) for it in card.errors] == [("/build/3/log?attempt=1&from=480#L500", "line 500")]
    assert [(it.url, it.text) for it in card.phases] == [("/build/3/log?attempt=1&from=81#L101", "build")]
    assert card.rows[20].kind == "e"
    assert card.summary == "1,000 lines, 1 error"


def test_a_search_that_was_ended_says_how_far_it_came() -> None:
    assert found_words(FoundInLog((), 0, 9, complete=True)) == "No line found."
    assert found_words(FoundInLog((1,), 1, 9, complete=True)) == "1 line found."
    assert found_words(FoundInLog((1,), 2_000, 5_000, complete=False)) == (
        "2,000 lines found, up to line 5,000, where the search was ended."
    )
