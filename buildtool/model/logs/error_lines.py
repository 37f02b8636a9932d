"""The rule by which a line of a build's output is an error or a warning, and where the first error is.

A line is judged by its first ``JUDGED`` bytes, without their control sequences, and by itself alone. It is an *error*
when it has one of these, and else a *warning* when it has one of those below:

- ``error:``, ``Error:``, ``ERROR:`` as a word of its own, also with a code before the colon (``error[E0308]:``,
  ``error C2143:``), or as the end of a Python exception's name at the beginning of the line (``ValueError:``);
- ``FAILED`` (not ``0 FAILED`` or ``FAILED: 0``), ``--- FAIL:``, ``***Failed``, and at the beginning ``FAIL:``, ``FAIL``
  and a tab, or ``ERROR`` and a space;
- ``make: ***`` and its kin, ``CMake Error``, ``npm ERR!``, ``fatal:`` and ``panic:`` at the beginning, ``panicked at``,
  ``Traceback (most recent call last):``, ``Exception:`` after the name of one, ``command not found`` at the end;
- what linkers say: ``undefined reference to``, ``undefined symbol``, ``multiple definition of``,
  ``unresolved external``, ``cannot find -l``, ``ld returned``;
- ``Segmentation fault``, ``core dumped``, ``Assertion`` with ``failed`` or a quotation;
- warnings: ``warning:`` as a word of its own, also with a code, ``CMake Warning``, ``npm WARN``, ``SomethingWarning:``.

The text is looked at once for each word of ``_WORDS``, and only a line that has one is judged: the time grows with the
length of the text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from buildtool.model.text import log_line

JUDGED = 1_024
"""Bytes at the beginning of a line by which it is judged."""

AROUND = 3
"""Lines that are shown before an error and after it."""

SHOWN = 400
"""Most characters that are shown of one line."""

CONTROLS = re.compile(rb"\x1b\[[0-9;:]{0,40}[A-Za-z]")
"""Control sequences that colour a line and clear the rest of it."""

_ERROR = re.compile(
    rb"(?:^|[^A-Za-z0-9_-])(?:[Ee]rror|ERROR)(?:\[[A-Za-z0-9_:-]{1,40}\]| [A-Z]{1,4}[0-9]{1,5})?:"
    rb"|^[A-Za-z_][A-Za-z0-9_.]{0,200}(?:Error|Exception):"
    rb"|(?<![0-9] )\bFAILED\b(?!: 0\b)|--- FAIL:|\*\*\*Failed|^FAIL[:\t]|^ERROR "
    rb"|make(?:\[[0-9]{1,5}\])?: \*\*\* |^CMake Error|^npm ERR!|^fatal: |^panic: |panicked at "
    rb"|^Traceback \(most recent call last\):|: command not found$"
    rb"|undefined reference to |[Uu]ndefined symbol|multiple definition of |unresolved external "
    rb"|cannot find -l|ld returned [0-9]"
    rb"|Segmentation fault|\(core dumped\)|Assertion [`'(]|Assertion failed"
)
_WARNING = re.compile(
    rb"(?:^|[^A-Za-z0-9_-])(?:[Ww]arning|WARNING)(?:\[[A-Za-z0-9_:-]{1,40}\]| [A-Z]{1,4}[0-9]{1,5})?:"
    rb"|[a-z]Warning: |^CMake Warning|^npm WARN"
)

_WORDS = (
    *(b"rror:", b"rror[", b"rror\x1b[", b": error ", b"\nerror ", b"exception:", b"fail:", b"fail\t", b"failed"),
    *(b": *** ", b"cmake error", b"npm err", b"fatal: ", b"panic", b"traceback (", b"command not f"),
    *(b"undefined ", b"multiple def", b"unresolved ext", b"cannot find -l", b"ld returned"),
    *(b"segmentation f", b"core dumped", b"assertion "),
    *(b"arning:", b"arning[", b"arning\x1b[", b": warning ", b"cmake warn", b"npm warn"),
)
"""In small letters: each line that the expressions find has one of them."""


@frozen
class Judged:
    """A line that is an error or, if not ``error``, a warning; ``start`` is where it begins in what was looked at."""

    start: int
    error: bool


@frozen
class Excerpt:
    """An extract of a log: lines of clean text.

    ``number`` is the first one's, from 1 on; ``error`` which of them it is about.

    ``number`` is 0 where it is not known; ``error`` is None where none of them is an error.
    """

    number: int
    lines: tuple[str, ...]
    error: int | None


def judge(line: bytes) -> bool | None:
    """Return True for an error, False for a warning, and None for any other line, which has no line end."""
    line = line[:JUDGED].rstrip(b"\r")
    if b"\x1b" in line:
        line = CONTROLS.sub(b"", line)
    if _ERROR.search(line):
        return True
    return False if _WARNING.search(line) else None


def judged_in(lines: bytes) -> Iterator[Judged]:
    """Yield the errors and warnings of whole lines (the last one may lack its end), from the first to the last."""
    if not lines:
        return
    small = b"\n" + lines.lower()  # so that a word may begin with the end of the line before
    starts: set[int] = set()
    for word in _WORDS:
        found = small.find(word)
        while found >= 0:
            # What is found at a line end belongs to the line behind it.
            start = small.rfind(b"\n", 0, found + 1) + 1
            starts.add(start - 1)
            end = small.find(b"\n", found + 1)
            found = small.find(word, end) if end >= 0 else -1
    for start in sorted(starts):
        end = lines.find(b"\n", start, start + JUDGED)
        verdict = judge(lines[start : end if end >= 0 else start + JUDGED])
        if verdict is not None:
            yield Judged(start, verdict)


def first_error(text: bytes, number: int = 1, around: int = AROUND) -> Excerpt | None:
    """Return the first error of a text with ``around`` lines on both sides, or None where it has none.

    The text begins with line ``number`` of its log; 0 is for one of which that is not known.
    """
    found = next((it for it in judged_in(text) if it.error), None)
    return None if found is None else excerpt(text, found.start, number, around)


def excerpt(text: bytes, start: int, number: int, around: int = AROUND) -> Excerpt:
    """Return the line at byte ``start`` of a text, which begins with line ``number``, and ``around`` lines about it."""
    first = start
    for _ in range(around):
        first = text.rfind(b"\n", 0, max(first - 1, 0)) + 1
    before = text.count(b"\n", first, start)
    lines = text[first:].split(b"\n", before + around + 1)[: before + around + 1]
    if len(lines) > before + 1 and not lines[-1]:
        del lines[-1]
    skipped = text.count(b"\n", 0, first)
    return Excerpt(number and number + skipped, tuple(map(shown_line, lines)), before)


def shown_line(line: bytes, limit: int = SHOWN) -> str:
    """Return one line of a log, which may hold anything, as harmless text of at most ``limit`` characters."""
    # A character has at most four bytes; control sequences take more of them, and show nothing.
    return log_line(line[: 16 * limit].decode("utf-8", "replace"), limit)


def end_of(text: str, limit: int) -> str:
    """Return the end of a text in at most ``limit`` bytes of UTF-8: whole lines, if one fits, and whole characters."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return text
    kept = encoded[-limit:] if limit > 0 else b""
    if encoded[-limit - 1 : -limit] != b"\n":
        _, end, whole = kept.partition(b"\n")
        kept = whole if end and whole else kept
    return kept.decode(errors="ignore")
