"""The search of builds as the pages ask for it: in one transaction, what fits, its lines, and the counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from threading import Lock

from attrs import frozen
from sqlalchemy import Connection, func, select

from buildtool.adapters.sql.prepared import Ask, Prepared, asking
from buildtool.adapters.sql.schema import events
from buildtool.adapters.sql.search import finding
from buildtool.adapters.sql.search.finding import Found, Group, Span, WantedTerms
from buildtool.adapters.sql.search.indexing import ANY_TERM, STATE_CODES
from buildtool.adapters.sql.search.lines import LineReader
from buildtool.concurrency.bounded_cache import keep_newest
from buildtool.model.access.rights import platform_names
from buildtool.model.options import Canonical
from buildtool.model.records import BuildState
from buildtool.model.search.terms import place_of, query_groups
from buildtool.ports.pages import BuildsAsked, BuildsFound, Sees, StateCount

PAGE_LIMIT = 1_000
"""The most rows of any list."""

COUNTS_AGE = 5.0
"""Seconds that counts are kept before it is counted again, while things happen."""

COUNTS_AGE_AT_REST = 60.0
"""Seconds that they are kept where nothing has happened since."""

COUNTS_KEPT = 1_000
"""Of how many searches counts are kept."""

Key = tuple[WantedTerms, int]

_LAST_EVENT = Prepared(select(func.max(events.c.seq)))


def bounded(limit: int) -> int:
    """Return how many rows are read where ``limit`` are asked for."""
    return max(0, min(limit, PAGE_LIMIT))


def id_within(number: int) -> int:
    """Return ``number`` within what a column can hold: anybody may type any number into a URL."""
    return max(0, min(number, finding.LAST))


@frozen
class _Plan:
    """A search by the numbers of terms: ``nothing`` says that none can fit."""

    wanted: WantedTerms
    nothing: bool
    low: int


@frozen
class _Counted:
    """The counts of a search at a wall time, in seconds, and the number of the last event by then."""

    at: float
    event: int
    counts: Mapping[BuildState, StateCount]

    def stands(self, now: float, event: int) -> bool:
        """Return whether they may be shown without another count."""
        return 0 <= now - self.at < (COUNTS_AGE_AT_REST if event == self.event else COUNTS_AGE)


class BuildSearch:
    """The search of one database, for several threads.

    What it remembers of terms holds for good; counts are kept for COUNTS_AGE.
    """

    def __init__(self) -> None:
        self._lines = LineReader()
        self._places: dict[int, str] = {}
        self._event = -1
        self._named: tuple[int, tuple[str, ...]] = (-1, ())
        self._counts: OrderedDict[Key, _Counted] = OrderedDict()
        self._counting = Lock()

    def answer(self, asked: BuildsAsked, connection: Connection) -> BuildsFound:
        """Return what was asked for. Raises UsageError."""
        ask = asking(connection)
        event: int = ask(_LAST_EVENT, {})[0][0] or 0
        if event != self._event:  # what is built for the first time is told of by events
            self._places = {**self._places, **dict(finding.places(ask, max(self._places, default=-1)))}
            self._event = event
        plan = self._plan(ask, asked)
        limit = bounded(asked.limit)
        found = Found(()) if plan.nothing or not limit else _found(ask, asked, plan, limit + 1)
        lines = self._lines.read(ask, found.numbers[:limit])
        return BuildsFound(
            tuple(lines),
            len(found.numbers) > limit,
            found.stopped,
            self._counted(ask, asked, plan, event) if asked.counted else {},
            self._platforms(asked.sees) if asked.counted else (),
        )

    def _plan(self, ask: Ask, asked: BuildsAsked) -> _Plan:
        groups = [finding.numbered(ask, group) for group in query_groups(asked.query, asked.mine)]
        also: list[Group] = []
        if asked.sees is not None:
            seen = tuple(number for number, what in self._places.items() if asked.sees(*place_of(what)))
            if len(seen) < len(self._places):
                (groups if len(seen) <= finding.DRIVERS_MOST else also).append(seen)
        since = asked.query.since_at(asked.now)
        low = 0 if since is None else finding.first_since(ask, since)
        return _Plan(WantedTerms((*groups,) or ((ANY_TERM,),), (*also,)), not all(groups), low)

    def _counted(self, ask: Ask, asked: BuildsAsked, plan: _Plan, event: int) -> Mapping[BuildState, StateCount]:
        if plan.nothing:
            return dict.fromkeys(BuildState, StateCount(0, exact=True))
        if asked.query.number:
            return _counted_one_by_one(ask, asked, plan)
        key = (plan.wanted, plan.low)
        kept = self._counts.get(key)
        if kept is not None and kept.stands(asked.now, event):
            return kept.counts
        span = Span(plan.low, finding.newest(ask))
        counts = {
            state: StateCount(*finding.count(ask, plan.wanted, code, span)) for state, code in STATE_CODES.items()
        }
        with self._counting:
            return keep_newest(self._counts, key, _Counted(asked.now, event, counts), COUNTS_KEPT).counts

    def _platforms(self, sees: Sees | None) -> tuple[str, ...]:
        if sees is None and self._named[0] == len(self._places):
            return self._named[1]  # as they are at nearly every visit
        places = map(place_of, self._places.values())
        seen = {_full_name(platform) for project, platform in places if sees is None or sees(project, platform)}
        named = tuple(sorted(seen - {""}))
        if sees is None:
            self._named = len(self._places), named
        return named


def _full_name(platform: Canonical) -> str:
    return max(platform_names(platform), key=len, default="")


def _found(ask: Ask, asked: BuildsAsked, plan: _Plan, most: int) -> Found:
    newest_first = asked.after is None or asked.before is not None
    high = finding.newest(ask) if asked.before is None else min(id_within(asked.before) - 1, finding.newest(ask))
    low = max(plan.low, 0 if asked.after is None else id_within(asked.after) + 1)
    if low > high:
        return Found(())
    span = Span(low, high, newest_first)
    query = asked.query
    states = _codes(query.state)
    if query.number:
        found = finding.among_these(ask, query.number, plan.wanted, states, span)
        return Found(found.numbers[:most])
    if plan.wanted == WantedTerms() and not query.state:
        return finding.all_builds(ask, span, most)
    return finding.search(ask, plan.wanted, states, span, most)


def _codes(states: Sequence[BuildState]) -> tuple[int, ...]:
    return tuple(STATE_CODES[state] for state in states or BuildState)


def _counted_one_by_one(ask: Ask, asked: BuildsAsked, plan: _Plan) -> dict[BuildState, StateCount]:
    span = Span(plan.low)
    return {
        state: StateCount(
            len(finding.among_these(ask, asked.query.number, plan.wanted, (code,), span).numbers), exact=True
        )
        for state, code in STATE_CODES.items()
    }
