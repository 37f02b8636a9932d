"""The matrix of a project: a row a revision, a column a platform with options, a cell the newest build of both.

Pure: ``now`` is wall time in seconds, links come from ``urls``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from attrs import frozen

from buildtool.model.options import Canonical
from buildtool.model.project_options import ProjectOptions
from buildtool.model.records import BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.model.text import size_words
from buildtool.ports.pages import BuildLine, BuildsFound

from ...urls import Urls
from .. import badges, words
from ..builds import options_words
from ..common import cut, moment
from ..views import Badge, Moment
from .wish import fields_of_build

ROWS, COLUMNS = 40, 12
"""Most revisions and most platforms with options that are shown: of the latter the most usual."""

_Column = tuple[str, Canonical, Canonical]
"""A source, options and a platform."""


@frozen
class MatrixBox:
    """A cell: the newest build and what came of it, or, without a ``badge``, where it is asked for.

    ``words`` are short, ``label`` says the whole.
    """

    url: str
    words: str
    label: str
    badge: Badge | None = None


@frozen
class RevisionRow:
    """A revision: as it was asked for, in short and in full, its subject, when it was asked for first, and its cells.

    ``there`` says of how many platforms there is an artifact.
    """

    name: str
    revision: str
    short: str
    subject: str
    asked: Moment
    boxes: tuple[MatrixBox, ...]
    there: str


@frozen
class ColumnHead:
    """The head of a column: a platform, and options that differ from the defaults."""

    platform: str
    options: str


@frozen
class MatrixPage:
    """The matrix of a project; ``notes`` say what of it is not shown, and ``builds`` leads to the list of all builds.

    ``projects`` are the names of all, each with its matrix; ``query`` is what was searched for. ``newest`` and
    ``older`` lead to the first and the next revisions, where these are not all.
    """

    project: str
    projects: tuple[tuple[str, str], ...]
    lead: str
    columns: tuple[ColumnHead, ...]
    rows: tuple[RevisionRow, ...]
    builds: str
    notes: tuple[str, ...] = ()
    query: str = ""
    newest: str = ""
    older: str = ""


def next_revisions(found: BuildsFound) -> tuple[Sequence[str], int | None]:
    """Return the revisions of builds that were found, as many as are shown, and below which build the next ones are.

    That is None where there are no more.
    """
    first = dict[str, int]()
    for line in found.lines:
        first.setdefault(line.revision, line.id)
    shown = list(first)[:ROWS]
    if len(first) > ROWS:
        return shown, first[shown[-1]]
    if found.stopped is not None:
        return shown, found.stopped
    return shown, found.lines[-1].id if found.more and found.lines else None


def of_revisions(window: BuildsFound, whole: BuildsFound, revisions: Sequence[str], before: int | None) -> BuildsFound:
    """Return the builds of revisions of which none is as new as the build ``before``: others are on an earlier page.

    ``window`` is where the revisions were found, and ``whole`` has all of their builds, or the newest.
    """
    lines = {line.id: line for line in (*window.lines, *whole.lines) if line.revision in revisions}
    newest = dict[str, int]()
    for line in lines.values():
        newest[line.revision] = max(line.id, newest.get(line.revision, 0))
    kept = sorted(
        (one for one in lines.values() if before is None or newest[one.revision] < before), key=lambda one: -one.id
    )
    return BuildsFound(tuple(kept), whole.more, whole.stopped)


def matrix_page(
    project: str,
    found: BuildsFound,
    options: ProjectOptions | None,
    projects: Sequence[str],
    urls: Urls,
    now: float,
) -> MatrixPage:
    """Return the matrix of the builds that were found, the newest first; what a cell asks for needs the ``options``.

    ``now`` is wall time in seconds.
    """
    usual = options.defaults if options is not None else None
    cells, order = dict[str, dict[_Column, BuildLine]](), dict[str, list[BuildLine]]()
    count, first = Counter[_Column](), dict[_Column, int]()
    for line in found.lines:
        column = (line.source, line.options, line.platform)
        cells.setdefault(line.revision, {}).setdefault(column, line)
        order.setdefault(line.revision, []).append(line)
        first.setdefault(column, len(first))
    for made in cells.values():
        count.update(made.keys())
    chosen = sorted(sorted(count, key=lambda one: (-count[one], first[one]))[:COLUMNS], key=_order(usual))
    shown = list(cells)[:ROWS]
    rows = tuple(_row(order[one], [cells[one].get(it) for it in chosen], chosen, options, urls, now) for one in shown)
    there = sum(box.badge is badges.BUILD[BuildState.SUCCEEDED] for row in rows for box in row.boxes)
    lead = f"{there:,} of {words.count(len(shown) * len(chosen), 'build')} are there." if shown else ""
    return MatrixPage(
        project, tuple((name, urls.matrix(name)) for name in projects), lead,
        tuple(_head(one, usual) for one in chosen), rows, urls.builds(str(BuildQuery(project=(project,)))),
        tuple(_notes(found, len(cells) - len(shown), len(count) - len(chosen))),
    )  # fmt: skip


def _order(usual: Canonical | None) -> Callable[[_Column], tuple[object, ...]]:
    """Return the order of columns: by platform, the default options first."""

    def key(column: _Column) -> tuple[object, ...]:
        source, options, platform = column
        return (words.platform(platform), source, options != usual, options_words(options, usual))

    return key


def _head(column: _Column, usual: Canonical | None) -> ColumnHead:
    source, options, platform = column
    said = [source] if source else []
    said += [options_words(options, usual)] if options != usual else []
    return ColumnHead(words.platform(platform), cut(" ".join(said)))


def _row(
    lines: Sequence[BuildLine],
    made: Sequence[BuildLine | None],
    columns: Sequence[_Column],
    options: ProjectOptions | None,
    urls: Urls,
    now: float,
) -> RevisionRow:
    newest, short = lines[0], words.revision(lines[0].revision)
    name = next((one.ref for one in lines if one.ref and one.ref != one.revision), "")
    usual = options.defaults if options is not None else None
    boxes = []
    for line, column in zip(made, columns, strict=True):
        head = _head(column, usual)
        about = " ".join(filter(None, (name or short, head.platform, head.options)))
        boxes.append(_made(line, about, urls) if line is not None else _empty(newest, column, about, options, urls))
    there = sum(line is not None and line.state is BuildState.SUCCEEDED for line in made)
    subject = next((one.subject for one in lines if one.subject), "")
    return RevisionRow(
        cut(name), newest.revision, short, cut(subject), moment(lines[-1].created_at, now), tuple(boxes),
        f"{there}/{len(columns)}",
    )  # fmt: skip


def _made(line: BuildLine, about: str, urls: Urls) -> MatrixBox:
    badge = badges.BUILD[line.state]
    size = size_words(line.size) if line.digest and line.state is BuildState.SUCCEEDED else ""
    label = ", ".join(filter(None, (f"{about}: {badge.text}", size, f"build {line.id}")))
    return MatrixBox(urls.build(line.id), size or badge.text, label, badge)


def _empty(newest: BuildLine, column: _Column, about: str, options: ProjectOptions | None, urls: Urls) -> MatrixBox:
    if options is None:
        return MatrixBox("", "none", f"{about}: never asked for")
    source, compiled, platform = column
    fields = fields_of_build(newest.project, source, newest.revision, compiled, platform, options)
    return MatrixBox(urls.ask(fields), "ask", f"{about}: never asked for, ask for it")


def _notes(found: BuildsFound, rows: int, columns: int) -> list[str]:
    notes = []
    if found.more or found.stopped is not None:
        notes.append(f"Made of the newest {words.count(len(found.lines), 'build')}.")
    if rows:
        notes.append(f"{words.count(rows, 'older revision')} {'is' if rows == 1 else 'are'} left out.")
    if columns:
        said = words.count(columns, "rarer platform or set of options", "rarer platforms or sets of options")
        notes.append(f"{said} {'is' if columns == 1 else 'are'} left out.")
    return notes
