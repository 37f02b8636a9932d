"""What the pages read: a fixed number of statements for each page, however many builds there are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
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
from buildtool.adapters.sql.keeping.store import artifact_gone, tombstone_of
from buildtool.adapters.sql.schema import artifacts, attempts, builds, events, hours, outbox, requests, servers
from buildtool.adapters.sql.search.commit_store import note_in
from buildtool.adapters.sql.search.indexing import ANY_TERM, STATE_CODES
from buildtool.adapters.sql.search.pages import BuildSearch, bounded, id_within
from buildtool.adapters.sql.search.tables import build_terms
from buildtool.adapters.sql.work import sums
from buildtool.model.keeping.gone import GoneKind
from buildtool.model.records import Artifact, AttemptState, BuildState
from buildtool.model.search.build_query import BuildQuery
from buildtool.model.search.commits import RevisionKey
from buildtool.ports.pages import (
    ATTEMPTS_SHOWN,
    REQUESTS_SHOWN,
    BuildDetail,
    BuildsAsked,
    BuildsFound,
    EventLine,
    Health,
    HourCount,
    Overview,
    RequestLine,
    RunningBuild,
    ServerLine,
)
from buildtool.ports.work import WorkFound

TOTALS_AGE = 15.0
"""Seconds that the figures over all history are kept before they are counted again."""

RUNNING_SHOWN = 1_000
"""How much of what runs is read for one page of build servers: the oldest."""


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
        self._search = BuildSearch()

    async def overview(self, now: float) -> Overview:
        """Return the figures at ``now`` (wall time); those over all history are at most TOTALS_AGE old."""
        known = self._totals
        if known is not None and not 0 <= now - known.at < TOTALS_AGE:
            known = None
        overview, self._totals = await self._database.run(partial(_overview, known, now))
        return overview

    async def build_servers(self, *, skip: int = 0, limit: int = 50, name: str = "") -> Sequence[ServerLine]:
        return await self._database.run(partial(_build_servers, id_within(skip), limit, name))

    async def prepare(self) -> None:
        """Find builds and count them, so that no visitor waits for statements that are made at their first use."""
        await self.builds(BuildsAsked(BuildQuery(state=(BuildState.SUCCEEDED,)), counted=True))

    async def builds(self, asked: BuildsAsked) -> BuildsFound:
        return await self._database.run(partial(self._search.answer, asked))

    async def build(self, build_id: int) -> BuildDetail | None:
        return await self._database.run(partial(_build_detail, id_within(build_id)))

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        return await self._database.run(
            lambda connection: [rows.artifact_of(row) for row in connection.execute(_ARTIFACTS, {"digest": digest})]
        )

    async def artifact_gone(self, digest: str) -> str:
        return await self._database.run(partial(artifact_gone, digest))

    async def request(self, request_id: int) -> RequestLine | None:
        def read(connection: Connection) -> RequestLine | None:
            row = connection.execute(_REQUEST, {"key": id_within(request_id)}).one_or_none()
            return _request_line(row) if row is not None else None

        return await self._database.run(read)

    async def events(self, after: int, limit: int = 200) -> Sequence[EventLine]:
        return await self._database.run(
            lambda connection: [
                EventLine(*row)
                for row in connection.execute(_EVENTS, {"after": id_within(after), "most": bounded(limit)})
            ]
        )

    async def hours(self, first: int) -> Sequence[HourCount]:
        return await self._database.run(
            lambda connection: [HourCount(*row) for row in connection.execute(_HOURS, {"first": id_within(first)})]
        )

    async def work(self, servers: Sequence[str], since: str = "", *, each: bool = False) -> WorkFound:
        return await self._database.run(partial(sums.read, servers, since, each=each))

    async def owned(self, owners: Collection[str], *, limit: int = 200) -> Sequence[ServerLine]:
        return await self._database.run(partial(_owned, list(owners), limit))

    async def health(self) -> Health:
        return await self._database.run(
            lambda connection: Health(
                str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())
            )
        )


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


_STATES = {code: state for state, code in STATE_CODES.items()}
_IN_STATES = (
    select(build_terms.c.state, func.count())
    .where(build_terms.c.state.in_(list(_STATES)), build_terms.c.term == ANY_TERM)
    .group_by(build_terms.c.state)
)


def _count_all(now: float, connection: Connection) -> _Totals:
    """Count all history, off indexes alone."""
    by_state = {_STATES[code]: number for code, number in connection.execute(_IN_STATES)}
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
    return _lines(chosen.order_by(servers.c.connected.desc(), servers.c.name).offset(skip).limit(limit), connection)


def _owned(owners: list[str], limit: int, connection: Connection) -> list[ServerLine]:
    theirs = and_(servers.c.owner != "", func.lower(servers.c.owner).in_(owners))
    return _lines(select(servers).where(theirs).order_by(servers.c.name).limit(limit), connection)


def _lines(in_order: Select[Any], connection: Connection) -> list[ServerLine]:
    shown = [rows.server_of(row) for row in connection.execute(in_order)]
    going_on = _RUNNING.where(attempts.c.server.in_([server.name for server in shown])).limit(RUNNING_SHOWN)
    found = [rows.attempt_of(row) for row in connection.execute(going_on)]
    keys = [attempt.build_id for attempt in found]
    of_id = {row.id: rows.build_of(row) for row in connection.execute(_BUILDS, {"keys": keys})}
    on: defaultdict[str, list[RunningBuild]] = defaultdict(list)
    for attempt in found:
        on[attempt.server].append(RunningBuild(attempt, of_id[attempt.build_id]))
    return [ServerLine(server, tuple(on[server.name])) for server in shown]


# --- one build ------------------------------------------------------------------------------------------


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
    gone = tombstone_of(GoneKind.LOG, build_id, connection)
    return BuildDetail(
        build=build,
        attempts=tuple(rows.attempt_of(row) for row in reversed(newest)),
        requests=tuple(_request_line(row) for row in connection.execute(_FIRST_REQUESTS, key)),
        request_count=connection.execute(_HOW_MANY, key).scalar_one(),
        artifact=rows.artifact_of(made) if made is not None else None,
        commit=note_in(connection, RevisionKey(build.spec.project, build.spec.source, build.spec.revision)),
        log_gone="" if gone is None else gone.words,
    )


def _request_line(row: Row[Any]) -> RequestLine:
    return RequestLine(rows.request_of(row), row.mail_error)


_ARTIFACTS = select(artifacts).where(artifacts.c.digest == bindparam("digest"), artifacts.c.withdrawn == "")
_HOURS = select(hours).where(hours.c.hour >= bindparam("first")).order_by(hours.c.hour, hours.c.kind)
_EVENTS = (
    select(events.c.seq, events.c.at, events.c.kind, events.c.subject, events.c.detail)
    .where(events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)
