"""What a machine did, for which farm and project, by month: sums of whole numbers, so that their order is all the same.

A build adds to a row when it ends and once more when what it made is sent. Rows are bounded: the oldest months are
summed up. Tested by tests/model/guest/test_history.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

from attrs import define, evolve, field, frozen

from buildtool.errors import UsageError
from buildtool.model.records import AttemptEnd
from buildtool.model.text import printable, quoted, size_words

EARLIER = ""
"""The month of what is so old that only its sum is kept."""

MOST_ROWS = 2_000
"""Rows that are kept: sixteen years of ten projects."""

_MONTH = len("2026-11")
_HOUR_MS = 3_600_000
_LEAST = 0.005
_MONTHS = 12

K = TypeVar("K")


@frozen(order=True)
class HistoryKey:
    """A row of the history: a month such as ``2026-11`` (UTC), a farm by where its metaserver is, and a project."""

    month: str
    farm: str
    project: str


@frozen
class DoneWork:
    """The sums of work that was done, and builds by how they ended. Times are in milliseconds.

    ``processor`` is what commands used of all processors, ``wall`` how long builds ran without their rests, ``frozen``
    how long they stood still, ``down`` and ``up`` bytes. ``unmeasured`` counts builds of which nothing told the first.
    """

    ends: Mapping[AttemptEnd, int] = field(factory=dict)
    processor: int = 0
    wall: int = 0
    frozen: int = 0
    down: int = 0
    up: int = 0
    unmeasured: int = 0

    @property
    def builds(self) -> int:
        """How many builds ended."""
        return sum(self.ends.values())

    def __add__(self, other: DoneWork) -> DoneWork:
        """Return the sum."""
        ends = {end: count for end in AttemptEnd if (count := self.ends.get(end, 0) + other.ends.get(end, 0))}
        return DoneWork(ends, *(getattr(self, name) + getattr(other, name) for name in FIGURES))


FIGURES = ("processor", "wall", "frozen", "down", "up", "unmeasured")
"""The sums of DoneWork, in its order."""

NOTHING = DoneWork()


def ended(end: AttemptEnd, *, processor: float | None, wall: float, frozen: float, down: int, up: int = 0) -> DoneWork:
    """Return what one build did; times are in seconds, ``processor`` None where it was not measured."""
    return DoneWork(
        {end: 1},
        processor=_milliseconds(processor or 0.0),
        wall=_milliseconds(wall),
        frozen=_milliseconds(frozen),
        down=down,
        up=up,
        unmeasured=int(processor is None),
    )


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def month_of(when: float) -> str:
    """Return the month of a wall time: ``2026-11``."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m")


def month_said(text: str) -> str:
    """Return the month that a text such as ``2026-11`` means. Raises UsageError."""
    try:
        if len(text) == _MONTH:
            return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).strftime("%Y-%m")
    except ValueError:
        pass
    raise UsageError(f"{quoted(text)} is no month: say 2026-11")


def first_month(now: float, months: int) -> str:
    """Return the first of ``months`` months, the last of which is that of the wall time ``now``, in seconds."""
    today = datetime.fromtimestamp(now, UTC)
    number = max(_MONTHS, today.year * _MONTHS + today.month - months)
    return f"{number // _MONTHS:04d}-{number % _MONTHS + 1:02d}"


@define
class WorkHistory:
    """All rows. ``most`` bounds how many there are."""

    rows: dict[HistoryKey, DoneWork] = field(factory=dict)
    most: int = MOST_ROWS

    def add(self, key: HistoryKey, work: DoneWork) -> None:
        """Add what was done to its row, and sum up the oldest months where there are too many rows."""
        self.rows[key] = self.rows.get(key, NOTHING) + work
        while len(self.rows) > self.most:
            self._sum_up()

    def _sum_up(self) -> None:
        """Put the oldest month into EARLIER; with nothing but that left, its last project into one without a name."""
        months = {key.month for key in self.rows} - {EARLIER}
        if months:
            oldest = min(months)
            for key in [one for one in self.rows if one.month == oldest]:
                self._put(key, evolve(key, month=EARLIER))
        else:
            last = max(key for key in self.rows if key != HistoryKey(EARLIER, "", ""))
            self._put(last, HistoryKey(EARLIER, "", ""))

    def _put(self, key: HistoryKey, into: HistoryKey) -> None:
        self.rows[into] = self.rows.get(into, NOTHING) + self.rows.pop(key)

    def since(self, month: str) -> WorkHistory:
        """Return the rows from a month on; with EARLIER all."""
        return WorkHistory({key: work for key, work in self.rows.items() if key.month >= month}, self.most)

    def total(self) -> DoneWork:
        """Return the sum of all rows."""
        return sum(self.rows.values(), NOTHING)


def summed(rows: Iterable[tuple[K, DoneWork]]) -> dict[K, DoneWork]:
    """Return the sums of rows of one name each."""
    found: dict[K, DoneWork] = {}
    for name, work in rows:
        found[name] = found.get(name, NOTHING) + work
    return found


# --- as plain data -------------------------------------------------------------------------------------------


def plain(key: HistoryKey, work: DoneWork) -> dict[str, object]:
    """Return a row as plain values, without what is 0: what stands in the file, and in answers to programs."""
    ends = {end.value: count for end, count in sorted(work.ends.items(), key=lambda one: one[0].value)}
    figures = {name: value for name in FIGURES if (value := getattr(work, name))}
    return {"month": key.month, "farm": key.farm, "project": key.project, "ends": ends, **figures}


def of_plain(said: object) -> tuple[HistoryKey, DoneWork]:
    """Return the row that plain values say. Raises ValueError for what is none."""
    if not isinstance(said, dict):
        raise ValueError("a row is an object")  # noqa: TRY004 - whoever reads it tells all of these alike
    names = [said.get(name) for name in ("month", "farm", "project")]
    ends = said.get("ends")
    if not all(isinstance(name, str) for name in names) or not isinstance(ends, dict):
        raise ValueError("a row has a month, a farm, a project and ends")
    month, farm, project = (str(name) for name in names)
    try:
        month = month and month_said(month)
    except UsageError as error:
        raise ValueError(str(error)) from error
    counted = {AttemptEnd(end): _count(count) for end, count in ends.items()}
    work = DoneWork(counted, *(_count(said.get(name, 0)) for name in FIGURES))
    return HistoryKey(month, farm, project), work


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a sum is a whole number")
    return value


def told(work: DoneWork, key: HistoryKey | None = None) -> dict[str, object]:
    """Return sums, of a row if there is one, with units in their names, as programs are told them."""
    about = {} if key is None else {"month": key.month, "farm": key.farm, "project": key.project}
    return {
        **about,
        "builds": work.builds,
        "ends": {end.value: count for end, count in work.ends.items()},
        "processor_ms": work.processor,
        "wall_ms": work.wall,
        "frozen_ms": work.frozen,
        "bytes_down": work.down,
        "bytes_up": work.up,
        "unmeasured": work.unmeasured,
    }


# --- for people ----------------------------------------------------------------------------------------------

_WIDE = 80
_NARROW = 4
_HEADS = ("month", "project", "ok", "failed", "other", "cpu h", "down", "up")
_NAMES = 2
_OWN_FAULT = (AttemptEnd.FAILED, AttemptEnd.MISTAKEN)


def lines(history: WorkHistory) -> tuple[str, ...]:
    """Return a table by month and project, the newest first, a line for all, and what needs a word.

    No line has more than 80 characters. With several farms each has a table of its own.
    """
    if not history.rows:
        return ("nothing was built",)
    found: list[str] = []
    farms = sorted({key.farm for key in history.rows})
    for farm in farms:
        rows = {key: work for key, work in history.rows.items() if key.farm == farm}
        found += [*([""] if found else []), printable(f"for {farm or 'several farms'}", _WIDE)]
        found += _table(rows)
    total = history.total()
    builds = f"{total.builds:,} build{'' if total.builds == 1 else 's'}"
    found += ["", f"{builds} used {hours(total.processor)} processor hours and ran for {hours(total.wall)}"]
    if total.frozen:
        found.append(f"for their owner they stood still for {hours(total.frozen)} hours more")
    if total.unmeasured:
        found.append(f"of {total.unmeasured:,} nothing tells what processors they used")
    return tuple(found)


def _table(rows: Mapping[HistoryKey, DoneWork]) -> list[str]:
    keys = sorted(rows, key=lambda key: key.project)
    keys.sort(key=lambda key: key.month, reverse=True)
    cells = [_HEADS, *(_cells(key.month or "earlier", key.project or "others", rows[key]) for key in keys)]
    cells.append(_cells("all", "", sum(rows.values(), NOTHING)))
    widths = [max(len(row[place]) for row in cells) for place in range(len(_HEADS))]
    room = _WIDE - sum(widths[:1] + widths[2:]) - 2 * (len(_HEADS) - 1)
    widths[1] = max(_NARROW, min(widths[1], room))
    return [_line(row, widths) for row in cells]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(
        f"{printable(text, width):<{width}}" if place < _NAMES else f"{text:>{width}}"
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ).rstrip()


def _cells(month: str, project: str, work: DoneWork) -> tuple[str, ...]:
    good, failed = work.ends.get(AttemptEnd.SUCCEEDED, 0), sum(work.ends.get(end, 0) for end in _OWN_FAULT)
    figures = f"{good:,}", f"{failed:,}", f"{work.builds - good - failed:,}", hours(work.processor)
    return month, project, *figures, size_words(work.down), size_words(work.up)


def hours(milliseconds: int) -> str:
    """Return hours for people: with two digits below 100, without any above; what is less is not shown as nothing."""
    amount = milliseconds / _HOUR_MS
    if 0 < amount < _LEAST:
        return "<0.01"
    return f"{amount:.2f}" if amount < 100 else f"{amount:,.0f}"  # noqa: PLR2004 - as the docstring says
