"""What is answered about a log is read by who asked, and what is no such answer is refused in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import DecodeError
from buildtool.model.logs.index import LogIndex
from buildtool.model.logs.marks import LogMark, MarkKind
from buildtool.protocol import codec
from buildtool.protocol.json_text import written
from buildtool.protocol.logs.answers import index_answer, read_phases


def test_the_phases_of_an_index_are_read_as_they_were_marked() -> None:
    index = LogIndex()
    index.grow(b"x\n" * 50)
    for number, (offset, kind) in enumerate(((0, MarkKind.BEGIN), (10, MarkKind.BEGIN), (40, MarkKind.FAILED))):
        index.mark(LogMark(number, offset, kind, float(number), f"words {number}"), 1 + offset // 2)
    text = written(codec.encode(index_answer(index, 0, finished=True, length=100)))
    assert [(one.name, one.start, one.end, one.failed) for one in read_phases(text)] == [
        ("words 0", 0, 10, False), ("words 1", 10, 40, True),
    ]  # fmt: skip


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "start", "line", "end", "how", "failed"]), inner, max_size=6)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["phases", "x"]), PLAIN, max_size=2) | PLAIN)
def test_whatever_else_is_answered_is_phases_in_their_bounds_or_an_error_of_ours(plain: object) -> None:
    try:
        found = read_phases(json.dumps(plain).encode())
    except DecodeError:
        return
    assert all(one.start >= 0 and (one.end is None or one.end >= one.start) for one in found)


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b'{"phases": 1}', b'{"phases": [1]}', b"[" * 100])
def test_what_is_no_index_is_one_line(text: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        read_phases(text)
    assert "\n" not in str(caught.value)
