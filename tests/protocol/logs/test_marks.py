"""The marks of a log in a header: read as they were written, and nothing else is taken for some."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import DecodeError
from buildtool.model.logs.marks import MARKS_LIMIT, WORDS_LIMIT, LogMark, MarkKind
from buildtool.protocol.logs.marks import AT_ONCE, marks_text, read_marks

MARKS = st.builds(
    LogMark,
    st.integers(0, MARKS_LIMIT - 1),
    st.integers(0, 2**53 - 1),
    st.sampled_from(MarkKind),
    st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000),
    st.text(alphabet="build: é\N{GRINNING FACE}[\"'\\", max_size=WORDS_LIMIT).map(lambda text: " ".join(text.split())),
)


@given(st.lists(MARKS, max_size=AT_ONCE))
def test_they_are_read_as_they_were_written_in_a_header_that_proxies_take(marks: list[LogMark]) -> None:
    text = marks_text(marks)
    assert list(read_marks(text)) == marks
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 7_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "{}", "1", "[1]", "[[]]", '[["0",0,"end",0,""]]', '[[0,0,"end",0]]', '[[0,0,"end",true,""]]'),
        *('[[-1,0,"end",0,""]]', '[[0,-1,"end",0,""]]', '[[0,0,"end",NaN,""]]', '[[0,0,"end",1e99,""]]'),
        *("[" * 100, '[[true,0,"end",0,""]]', f'[[{MARKS_LIMIT},0,"end",0,""]]', '[[0,0,"end",0,"\\ud800"]]'),
    ],
)
def test_what_is_malformed_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_marks(text)
    assert "\n" not in str(caught.value)


def test_what_a_newer_build_server_may_add_is_left_out() -> None:
    text = '[[0,0,"begin",0,"build",{"more":1}],[1,3,"heard of later",0.5,"?"]]'
    assert read_marks(text) == (LogMark(0, 0, MarkKind.BEGIN, 0.0, "build"),)
