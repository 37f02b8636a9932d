"""The marks of a log beside its bytes: the value of the header ``Log-Marks`` with which a build server sends them.

It is a JSON list in ASCII of marks, each a list: its number, the byte of the log that it stands at, its kind, the
seconds since the Attempt began, and words. An older metaserver does not read the header, and an older build server
does not send it: then a log has no phases. Marks of a kind that is not known are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from buildtool.errors import DecodeError
from buildtool.model.logs.marks import MARKS_LIMIT, WORDS_LIMIT, LogMark, MarkKind
from buildtool.model.text import one_line
from buildtool.protocol.json_text import TextBounds, parsed

LOG_MARKS = "Log-Marks"
"""The name of the header."""

AT_ONCE = 5
"""Most marks of one request: a header must have room in what proxies take."""

_BOUNDS = TextBounds(values=8 * 8, depth=2 * 8 + 2)
_FIELDS = 5
_OFFSETS = 2**53
_SECONDS = 1e9
_KINDS = {kind.value: kind for kind in MarkKind}


def marks_text(marks: Iterable[LogMark]) -> str:
    """Return the header's value for some marks, at most AT_ONCE."""
    plain = [
        [mark.number, mark.offset, mark.kind.value, round(mark.seconds, 3), one_line(mark.words, WORDS_LIMIT)]
        for mark in marks
    ]
    return json.dumps(plain, separators=(",", ":"))


def read_marks(text: str) -> tuple[LogMark, ...]:
    """Return the marks of a header's value. Raises DecodeError, in one line."""
    plain = parsed(text.encode(errors="replace"), _BOUNDS)
    if not isinstance(plain, list):
        raise DecodeError("marks of a log that are no list")
    found = (_mark(one) for one in plain)
    return tuple(mark for mark in found if mark is not None)


def _mark(plain: object) -> LogMark | None:
    if not isinstance(plain, list) or len(plain) < _FIELDS:
        raise DecodeError("a mark of a log that has no number, byte, kind, seconds and words")
    number, offset, kind, seconds, words = plain[:_FIELDS]
    whole = type(number) is int and type(offset) is int and isinstance(kind, str) and isinstance(words, str)
    if not whole or isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise DecodeError("a mark of a log whose fields are of the wrong kinds")
    if not (0 <= number < MARKS_LIMIT and 0 <= offset < _OFFSETS and 0 <= seconds < _SECONDS):
        raise DecodeError("a mark of a log that is out of bounds")
    known = _KINDS.get(kind)
    return (
        None
        if known is None
        else LogMark(number, offset, known, round(float(seconds), 3), one_line(words, WORDS_LIMIT))
    )
