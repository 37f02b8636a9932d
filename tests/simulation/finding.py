"""What visitors of the pages find once all is at rest: held to what was committed, as a look at every row tells it.

Tested by tests/simulation/test_simulation.py.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.search import line_table
from buildtool.model.metrics.counts import Counts
from buildtool.model.metrics.table import ENDED
from buildtool.model.records import AuditEvent, Build, BuildState, Request
from buildtool.model.search.build_query import BuildQuery
from buildtool.model.search.terms import Term
from buildtool.ports.pages import BuildsAsked, BuildsFound
from tests.support.inline import run
from tests.web.fake_pages import FakePages

if TYPE_CHECKING:
    from tests.simulation.database import Rows
    from tests.simulation.invariants import Watch

HOUR = 3_600
CHARTED = ("request-", "build-")
"""What the kinds of events begin with of which charts are drawn."""

ASKED = 8
"""How many searches are tried of a world."""


class _Reading(Database):
    """The database, for whoever only reads it."""

    def __init__(self, rows: Rows) -> None:
        super().__init__("what is committed", rows.engine, Inline())
        self._rows = rows

    def _connection(self) -> Connection:
        return self._rows.connection

    def _drop(self, connection: Connection) -> None:
        """The rows are in memory: this connection is all there is."""


class _Committed(FakePages):
    """All that was committed; what a build is found by is looked up once."""

    def __init__(self, watch: Watch, seen: PastSeen) -> None:
        super().__init__(list(watch.builds.values()), list(watch.attempts.values()), [], list(watch.requests.values()))
        of_build = {it.id: FakePages(requests=list(seen.asked[it.id].values())) for it in self.builds_made}
        for attempt in self.attempts:
            of_build[attempt.build_id].attempts.append(attempt)
        self._terms = {build.id: of_build[build.id].terms(build) for build in self.builds_made}

    def terms(self, build: Build) -> set[Term]:
        return self._terms[build.id]


@define(eq=False)
class PastSeen:
    """What a witness remembers: how often what happened in each hour, with the seconds that it told of; who asked.

    A build is found by whoever asked for it, also once the Request has gone on to another one. ``ended`` counts the
    ends of builds that each life of the metaserver was told to have committed, by life and state.
    """

    sums: dict[tuple[int, str], tuple[int, float]] = field(factory=dict)
    asked: defaultdict[int, dict[int, Request]] = field(factory=lambda: defaultdict(dict))

    ended: Counter[tuple[int, str]] = field(factory=Counter)
    _over: set[int] = field(factory=set)

    def ends(self, rows: Sequence[object], life: int, *, told: bool) -> None:
        """Take the builds that end by one transaction, of which a life of the metaserver is ``told`` or not."""
        for row in rows:
            if isinstance(row, Build) and row.ended_at is not None and row.id not in self._over:
                self._over.add(row.id)
                self.ended[life, row.state.value] += told

    def committed(self, rows: Sequence[object], happened: Sequence[AuditEvent], now: float) -> None:
        """Take what one transaction wrote at wall time ``now``, in seconds."""
        for row in rows:
            if isinstance(row, Request) and row.build_id is not None:
                self.asked[row.build_id][row.id] = row
        for one in happened:
            if one.kind.startswith(CHARTED):
                times, seconds = self.sums.get((int(now // HOUR), one.kind), (0, 0.0))
                self.sums[int(now // HOUR), one.kind] = times + 1, seconds + one.seconds


def wrong_counts(seen: PastSeen, life: int, counted: Counts) -> list[str]:
    """Return the outcomes of which monitoring is told that more or fewer builds had them in a life than had."""
    told = Counter[str]()
    for sample in counted.samples():
        if sample.name == ENDED.name:
            told[sample.labels[1]] += int(sample.numbers[0])
    ours = Counter({state: count for (of, state), count in seen.ended.items() if of == life})
    return [
        f"{told[it]} builds are counted as {it}, of {ours[it]}" for it in sorted({*told, *ours}) if told[it] != ours[it]
    ]


def wrong_hours(seen: PastSeen, rows: Rows) -> list[str]:
    """Return what charts tell that did not happen, or not so often."""
    told = {(hour, kind): (times, round(seconds, 3)) for hour, kind, times, seconds in rows.ask(
        "SELECT hour, kind, times, seconds FROM hours"
    )}  # fmt: skip
    ours = {place: (times, round(seconds, 3)) for place, (times, seconds) in seen.sums.items()}
    differ = sorted(place for place in told.keys() | ours.keys() if told.get(place) != ours.get(place))
    return [f"charts tell of {told.get(it)} {it[1]} in hour {it[0]}, which were {ours.get(it)}" for it in differ[:3]]


def wrong_searches(seed: int, watch: Watch, seen: PastSeen, rows: Rows) -> list[str]:
    """Return the searches that find other builds than a look at all of them, with other counts, or in another order.

    Lines of ended builds that tell something else than other tables are named, too.
    """
    rng, reading = random.Random(f"{seed} finding"), _Reading(rows)
    database, past, wrong = SqlPages(reading), _Committed(watch, seen), list[str]()
    wrong += [f"lists tell something wrong of build {it}" for it in run(reading.run(line_table.wrong_lines))[:3]]
    for _ in range(ASKED):
        asked = _asked(rng, watch)
        found, expected = (_plain(run(pages.builds(asked))) for pages in (database, past))
        if found != expected:
            wrong.append(f"the search {asked.query} finds {found}, which is {expected}")
    return wrong


def _plain(found: BuildsFound) -> tuple[object, ...]:
    """Return which builds are found, whether there are more, and how many there are in each state."""
    return [line.id for line in found.lines], found.more, found.counts, found.platforms


def _asked(rng: random.Random, watch: Watch) -> BuildsAsked:
    """Return a search for something that is there, or nearly."""
    build = rng.choice(list(watch.builds.values())) if watch.builds else None
    ways: dict[str, Any] = {
        "state": tuple(rng.sample(list(BuildState), rng.randint(1, 2))),
        "server": (rng.choice([*watch.servers, "nobody"]),),
        "rev": (build.spec.revision[: rng.randint(4, 40)],) if build is not None else (),
        "platform": (str(dict(build.spec.platform)["arch"]),) if build is not None else (),
        "project": (rng.choice(("paint", "none")),),
        "by": ("me",),
    }
    query = evolve(BuildQuery(), **{name: ways[name] for name in rng.sample(list(ways), rng.randint(0, 2))})
    ends: dict[str, Any] = (
        {} if rng.random() < 0.5 else {rng.choice(("before", "after")): rng.randint(0, len(watch.builds) + 1)}
    )
    emails = sorted({row.email for row in watch.requests.values()})
    mine = tuple(rng.sample(emails, min(len(emails), 1)))
    return BuildsAsked(query, mine=mine, counted=True, limit=rng.choice((3, 50)), **ends)
