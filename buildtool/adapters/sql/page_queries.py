"""What the pages read: a fixed number of statements for each page, however many builds there are."""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from typing import Any

from attrs import frozen
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    TextClause,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    true,
)

from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.prepared import Prepared
from buildtool.adapters.sql.schema import artifacts, attempts, builds, events, hours, outbox, requests, servers
from buildtool.concurrency.bounded_cache import remembering, weight
from buildtool.model.records import AttemptState, BuildState
from buildtool.ports.pages import (
    ATTEMPTS_SHOWN,
    REQUESTS_SHOWN,
    BuildDetail,
    BuildLine,
    EventLine,
    Health,
    HourCount,
    Overview,
    RequestLine,
    RunningBuild,
    ServerLine,
)

TOTALS_AGE = 15.0
"""Seconds that the figures over all history are kept before they are counted again."""

RUNNING_SHOWN = 1_000
"""How much of what runs is read for one page of build servers: the oldest."""

PAGE_LIMIT = 1_000
"""The most rows of any list."""

LINES_KEPT = 4 * 1024 * 1024
"""In how many bytes lines of lists of builds are remembered with the rows that they stand for."""


@frozen
class _Totals:
    """Figures over all history, counted at ``at``."""

    at: float
    builds: dict[BuildState, int]
    artifacts: int
    artifact_bytes: int


class SqlPages:
    """The Pages on any Database, best on one that only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._totals: _Totals | None = None

    async def overview(self, now: float) -> Overview:
        """Return the figures at ``now`` (wall time); those over all history are at most TOTALS_AGE old."""
        known = self._totals
        if known is not None and not 0 <= now - known.at < TOTALS_AGE:
            known = None
        overview, self._totals = await self._database.run(partial(_overview, known, now))
        return overview

    async def build_servers(self, *, skip: int = 0, limit: int = 50, name: str = "") -> Sequence[ServerLine]:
        return await self._database.run(partial(_build_servers, _id(skip), limit, name))

    async def builds(
        self,
        *,
        before: int | None = None,
        limit: int = 50,
        project: str | None = None,
        state: BuildState | None = None,
        among: Collection[str] | None = None,
    ) -> Sequence[BuildLine]:
        if among is not None and not among:
            return ()
        values = {f"{_AMONG}{number}": name for number, name in enumerate(sorted(among or ()))} | {
            name: value
            for name, value in (
                ("before", _id(before) if before is not None else None),
                ("project", project),
                ("state", state.value if state is not None else None),
            )
            if value is not None
        }
        return await self._database.run(partial(_build_lines, values, _bounded(limit)))

    async def build(self, build_id: int) -> BuildDetail | None:
        return await self._database.run(partial(_build_detail, _id(build_id)))

    async def request(self, request_id: int) -> RequestLine | None:
        def read(connection: Connection) -> RequestLine | None:
            row = connection.execute(_REQUEST, {"key": _id(request_id)}).one_or_none()
            return _request_line(row) if row is not None else None

        return await self._database.run(read)

    async def events(self, after: int, limit: int = 200) -> Sequence[EventLine]:
        return await self._database.run(
            lambda connection: [
                EventLine(*row) for row in connection.execute(_EVENTS, {"after": _id(after), "most": _bounded(limit)})
            ]
        )

    async def hours(self, first: int) -> Sequence[HourCount]:
        return await self._database.run(
            lambda connection: [HourCount(*row) for row in connection.execute(_HOURS, {"first": _id(first)})]
        )

    async def health(self) -> Health:
        return await self._database.run(
            lambda connection: Health(
                str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
            )
        )


def _bounded(limit: int) -> int:
    return max(0, min(limit, PAGE_LIMIT))


def _id(number: int) -> int:
    """Return ``number`` within what a column can hold: anybody may type any number into a URL."""
    return max(0, min(number, 2**63 - 1))


# --- the start page -------------------------------------------------------------------------------------

_OPEN_BUILDS = select(builds.c.state, func.count()).where(schema.OPEN_BUILD).group_by(builds.c.state)
_OLDEST_QUEUED = (
    select(builds).where(schema.OPEN_BUILD, builds.c.state == BuildState.QUEUED.value).order_by(builds.c.place).limit(1)
)


def _count(table: Table, condition: ColumnElement[bool] | TextClause) -> Select[int]:
    return select(func.count()).select_from(table).where(condition)


_IN_A_SLOT = attempts.c.state != AttemptState.MISSING.value
"""One that is missing takes no slot: its Build waits for another."""

_NOW = select(
    _count(requests, schema.OPEN_REQUEST).scalar_subquery(),
    _count(attempts, and_(schema.OPEN_ATTEMPT, _IN_A_SLOT)).scalar_subquery(),
    _count(outbox, schema.UNSENT).scalar_subquery(),
    _count(outbox, schema.REFUSED).scalar_subquery(),
    select(func.coalesce(func.max(events.c.seq), 0)).scalar_subquery(),
)


_THERE = servers.c.connected.is_(true())
_ANNOUNCED = cast(servers.c.capability, JSON().with_variant(Text(), "sqlite"))
"""What a build server says of itself, as JSON; SQLite reads it out of the text."""

_SERVERS = select(
    select(func.count()).select_from(servers).scalar_subquery(),
    _count(servers, _THERE).scalar_subquery(),
    select(func.coalesce(func.sum(_ANNOUNCED["max_builds"].as_integer()), 0)).where(_THERE).scalar_subquery(),
)
"""How many build servers are known, how many connected, with how many slots; nothing else of what they say is read."""


def _overview(known: _Totals | None, now: float, connection: Connection) -> tuple[Overview, _Totals]:
    totals = known or _count_all(now, connection)
    opened = {BuildState(state): count for state, count in connection.execute(_OPEN_BUILDS)}
    waiting, running, unsent, refused, last_event = connection.execute(_NOW).one()
    oldest = connection.execute(_OLDEST_QUEUED).one_or_none()
    known_servers, connected, slots = connection.execute(_SERVERS).one()
    overview = Overview(
        builds=totals.builds | {state: opened.get(state, 0) for state in (BuildState.QUEUED, BuildState.RUNNING)},
        requests_waiting=waiting,
        servers_connected=connected,
        servers_known=known_servers,
        slots=slots,
        running=running,
        artifacts=totals.artifacts,
        artifact_bytes=totals.artifact_bytes,
        mails_unsent=unsent,
        mails_refused=refused,
        oldest_queued=rows.build_of(oldest) if oldest is not None else None,
        last_event=last_event,
    )
    return overview, totals


def _count_all(now: float, connection: Connection) -> _Totals:
    """Count all history, off indexes alone."""
    counted = connection.execute(select(builds.c.state, func.count()).group_by(builds.c.state))
    by_state = {BuildState(state): number for state, number in counted}
    count, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(artifacts.c.size), 0)).where(schema.GIVEN_OUT)
    ).one()
    return _Totals(now, {state: by_state.get(state, 0) for state in BuildState}, count, int(size))


# --- build servers --------------------------------------------------------------------------------------


def _columns_but(table: Table, name: str) -> list[Any]:
    """The columns of a table, one of them as an empty text that is not read."""
    return [literal("").label(name) if column.name == name else column for column in table.c]


_short_attempts = _columns_but(attempts, "log_tail")
_SHORT_ATTEMPTS = select(*_short_attempts)
_RUNNING = _SHORT_ATTEMPTS.where(schema.OPEN_ATTEMPT, _IN_A_SLOT).order_by(attempts.c.offered_at, attempts.c.build_id)
_BUILDS = select(builds).where(builds.c.id.in_(bindparam("keys", expanding=True)))


def _build_servers(skip: int, limit: int, name: str, connection: Connection) -> list[ServerLine]:
    chosen = select(servers).where(servers.c.name == name) if name else select(servers)
    in_order = chosen.order_by(servers.c.connected.desc(), servers.c.name).offset(skip).limit(limit)
    shown = [rows.server_of(row) for row in connection.execute(in_order)]
    going_on = _RUNNING.where(attempts.c.server.in_([server.name for server in shown])).limit(RUNNING_SHOWN)
    found = [rows.attempt_of(row) for row in connection.execute(going_on)]
    keys = [attempt.build_id for attempt in found]
    of_id = {row.id: rows.build_of(row) for row in connection.execute(_BUILDS, {"keys": keys})}
    on: defaultdict[str, list[RunningBuild]] = defaultdict(list)
    for attempt in found:
        on[attempt.server].append(RunningBuild(attempt, of_id[attempt.build_id]))
    return [ServerLine(server, tuple(on[server.name])) for server in shown]


# --- builds ---------------------------------------------------------------------------------------------


_MADE_BY = and_(
    attempts.c.build_id == builds.c.id,
    attempts.c.epoch == func.coalesce(builds.c.deciding_epoch, builds.c.epoch),
)
_LINE = select(
    *builds.c,
    *_short_attempts,
    *artifacts.c,
    _count(requests, requests.c.build_id == builds.c.id).scalar_subquery(),
).select_from(builds.outerjoin(attempts, _MADE_BY).outerjoin(artifacts, artifacts.c.id == builds.c.artifact_id))


_AMONG = "among_"
"""What the names of parameters begin with that are projects."""


@cache
def _newest(names: frozenset[str]) -> Prepared:
    conditions = {
        "before": builds.c.id < bindparam("before"),
        "project": builds.c.project == bindparam("project"),
        "state": builds.c.state == bindparam("state"),
    }
    chosen = [condition for name, condition in conditions.items() if name in names]
    among: list[ColumnElement[str]] = [bindparam(name) for name in names if name.startswith(_AMONG)]
    chosen += [builds.c.project.in_(among)] if among else []
    return Prepared(_LINE.where(true(), *chosen).order_by(builds.c.id.desc()).limit(bindparam("most")))


def _build_lines(values: dict[str, int | str], limit: int, connection: Connection) -> list[BuildLine]:
    return [_line_of(row) for row in _newest(frozenset(values)).tuples(connection, values | {"most": limit})]


def _cells_of(table: Table) -> Callable[[tuple[Any, ...]], Any]:
    """Return what makes a row of the table's cells, whose columns are attributes."""
    record: Any = namedtuple(table.name, table.c.keys())  # type: ignore[misc]  # noqa: PYI024
    make: Callable[[tuple[Any, ...]], Any] = record._make
    return make


_build_cells, _attempt_cells, _artifact_cells = (_cells_of(table) for table in (builds, attempts, artifacts))
_ATTEMPT_AT = len(builds.c)
_ARTIFACT_AT = _ATTEMPT_AT + len(attempts.c)


@remembering(LINES_KEPT, lambda _line, row: 2 * weight(row))
def _line_of(row: tuple[Any, ...]) -> BuildLine:
    """Return the line that a row is; from one visit to the next, most rows are the same and so are their lines."""
    made, artifact = row[_ATTEMPT_AT:_ARTIFACT_AT], row[_ARTIFACT_AT:-1]
    return BuildLine(
        rows.build_of(_build_cells(row[:_ATTEMPT_AT])),
        rows.attempt_of(_attempt_cells(made)) if made[0] is not None else None,
        rows.artifact_of(_artifact_cells(artifact)) if artifact[0] is not None else None,
        row[-1],
    )


_ARTIFACT = select(artifacts).where(artifacts.c.id == bindparam("key"))
_BUILD = select(builds).where(builds.c.id == bindparam("key"))
_NEWEST_ATTEMPTS = (
    select(attempts)
    .where(attempts.c.build_id == bindparam("key"))
    .order_by(attempts.c.epoch.desc())
    .limit(ATTEMPTS_SHOWN)
)
_REQUEST = select(requests).where(requests.c.id == bindparam("key"))
_FIRST_REQUESTS = (
    select(requests).where(requests.c.build_id == bindparam("key")).order_by(requests.c.id).limit(REQUESTS_SHOWN)
)
_HOW_MANY = _count(requests, requests.c.build_id == bindparam("key"))


def _build_detail(build_id: int, connection: Connection) -> BuildDetail | None:
    key = {"key": build_id}
    row = connection.execute(_BUILD, key).one_or_none()
    if row is None:
        return None
    build = rows.build_of(row)
    newest = connection.execute(_NEWEST_ATTEMPTS, key).all()
    made = connection.execute(_ARTIFACT, {"key": build.artifact_id}).one_or_none()
    return BuildDetail(
        build=build,
        attempts=tuple(rows.attempt_of(row) for row in reversed(newest)),
        requests=tuple(_request_line(row) for row in connection.execute(_FIRST_REQUESTS, key)),
        request_count=connection.execute(_HOW_MANY, key).scalar_one(),
        artifact=rows.artifact_of(made) if made is not None else None,
    )


def _request_line(row: Row[Any]) -> RequestLine:
    return RequestLine(rows.request_of(row), row.mail_error)


_HOURS = select(hours).where(hours.c.hour >= bindparam("first")).order_by(hours.c.hour, hours.c.kind)
_EVENTS = (
    select(events.c.seq, events.c.at, events.c.kind, events.c.subject, events.c.detail)
    .where(events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)
