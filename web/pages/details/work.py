"""What machines did, by month and project, from sums to what pages show: a chart, a table, and what it comes to.

Pure: ``now`` is wall time in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import evolve, frozen

from buildtool.model.guest.history import first_month, hours
from buildtool.model.text import size_words
from buildtool.ports.work import WorkFound, WorkLine

from .. import words
from ..charts import HEIGHT, WIDTH, ChartBar

MONTHS = 12
"""Months that the chart and the table have, the running one included; those before are one row."""

ROWS = 60
"""Most rows of the table: those of the newest months."""

NOT_KNOWN = "\N{EN DASH}"
"""Stands where there is no figure."""


EARLIER = "earlier"
OTHERS = "other projects"


@frozen
class WorkRow:
    """The sums of a month and project in words."""

    month: str
    project: str
    builds: str
    good: str
    hours: str
    size: str
    requesters: str


@frozen
class WorkCard:
    """The part of a page that says what machines did; ``label`` says in words what the bars show."""

    lead: str
    bars: tuple[ChartBar, ...]
    label: str
    rows: tuple[WorkRow, ...]
    note: str


def work_card(found: WorkFound, sees: Callable[[str], bool], now: float) -> WorkCard | None:
    """Return what machines did, None where they did nothing.

    Projects that ``sees`` does not let through have no name: their sums are together those of ``OTHERS``.
    """
    if not found.lines:
        return None
    seen = grouped(found.lines, sees, OTHERS)
    hidden = any(line.project == OTHERS for line in seen)
    since = counted_since(now)
    recent = [line for line in seen if line.month >= since]
    before = [evolve(line, month=EARLIER, requesters=0) for line in seen if line.month < since]
    rows = [*recent, *grouped(before)]
    total = summed(seen)
    people = "" if hidden else f", {words.count(found.requesters, 'requester')} in the last {MONTHS} months"
    bars, label = _bars(recent, now)
    return WorkCard(
        f"{words.count(builds_of(total), 'build')}, of which {total.good:,} succeeded; {used(total)}, "
        f"{size_words(total.size)} of artifacts{people}.",
        bars,
        label,
        tuple(map(_row, rows[:ROWS])),
        _note(total, left=len(rows) - ROWS, hidden=hidden),
    )


def counted_since(now: float) -> str:
    """Return the month from which on requesters are counted; ``now`` is wall time in seconds."""
    return first_month(now, MONTHS)


def builds_of(line: WorkLine) -> int:
    """Return how many builds were begun and have ended."""
    return line.good + line.failed + line.other


def used(line: WorkLine) -> str:
    """Return the hours of processors, as far as they are known."""
    if line.unmeasured and line.unmeasured == builds_of(line):
        return "processor hours not known"
    return f"{processor_hours(line)} processor hours"


def processor_hours(line: WorkLine) -> str:
    """Return the hours of processors as a figure."""
    if line.unmeasured and line.unmeasured == builds_of(line):
        return NOT_KNOWN
    return hours(round(line.processor * 1000))


def _note(total: WorkLine, *, left: int, hidden: bool) -> str:
    said = []
    if hidden:
        said.append(f"What you may not see is together as {OTHERS}.")
    if left > 0:
        said.append(f"{words.count(left, 'row')} more are not shown.")
    if 0 < total.unmeasured < builds_of(total):
        said.append(f"Of {words.count(total.unmeasured, 'build')} it is not known what processors they used.")
    return " ".join(said)


def summed(lines: Iterable[WorkLine]) -> WorkLine:
    """Return the sums of lines, whatever month and project they are of; requesters cannot be added."""
    total = WorkLine("")
    for one in lines:
        total = evolve(
            total, good=total.good + one.good, failed=total.failed + one.failed, other=total.other + one.other,
            unmeasured=total.unmeasured + one.unmeasured, processor=total.processor + one.processor,
            wall=total.wall + one.wall, size=total.size + one.size,
        )  # fmt: skip
    return total


def grouped(
    lines: Iterable[WorkLine], sees: Callable[[str], bool] = lambda _project: True, others: str = OTHERS
) -> list[WorkLine]:
    """Return lines in their order, those of one month and project as one; a project that is not seen is ``others``.

    Requesters are counted where a line stands alone, else they are 0.
    """
    groups: dict[tuple[str, str], list[WorkLine]] = {}
    for one in lines:
        groups.setdefault((one.month, one.project if sees(one.project) else others), []).append(one)
    found = []
    for (month, project), several in groups.items():
        alone = several[0].requesters if len(several) == 1 and project != others else 0
        found.append(evolve(summed(several), month=month, project=project, requesters=alone))
    return found


def _row(line: WorkLine) -> WorkRow:
    return WorkRow(
        line.month,
        line.project,
        f"{builds_of(line):,}",
        f"{line.good:,}",
        processor_hours(line),
        size_words(line.size),
        f"{line.requesters:,}" if line.requesters else NOT_KNOWN,
    )


def _bars(lines: Sequence[WorkLine], now: float) -> tuple[tuple[ChartBar, ...], str]:
    """Return a bar a month, the oldest first, and what all of them show."""
    months = [summed(one for one in lines if one.month == first_month(now, MONTHS - at)) for at in range(MONTHS)]
    most = max(map(builds_of, months))
    wide, scale = WIDTH / MONTHS, HEIGHT / max(1, most)
    bars = tuple(
        ChartBar(
            round(at * wide, 1), round(wide * 0.8, 1),
            round(HEIGHT - one.good * scale, 1), round(one.good * scale, 1),
            round(HEIGHT - builds_of(one) * scale, 1), round((one.failed + one.other) * scale, 1),
            f"{first_month(now, MONTHS - at)}: {one.good:,} succeeded, {one.failed + one.other:,} did not, {used(one)}",
        )
        for at, one in enumerate(months)
    )  # fmt: skip
    good, bad = sum(one.good for one in months), sum(one.failed + one.other for one in months)
    return bars, f"Builds in the last {MONTHS} months: {good:,} succeeded, {bad:,} did not; at most {most:,} a month."
