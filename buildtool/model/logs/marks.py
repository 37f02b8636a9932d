"""What a build server says about its log beside it, where no output of a build can imitate it: its phases and cuts.

Tested by tests/model/logs/test_index.py.
"""

from __future__ import annotations

import enum

from attrs import frozen

MARKS_LIMIT = 2_000
"""Most marks of one log; what comes after them is not marked."""

WORDS_LIMIT = 100
"""Most characters of the words of a mark."""


class MarkKind(enum.Enum):
    """The kind of a mark."""

    BEGIN = "begin"
    """A phase begins, such as a command; ``words`` name it. It ends the one before it."""
    END = "end"
    """The phase ended well; ``words`` say how."""
    FAILED = "failed"
    """The phase ended, and with it the build; ``words`` say how."""
    CUT = "cut"
    """A part was left out here; ``words`` are the number of its bytes."""


@frozen
class LogMark:
    """One mark at a byte of a log, the ``number``-th from 0 on, ``seconds`` after its Attempt began."""

    number: int
    offset: int
    kind: MarkKind
    seconds: float
    words: str
