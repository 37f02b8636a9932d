"""What the broker writes and reads, on SQL: each call is one transaction. Times are wall time in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Executable,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    true,
    update,
)
from sqlalchemy import (
    Row as SqlRow,
)

from buildtool.adapters.sql import hours, rows, schema
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.notices.posting import mails_to_write, post_notices
from buildtool.adapters.sql.prepared import Prepared, insertion
from buildtool.adapters.sql.request_history import answered, requests_of
from buildtool.adapters.sql.search import line_table
from buildtool.adapters.sql.search.indexing import BuildIndex
from buildtool.adapters.sql.shelf_queries import NEWEST_ID, chunks, shelves_of, similar
from buildtool.adapters.sql.work import sums
from buildtool.concurrency.rates import RateBudget, RateLimiter
from buildtool.model.access.confirmation import MailAddress
from buildtool.model.access.identities import Account, Identity, Invitation
from buildtool.model.access.tokens import Token
from buildtool.model.matching.shelves import Shelf
from buildtool.model.notices.notice import Notice
from buildtool.model.records import (
    AnsweredRequest,
    Artifact,
    Attempt,
    AuditEvent,
    Beat,
    Build,
    ExpiryShift,
    Mail,
    Refusal,
    RememberedFailure,
    Request,
    Row,
    ShelfKey,
)
from buildtool.model.servers import RATED_KINDS, Server
from buildtool.ports.metaserver import Snapshot

V = TypeVar("V")
DAY = 86_400.0

RECENT = 1_000
"""From how many of the newest artifacts durations are learnt at the start."""

RATED = RATED_KINDS | {"signed-in"}
"""Events of which one build server or visitor causes as many as it likes: they would push all others out."""

OF_SERVER, OF_SERVERS = RateBudget(20, 1 / 60), RateBudget(2_000, 1)
"""How many of each are written down for one build server, and for all of them: at once, and each second after that."""

SUMMED_UP_AFTER = 60.0
"""Seconds after the first event that was left out, it is written down how many there were."""

EVENTS_KEPT = 200_000
"""How many events the table keeps."""

TIDY_EVERY = 1_000
"""After how many new events the old ones, and what else has run out, are removed."""

_KINDS: tuple[tuple[type, Table, Callable[[Any], rows.Cells]], ...] = (
    (Server, schema.servers, rows.server_cells),
    (Build, schema.builds, rows.build_cells),
    (Artifact, schema.artifacts, rows.artifact_cells),
    (Attempt, schema.attempts, rows.attempt_cells),
    (Refusal, schema.refusals, rows.refusal_cells),
    (RememberedFailure, schema.failures, rows.failure_cells),
    (Request, schema.requests, rows.request_cells),
    (Identity, schema.identities, rows.identity_cells),
    (Invitation, schema.invitations, rows.invitation_cells),
    (MailAddress, schema.addresses, rows.address_cells),
    (Token, schema.tokens, rows.token_cells),
)
"""What is written whole by its key, in the order that foreign keys ask for."""


class SqlBrokerStore:
    """The BrokerStore on a Database that is open for writing."""

    def __init__(
        self, database: Database, committed: Callable[[int, Sequence[AuditEvent]], None] | None = None
    ) -> None:
        """``committed`` is called after each commit with its events, and with the number of the last of them.

        After one that failed, and may have taken effect, it is called with the next that does not.
        """
        self._database = database
        self._committed = committed
        self._doubtful = False
        self._event_rates = RateLimiter(OF_SERVER, OF_SERVERS)
        self._index = BuildIndex()

    async def load(self) -> Snapshot:
        """Return everything that is open. What this reads does not grow with history."""
        return await self._database.run(_load)

    async def accounts(self) -> Sequence[Account]:
        def read(connection: Connection) -> list[Account]:
            return [
                *map(rows.identity_of, connection.execute(select(schema.identities))),
                *map(rows.invitation_of, connection.execute(select(schema.invitations))),
            ]

        return await self._database.run(read)

    async def addresses(self) -> Sequence[MailAddress]:
        wanted = select(schema.addresses).order_by(schema.addresses.c.mailed_at)
        return await self._database.run(lambda connection: [rows.address_of(row) for row in connection.execute(wanted)])

    async def tokens(self) -> Sequence[Token]:
        wanted = select(schema.tokens).order_by(schema.tokens.c.made)
        return await self._database.run(lambda connection: [rows.token_of(row) for row in connection.execute(wanted)])

    async def answered(self, client_ids: Iterable[str]) -> Mapping[str, AnsweredRequest]:
        wanted = tuple(dict.fromkeys(client_ids))
        if not wanted:
            return {}
        return await self._database.run(partial(answered, wanted))

    async def known(
        self, keys: Iterable[ShelfKey], client_ids: Iterable[str], now: float
    ) -> tuple[Mapping[ShelfKey, Shelf], Mapping[str, AnsweredRequest]]:
        shelves, clients = tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(client_ids))
        return await self._database.run(
            lambda connection: (
                shelves_of(shelves, now, connection) if shelves else {},
                answered(clients, connection) if clients else {},
            )
        )

    async def commit(self, rows: Sequence[Row | Notice], happened: Sequence[AuditEvent], now: float) -> None:
        """Write all rows and events in one durable transaction; of several rows of one key the last stands.

        A mail whose key is in the outbox already is merged into that row: when it tells of Requests that the row
        does not, the mail goes out again for all of them. Raises StorageUnavailable, and ConflictingRow when the
        schema refuses a row (two open Builds of one BuildKey, a client id that is taken, a Build that does not
        exist); nothing is written then.
        """
        if rows or happened:
            told = self._told(happened, now)
            try:
                newest = await self._database.run(
                    partial(_commit, rows, told, now, index=self._index, doubtful=self._doubtful)
                )
            except BaseException:
                self._index.forget()
                self._doubtful = self._doubtful or bool(told)
                raise
            if newest and self._committed is not None:
                self._committed(newest, told)
            self._doubtful = False

    def _told(self, happened: Sequence[AuditEvent], now: float) -> Sequence[AuditEvent]:
        """Return the events that are written down: of those that a peer can cause without end, so many and no more."""
        rates = self._event_rates
        told = [one for one in happened if one.kind not in RATED or rates.allows(one.kind, one.subject, 1, now)]
        for left in rates.left_out(now - SUMMED_UP_AFTER):
            detail = f"{left.count} more {left.kind} since {now - left.since:.0f} s"
            told.append(AuditEvent("events-left-out", left.source or "servers", detail))
        return told

    async def request(self, request_id: int) -> Request | None:
        return await self._one(_BY_ID[schema.requests], request_id, rows.request_of)

    async def requests_of(self, email: str, most: int) -> Sequence[Request]:
        return await self._database.run(partial(requests_of, email, most))

    async def build(self, build_id: int) -> Build | None:
        return await self._one(_BY_ID[schema.builds], build_id, rows.build_of)

    async def artifact(self, artifact_id: int) -> Artifact | None:
        return await self._one(_BY_ID[schema.artifacts], artifact_id, rows.artifact_of)

    async def similar(self, key: ShelfKey, limit: int) -> Sequence[Artifact]:
        return await self._database.run(partial(similar, key, limit))

    async def artifacts_of(self, digest: str) -> Sequence[Artifact]:
        table = schema.artifacts
        wanted = select(table).where(table.c.digest == digest, table.c.withdrawn == "")
        return await self._database.run(
            lambda connection: [rows.artifact_of(row) for row in connection.execute(wanted)]
        )

    async def attempts(self, build_id: int) -> Sequence[Attempt]:
        return await self._database.run(
            lambda connection: [rows.attempt_of(row) for row in connection.execute(_ATTEMPTS, {"key": build_id})]
        )

    async def _one(self, statement: Select[Any], key: int, value_of: Callable[[SqlRow[Any]], V]) -> V | None:
        row = await self._database.run(lambda connection: connection.execute(statement, {"key": key}).one_or_none())
        return value_of(row) if row is not None else None


_BY_ID = {
    table: select(table).where(table.c.id == bindparam("key"))
    for table in (schema.requests, schema.builds, schema.artifacts)
}
_ATTEMPTS = (
    select(schema.attempts).where(schema.attempts.c.build_id == bindparam("key")).order_by(schema.attempts.c.epoch)
)


# --- reading --------------------------------------------------------------------------------------------


def _load(connection: Connection) -> Snapshot:
    def values(statement: Executable, value_of: Callable[[SqlRow[Any]], V]) -> tuple[V, ...]:
        return tuple(value_of(row) for row in connection.execute(statement))

    def next_id(table: Table) -> int:
        return (connection.execute(select(func.max(table.c.id))).scalar() or 0) + 1

    builds, attempts, refusals = schema.builds, schema.attempts, schema.refusals
    open_builds = select(builds.c.id).where(schema.OPEN_BUILD)
    # Sorted here: asked for this order, SQLite would walk the whole primary key.
    opened = tuple(sorted(values(select(builds).where(schema.OPEN_BUILD), rows.build_of), key=lambda build: build.id))
    spec_of = {build.id: build.spec for build in opened}
    return Snapshot(
        requests=values(
            _OPEN_REQUESTS, lambda row: rows.request_of(row, spec_of.get(row.build_id) if row.same else None)
        ),
        builds=opened,
        attempts=tuple(
            sorted(
                values(select(attempts).where(schema.OPEN_ATTEMPT), rows.attempt_of),
                key=lambda attempt: attempt.key,
            )
        ),
        servers=values(select(schema.servers).order_by(schema.servers.c.name), rows.server_of),
        refusals=values(select(refusals).where(refusals.c.build_id.in_(open_builds)), rows.refusal_of),
        next_request=next_id(schema.requests),
        next_build=next_id(builds),
        next_artifact=next_id(schema.artifacts),
        recent=values(_NEWEST, rows.artifact_of),
        beat=connection.execute(select(schema.tenure.c.beat)).scalar() or 0.0,
    )


_SPEC = tuple(column.name for column in schema.spec_columns())
_OPEN_REQUESTS = (
    select(
        schema.requests,
        and_(*(schema.requests.c[name] == schema.builds.c[name] for name in _SPEC)).label("same"),
    )
    .outerjoin(schema.builds, schema.builds.c.id == schema.requests.c.build_id)
    .where(text(f"requests.{schema.OPEN_REQUEST}"))
    .order_by(schema.requests.c.id)
)
"""The Requests that wait, and whether each asks for exactly what its Build makes, as nearly all do."""

_NEWEST = select(schema.artifacts).where(schema.artifacts.c.id > NEWEST_ID - RECENT).order_by(schema.artifacts.c.id)


# --- writing --------------------------------------------------------------------------------------------


@cache
def _upsert(table: Table, dialect: str, columns: tuple[str, ...]) -> Prepared:
    """Return the statement that writes whole rows by their key, whether they are there or not.

    Columns that a value does not have (what the mailer notes) are left as they are.
    """
    statement = insertion(table, dialect)
    kept = {column.name for column in table.primary_key} | {"mail_error"}
    written = statement.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={column.name: statement.excluded[column.name] for column in table.c if column.name not in kept},
    )
    return Prepared(written, columns)


def _write(connection: Connection, table: Table, written: Sequence[rows.Cells]) -> None:
    _upsert(table, connection.dialect.name, tuple(written[0])).run(connection, *written)


def _commit(
    changed: Sequence[Row | Notice],
    happened: Sequence[AuditEvent],
    now: float,
    connection: Connection,
    *,
    index: BuildIndex,
    doubtful: bool,
) -> int:
    """Write rows and events; return the number of the last event, 0 where none is written and none ``doubtful``."""
    by_kind: defaultdict[type, list[Any]] = defaultdict(list)
    for value in changed:
        by_kind[type(value)].append(value)
    for shift in by_kind[ExpiryShift]:  # first: what is written below is as it is to be
        table, condition = (schema.failures, true()) if shift.failures else (schema.requests, schema.OPEN_REQUEST)
        until = table.c.until if shift.failures else table.c.expires_at
        connection.execute(update(table).where(condition).values({until: until + shift.seconds}))
    by_kind[Server] = _known(by_kind[Server], connection)
    by_kind[Token] = _holding(by_kind[Token], connection)
    for kind, table, cells_of in _KINDS:
        if by_kind.get(kind):
            _write(connection, table, [cells_of(value) for value in by_kind[kind]])
    index.write(connection, *(by_kind.get(kind, ()) for kind in (Build, Attempt, Request)))
    line_table.write(connection, *(by_kind.get(kind, ()) for kind in (Build, Attempt, Artifact, Request)))
    sums.write(connection, by_kind.get(Attempt, ()), now)
    if by_kind.get(MailAddress):
        known = schema.addresses.c
        gone = and_(known.confirmed_at == 0, known.expires <= now, known.mailed_at <= now - DAY)
        connection.execute(delete(schema.addresses).where(gone))
    if Beat in by_kind:
        connection.execute(_BEAT, {"at": by_kind[Beat][-1].at})
    if mails := mails_to_write(by_kind[Mail], connection):
        _write(connection, schema.outbox, mails)
    if Notice in by_kind:
        post_notices(by_kind[Notice], connection)
    if happened:
        _HAPPENED.run(
            connection, *({"at": now, "kind": h.kind, "subject": h.subject, "detail": h.detail} for h in happened)
        )
        hours.add(happened, now, connection)
        return _tidy(connection, len(happened), now)
    return _last_event(connection) if doubtful else 0


_BEAT = update(schema.tenure).values(beat=bindparam("at"))


def _known(servers: Sequence[Server], connection: Connection) -> list[Server]:
    """Delete the rows of servers that are forgotten, and return the others."""
    for chunk in chunks(server.name for server in servers if server.forgotten):
        connection.execute(delete(schema.servers).where(schema.servers.c.name.in_(chunk)))
        sums.forget(connection, chunk)
    return [server for server in servers if not server.forgotten]


def _holding(tokens: Sequence[Token], connection: Connection) -> list[Token]:
    """Delete the rows of tokens that have ended, and return the others."""
    for chunk in chunks(token.digest for token in tokens if token.ended):
        connection.execute(delete(schema.tokens).where(schema.tokens.c.digest.in_(chunk)))
    return [token for token in tokens if not token.ended]


_HAPPENED = Prepared(insert(schema.events), ("at", "kind", "subject", "detail"))
_LAST_EVENT = Prepared(select(func.max(schema.events.c.seq)))


def _last_event(connection: Connection) -> int:
    return _LAST_EVENT.run(connection).scalar_one() or 0


def _tidy(connection: Connection, added: int, now: float) -> int:
    """Now and then remove old events, failures that are no longer remembered, and refusals of ended Builds.

    Return the number of the newest event.
    """
    events, builds, refusals = schema.events, schema.builds, schema.refusals
    newest = _last_event(connection)
    if newest // TIDY_EVERY == (newest - added) // TIDY_EVERY:
        return newest
    connection.execute(delete(events).where(events.c.seq <= newest - EVENTS_KEPT))
    hours.tidy(now, connection)
    connection.execute(delete(schema.failures).where(schema.failures.c.until <= now))
    open_builds = select(builds.c.id).where(schema.OPEN_BUILD)
    connection.execute(delete(refusals).where(refusals.c.build_id.not_in(open_builds)))
    return newest
