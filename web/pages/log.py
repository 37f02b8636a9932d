"""The page of a log: a screen of its lines, with what is known of it, for those who have no script and before one runs.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import field, frozen

from buildtool.model.logs.index import FoundInLog, LogIndex
from buildtool.model.records import Build, BuildState
from buildtool.model.text import COLOUR, block, size_words

from ..urls import Urls
from . import words
from .views import PageLink

LINES = 100
"""Lines on a page without script."""

BEFORE = 20
"""Lines that are shown before the one that a page is about."""

HITS = 50
"""Lines that were found and are linked."""

_SHOWN = 4_000
_BRIGHT = 90
_EXTENDED = frozenset({38, 48})


@frozen
class LogPiece:
    """A part of a line in one colour, which is a class of the style sheet."""

    css: str
    text: str


@frozen
class LogRow:
    """One line; ``kind`` is its class, ``phase`` the name of the phase that begins there."""

    number: int
    pieces: tuple[LogPiece, ...]
    kind: str = ""
    phase: str = ""


@frozen
class LogCard:
    """A log on a page. ``url`` is the page of the log, ``raw`` its bytes; the script asks ``index`` and ``search``.

    ``absent`` says why there is no log; then there is nothing else. ``failed`` says that its first error is shown.
    """

    url: str
    raw: str
    index: str = ""
    search: str = ""
    attempt: int = 0
    absent: str = ""
    summary: str = ""
    failed: bool = False
    rows: tuple[LogRow, ...] = ()
    before: str = ""
    after: str = ""
    errors: tuple[PageLink, ...] = ()
    phases: tuple[PageLink, ...] = ()
    query: str = ""
    case: bool = False
    hits: tuple[PageLink, ...] = ()
    found: str = ""


@frozen
class LogPage:
    """The page of one log."""

    id: int
    build: str
    headline: str
    card: LogCard
    attempts: tuple[PageLink, ...] = ()


@frozen
class LogQuestion:
    """A question to the page of a log: the first line that is shown (0 for the one that matters), and a search."""

    start: int = 0
    query: str = ""
    case: bool = False


@frozen
class LogFacts:
    """All that is known of the log of one Attempt of a Build."""

    build: Build
    epoch: int
    index: LogIndex
    finished: bool
    found: FoundInLog | None = None
    question: LogQuestion = field(factory=LogQuestion)


def first_line(facts: LogFacts) -> int:
    """Return the first line that is shown: of what is asked for, found, the first error of what failed, or the end."""
    index, last = facts.index, max(facts.index.lines - LINES + 1, 1)
    if facts.question.start:
        return min(facts.question.start, max(index.lines, 1))
    about = facts.found.lines[0] if facts.found is not None and facts.found.lines else _first_error(facts)
    return last if about is None else max(about - BEFORE, 1)


def log_card(facts: LogFacts, lines: Sequence[bytes], urls: Urls) -> LogCard:
    """Return a log of which ``lines`` were read from ``first_line`` on."""
    index, start, build, epoch = facts.index, first_line(facts), facts.build.id, facts.epoch
    question, end = facts.question, start + len(lines)
    kinds = {it.line: "w" for it in index.warnings.lines} | {it.line: "e" for it in index.errors.lines}
    for line in facts.found.lines if facts.found is not None else ():
        kinds[line] = f"{kinds.get(line, '')} t".strip()
    names = {phase.line: phase.name for phase in index.phases()}

    def link(line: int, text: str) -> PageLink:
        return PageLink(f"{urls.log_page(build, epoch, max(line - BEFORE, 1))}#L{line}", text)

    return LogCard(
        url=urls.log_page(build),
        raw=urls.log(build, epoch),
        index=urls.log_index(build, epoch),
        search=urls.log_search(build, epoch),
        attempt=epoch,
        summary=_summary(facts),
        failed=_first_error(facts) is not None,
        rows=tuple(
            LogRow(number, coloured(line), kinds.get(number, ""), names.get(number, ""))
            for number, line in enumerate(lines, start)
        ),
        before=urls.log_page(build, epoch, max(start - LINES, 1)) if start > 1 else "",
        after=urls.log_page(build, epoch, end) if end <= index.lines else "",
        errors=tuple(link(it.line, f"line {it.line:,}") for it in index.errors.lines[:HITS]),
        phases=tuple(link(phase.line, phase.name) for phase in index.phases()),
        query=question.query,
        case=question.case,
        hits=tuple(link(line, f"line {line:,}") for line in facts.found.lines[:HITS]) if facts.found else (),
        found=found_words(facts.found) if facts.found is not None else "",
    )


def absent_card(build: Build, epoch: int, why: str, urls: Urls) -> LogCard:
    """Return what is shown in place of a log that is not there."""
    return LogCard(url=urls.log_page(build.id), raw=urls.log(build.id, epoch), attempt=epoch, absent=why)


def found_words(found: FoundInLog) -> str:
    """Return how much was found, and where the search ended."""
    count = words.count(found.count, "line") if found.count else "No line"
    where = "" if found.complete else f", up to line {found.upto:,}, where the search was ended"
    return f"{count} found{where}."


def coloured(line: bytes) -> tuple[LogPiece, ...]:
    """Return a line as pieces of harmless text, each with its colour as a class."""
    text = line[:_SHOWN].decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    pieces: list[LogPiece] = []
    bold = colour = under = ""
    for part, codes in _parts(text):
        for code in codes:
            if code == 0:
                bold = colour = under = ""
            elif code in {1, 2, 22}:
                bold = {1: "b", 2: "d", 22: ""}[code]
            elif code in {4, 24}:
                under = "u" if code == 4 else ""  # noqa: PLR2004 - as ECMA-48 numbers them
            elif code in range(30, 38) or code in range(_BRIGHT, 98):
                colour = f"c{code % 10}"
            elif code == 39:  # noqa: PLR2004 - as ECMA-48 numbers them
                colour = ""
        clean = block(part, _SHOWN).replace("\n", " ")
        if clean:
            pieces.append(LogPiece(" ".join(filter(None, (colour, bold, under))), clean))
    return tuple(pieces)


def _parts(text: str) -> Iterator[tuple[str, Sequence[int]]]:
    """Yield parts of a text, each with the codes that come before it."""
    split = COLOUR.split(text)
    yield split[0], ()
    for codes, part in zip(split[1::2], split[2::2], strict=True):
        yield part, _codes(codes)


def _codes(text: str) -> list[int]:
    given = [int(code) if code.isdigit() and len(code) < 4 else 0 for code in re.split("[;:]", text)]  # noqa: PLR2004
    found: list[int] = []
    while given:
        code = given.pop(0)
        if code in _EXTENDED:  # of 256 colours the first sixteen are the others; what has more is left as it is
            kind = given.pop(0) if given else 0
            values, given = given[: 1 if kind == 5 else 3], given[1 if kind == 5 else 3 :]  # noqa: PLR2004
            if code == 38 and kind == 5 and values and values[0] < 16:  # noqa: PLR2004
                found.append(30 + values[0] % 8)
        else:
            found.append(code)
    return found


def _first_error(facts: LogFacts) -> int | None:
    failed = facts.build.state in (BuildState.FAILED, BuildState.UNBUILDABLE)
    return facts.index.errors.lines[0].line if failed and facts.index.errors.lines else None


def _summary(facts: LogFacts) -> str:
    index = facts.index
    said = [words.count(index.lines, "line"), words.count(index.errors.count, "error")]
    if index.warnings.count:
        said.append(words.count(index.warnings.count, "warning"))
    said.extend(f"{size_words(cut.size)} left out at line {cut.line:,}" for cut in index.cuts())
    if not facts.finished:
        said.append("growing")
    return ", ".join(said)
