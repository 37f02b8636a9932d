"""The search for builds: which numbers fit, in the order of numbers, at a cost that does not grow with history.

The builds of one state that have a term are a stretch of an index, in the order of their numbers. A search walks down
the stretch of the term that is rarest where it begins, and looks for the other terms of each build on it. After
``BUDGET`` steps it stops, and says how far it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from attrs import frozen
from sqlalchemy import Select, bindparam, func, select
from sqlalchemy.sql.elements import ColumnElement

from buildtool.adapters.sql.prepared import Ask, Prepared, padded
from buildtool.adapters.sql.schema import builds
from buildtool.adapters.sql.search.indexing import ANY_TERM
from buildtool.adapters.sql.search.tables import build_terms, terms
from buildtool.errors import UsageError
from buildtool.model.search.terms import Term, TermKind

BUDGET = 3_000
"""Builds of one state that are looked at for one page, at most."""

COUNTED = 1_000
"""How far builds of a state are counted."""

COUNT_BUDGET = 1_000
"""Builds of one state that are looked at to count those that fit, at most."""

PREFIX_MOST = 50
"""Most revisions that one beginning may stand for."""

LAST = 2**63 - 1
"""The largest number that a column holds."""

_PROBED = 64
"""How far ahead it is looked how rare a term is."""

DRIVERS_MOST = 4
"""Most terms that are walked along one after the other where that is only about what may be seen."""

Group = tuple[int, ...]
"""Numbers of terms of which a build must have one."""


@frozen
class Span:
    """The numbers ``low`` to ``high`` in which is searched, from the newest down or from the oldest up."""

    low: int = 0
    high: int = LAST
    newest_first: bool = True


@frozen
class WantedTerms:
    """The terms that a build must have: one of each group, and of each of ``also``, along which is not walked."""

    groups: tuple[Group, ...] = ((ANY_TERM,),)
    also: tuple[Group, ...] = ()


@frozen
class Found:
    """The numbers that fit, in the order of the search; ``stopped`` is where it ended, if that was too early."""

    numbers: tuple[int, ...]
    stopped: int | None = None


_BT = build_terms.c
_ON_STRETCH = (
    _BT.state == bindparam("state"),
    _BT.term == bindparam("term"),
    _BT.build >= bindparam("low"),
    _BT.build <= bindparam("high"),
)


def _in_order(statement: Select[Any], *, newest_first: bool) -> Select[Any]:
    return statement.order_by(_BT.build.desc() if newest_first else _BT.build)


@cache
def _ahead(newest_first: bool) -> Prepared:  # noqa: FBT001 - which of two statements
    """Return the statement for the build that stands ``skip`` places ahead on a stretch."""
    return Prepared(
        _in_order(select(_BT.build).where(*_ON_STRETCH), newest_first=newest_first).limit(1).offset(bindparam("skip"))
    )


def _having(position: int, size: int) -> ColumnElement[bool]:
    other = build_terms.alias(f"other_{position}")
    wanted: list[Any] = [bindparam(f"wanted{position}_{number}") for number in range(size)]
    one = other.c.term == wanted[0] if size == 1 else other.c.term.in_(wanted)
    return select(other.c.term).where(other.c.state == _BT.state, one, other.c.build == _BT.build).exists()


def _walking(newest_first: bool, sizes: tuple[int, ...]) -> Select[Any]:  # noqa: FBT001
    probes = [_having(position, size) for position, size in enumerate(sizes)]
    statement = select(_BT.build).where(*_ON_STRETCH, *probes)
    return _in_order(statement, newest_first=newest_first).limit(bindparam("most"))


@cache
def _walk(newest_first: bool, sizes: tuple[int, ...]) -> Prepared:  # noqa: FBT001
    """Return the statement for builds on a stretch that have one of each of several groups of terms."""
    return Prepared(_walking(newest_first, sizes), packed=True)


@cache
def _counting(sizes: tuple[int, ...]) -> Prepared:
    """Return the statement for how many those are: to bring each of them from the database would take longer."""
    return Prepared(select(func.count()).select_from(_walking(True, sizes).subquery()))


_COUNT = Prepared(
    select(func.count()).select_from(
        select(_BT.build).where(*_ON_STRETCH).order_by(_BT.build.desc()).limit(COUNTED + 1).subquery()
    )
)
_OWN_TERMS = Prepared(select(_BT.term, _BT.state).where(_BT.build == bindparam("build")))


@cache
def _any_build(newest_first: bool) -> Prepared:  # noqa: FBT001
    order = builds.c.id.desc() if newest_first else builds.c.id
    chosen = select(builds.c.id).where(builds.c.id >= bindparam("low"), builds.c.id <= bindparam("high"))
    return Prepared(chosen.order_by(order).limit(bindparam("most")), packed=True)


_FIRST_FROM = Prepared(
    select(builds.c.id, builds.c.created_at).where(builds.c.id >= bindparam("low")).order_by(builds.c.id).limit(1)
)
_NEWEST = Prepared(select(func.max(builds.c.id)))


def newest(ask: Ask) -> int:
    """Return the number of the newest build, 0 if there is none."""
    return ask(_NEWEST, {})[0][0] or 0


def first_since(ask: Ask, moment: float) -> int:
    """Return the number from which on builds were asked for at or after a moment, LAST if none was.

    Numbers rise with time; where a clock was set back, builds of that while are found or not.
    """
    low, high = 1, newest(ask) + 1
    while low < high:
        middle = (low + high) // 2
        ((number, at),) = ask(_FIRST_FROM, {"low": middle})
        if at >= moment:
            high = middle
        else:
            low = number + 1
    there = ask(_FIRST_FROM, {"low": low})
    return there[0][0] if there else LAST


def search(ask: Ask, wanted: WantedTerms, states: Sequence[int], span: Span, most: int, budget: int = BUDGET) -> Found:
    """Return at most ``most`` builds in one of these states that have what is wanted."""
    found: set[int] = set()
    stops: list[int] = []
    for state in states:
        numbers, stopped = _in_state(ask, wanted, state, span, most, budget)
        found.update(numbers)
        stops += [] if stopped is None else [stopped]
    in_order = sorted(found, reverse=span.newest_first)
    if not stops:
        return Found(tuple(in_order[:most]))
    # Beyond where the first of the walks stopped, there may be others in between.
    stop = max(stops) if span.newest_first else min(stops)
    sure = [number for number in in_order if (number >= stop if span.newest_first else number <= stop)]
    return Found(tuple(sure[:most]), stop if len(sure) < most else None)


@frozen
class _Way:
    """The way of a search through one state: along the stretches of ``drivers``, each build probed for the others."""

    drivers: Group
    probes: tuple[int, ...]
    values: Mapping[str, int]
    budget: int

    def end(self, ask: Ask, on: dict[str, int], span: Span) -> int | None:
        """Return where the way along a driver ends before all of it was looked at, and have it end there."""
        ahead = ask(_ahead(span.newest_first), on | {"skip": self.budget // len(self.drivers)}) if self.probes else ()
        if not ahead:
            return None
        stop: int = ahead[0][0]
        on["low" if span.newest_first else "high"] = stop
        return stop


def _way(ask: Ask, wanted: WantedTerms, where: dict[str, int], span: Span, budget: int) -> _Way | None:
    """Return the way through a state, None where it has no build that is wanted."""
    groups = wanted.groups
    at = _rarest(ask, groups, where, span) if len(groups) > 1 else 0
    if at is None:
        return None
    others = (*groups[:at], *groups[at + 1 :], *wanted.also)
    probes = [padded(f"wanted{number}", group) for number, group in enumerate(others)]
    values = where | {name: value for probe in probes for name, value in probe.items()}
    return _Way(groups[at], tuple(map(len, probes)), values, budget)


def _in_state(
    ask: Ask, wanted: WantedTerms, state: int, span: Span, most: int, budget: int
) -> tuple[set[int], int | None]:
    way = _way(ask, wanted, {"state": state, "low": span.low, "high": span.high}, span, budget)
    if way is None:
        return set(), None
    walk = _walk(span.newest_first, way.probes)
    found: set[int] = set()
    stops = []
    for term in way.drivers:
        on = {**way.values, "term": term, "most": most}
        stop = way.end(ask, on, span)
        stops += [] if stop is None else [stop]
        found.update(number for (number,) in ask(walk, on))
    return found, (max(stops) if span.newest_first else min(stops)) if stops else None


def _rarest(ask: Ask, groups: Sequence[Group], where: dict[str, int], span: Span) -> int | None:
    """Return which group is rarest where a search begins; None where one has no build at all."""
    best: tuple[float, int] | None = None
    for number, group in enumerate(groups):
        share = 0.0
        for term in group:
            on = where | {"term": term}
            ahead = ask(_ahead(span.newest_first), on | {"skip": _PROBED})
            if ahead:
                share += 1 / (1 + abs((span.high if span.newest_first else span.low) - ahead[0][0]))
            elif ask(_ahead(span.newest_first), on | {"skip": 0}):
                share += 1e-20
        if share == 0.0:
            return None
        if best is None or share < best[0]:
            best = share, number
    return best[1] if best else 0


def among_these(ask: Ask, numbers: Iterable[int], wanted: WantedTerms, states: Sequence[int], span: Span) -> Found:
    """Return which of these builds are wanted."""
    fitting = []
    for number in sorted(set(numbers), reverse=span.newest_first):
        if span.low <= number <= span.high:
            own = ask(_OWN_TERMS, {"build": number})
            there = {term for term, _ in own}
            if (
                own
                and own[0][1] in states
                and all(there.intersection(group) for group in (*wanted.groups, *wanted.also))
            ):
                fitting.append(number)
    return Found(tuple(fitting))


def all_builds(ask: Ask, span: Span, most: int) -> Found:
    """Return builds, whatever they are."""
    rows = ask(_any_build(span.newest_first), {"low": span.low, "high": span.high, "most": most})
    return Found(tuple(sorted((number for (number,) in rows), reverse=span.newest_first)))


def count(ask: Ask, wanted: WantedTerms, state: int, span: Span) -> tuple[int, bool]:
    """Return how many builds of a state in a span have what is wanted, and whether that is all.

    It is counted to COUNTED + 1.
    """
    where = {"state": state, "low": span.low, "high": span.high}
    if len(wanted.groups) == 1 == len(wanted.groups[0]) and not wanted.also:
        number: int = ask(_COUNT, where | {"term": wanted.groups[0][0]})[0][0]
        return number, number <= COUNTED
    way = _way(ask, wanted, where, span, COUNT_BUDGET)
    if way is None:
        return 0, True
    if len(way.drivers) > 1:  # along which the same builds may stand
        found = search(ask, wanted, (state,), span, COUNTED + 1, COUNT_BUDGET)
        return len(found.numbers), found.stopped is None and len(found.numbers) <= COUNTED
    on = {**way.values, "term": way.drivers[0], "most": COUNTED + 1}
    stop = way.end(ask, on, span)
    counted: int = ask(_counting(way.probes), on)[0][0]
    return counted, stop is None and counted <= COUNTED


# --- terms ----------------------------------------------------------------------------------------------

_EXACT = Prepared(select(terms.c.id).where(terms.c.kind == bindparam("kind"), terms.c.text == bindparam("text")))
_BEGINNING = Prepared(
    select(terms.c.id)
    .where(terms.c.kind == bindparam("kind"), terms.c.text >= bindparam("text"), terms.c.text < bindparam("end"))
    .limit(PREFIX_MOST + 1)
)
_PLACES = Prepared(
    select(terms.c.id, terms.c.text).where(terms.c.kind == int(TermKind.WHAT), terms.c.id > bindparam("after"))
)


def numbered(ask: Ask, group: Iterable[Term]) -> Group:
    """Return the numbers of the terms of a group; what no build has, has none. Raises UsageError."""
    return tuple(dict.fromkeys(number for term in group for number in _numbers(ask, term)))


def _numbers(ask: Ask, term: Term) -> Iterator[int]:
    if term.kind is TermKind.ANY:
        yield ANY_TERM
        return
    if not term.prefix:
        yield from (number for (number,) in ask(_EXACT, {"kind": int(term.kind), "text": term.text}))
        return
    # "g" comes after every digit that may follow, in whatever order a database has texts.
    rows = ask(_BEGINNING, {"kind": int(term.kind), "text": term.text, "end": f"{term.text}g"})
    if len(rows) > PREFIX_MOST:
        raise UsageError(f"more than {PREFIX_MOST} revisions begin with {term.text}: say more digits")
    yield from (number for (number,) in rows)


def places(ask: Ask, after: int) -> list[tuple[int, str]]:
    """Return the numbers and texts of the WHATs that are newer than a number."""
    return [(number, text) for number, text in ask(_PLACES, {"after": after})]
