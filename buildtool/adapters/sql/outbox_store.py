"""The outbox, as the mailer reads and marks it: each call is one transaction. Times are wall time in seconds.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    Update,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import HELD, UNSENT, artifacts, attempts, builds, outbox, requests, servers
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.errors import NotFound
from buildtool.model.records import Attempt, AttemptEnd, Build, Mail, Request
from buildtool.model.servers import Server
from buildtool.ports.metaserver import OutgoingMail
from buildtool.ports.pages import RunningBuild

V = TypeVar("V")

LOST_MOST = 20
"""How many Builds a mail about a missing build server names."""

_DUE = (
    select(outbox)
    .where(UNSENT, outbox.c.next_try <= bindparam("now"))
    .order_by(outbox.c.next_try)
    .limit(bindparam("most"))
)
_MEMBERS = (
    select(outbox)
    .where(HELD, outbox.c.digest.in_(bindparam("digests", expanding=True)))
    .order_by(outbox.c.created_at, outbox.c.key)
)
_NEXT = select(func.min(outbox.c.next_try)).where(UNSENT)
_BUILDS, _REQUESTS, _ARTIFACTS = (
    select(table).where(table.c.id.in_(bindparam("keys", expanding=True))) for table in (builds, requests, artifacts)
)
_ATTEMPTS = (
    select(attempts)
    .where(attempts.c.build_id.in_(bindparam("keys", expanding=True)))
    .order_by(attempts.c.build_id, attempts.c.epoch)
)
_SERVERS = select(servers).where(servers.c.name.in_(bindparam("keys", expanding=True)))

_DIGEST = "digest:"
"""What the name of a digest begins with; the key of its first member follows."""

DIGEST_MOST = 200
"""How many mails one digest tells of at most; what more there is makes another one."""

LOOKED_AT = 20_000
"""Among how many of the newest Builds are those looked for that a missing build server had."""

_NEWEST_BUILD = select(func.coalesce(func.max(builds.c.id), 0)).scalar_subquery()
_LOST_WITH = (
    select(attempts)
    .where(
        attempts.c.build_id > _NEWEST_BUILD - LOOKED_AT,
        attempts.c.server == bindparam("name"),
        attempts.c.session == bindparam("session"),
        attempts.c.end == AttemptEnd.LOST.value,
    )
    .order_by(attempts.c.build_id)
    .limit(LOST_MOST)
)


class SqlOutboxStore:
    """The OutboxStore on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, now: float, limit: int) -> Sequence[OutgoingMail]:
        return await self._database.run(partial(_due, now, limit))

    async def hold(self, keys: Sequence[str], now: float, until: float) -> None:
        """Hold mails back, each to be told in a digest for its address: one that is not due, or a new one ``until``.

        A digest is full at ``DIGEST_MOST``. Of one that is held back again all members are.
        """
        await self._database.run(partial(_hold, tuple(keys), now, until))

    async def next_due(self) -> float | None:
        found: float | None = await self._database.run(lambda connection: connection.execute(_NEXT).scalar())
        return found

    async def sent(self, key: str, now: float) -> None:
        await self._database.run(partial(_mark, _tried(sent_at=now, last_error=""), key))

    async def deferred(self, key: str, next_try: float, reason: str) -> None:
        await self._database.run(partial(_mark, _tried(next_try=next_try, last_error=reason), key))

    async def refused(self, key: str, now: float, reason: str) -> None:
        await self._database.run(partial(_refuse, key, now, reason))

    async def withheld(self, keys: Sequence[str], now: float, reason: str) -> None:
        await self._database.run(partial(_withhold, tuple(keys), now, reason))

    async def shift(self, seconds: float, now: float, latest: float) -> None:
        await self._database.run(partial(_shift, seconds, now, latest))


def _shift(seconds: float, now: float, latest: float, connection: Connection) -> None:
    then = outbox.c.next_try + seconds
    untried, held = outbox.c.tries == 0, outbox.c.digest != ""
    then = case(
        (and_(untried, ~held), now),
        (and_(untried, held, outbox.c.about != ""), outbox.c.next_try),  # a time of day, whatever the clock said before
        (then > latest, latest),
        else_=then,
    )
    connection.execute(update(outbox).where(UNSENT).values(next_try=then))


def _meant(key: str | ColumnElement[str]) -> ColumnElement[bool]:
    """Return what is true of the mail ``key``, or of the members of the digest ``key``: each half has an index."""
    return or_(outbox.c.key == key, and_(outbox.c.digest == key, HELD))


def _tried(**changed: object) -> Update:
    """Return what notes the outcome of a mail, or of all members of a digest that were not sent before."""
    return update(outbox).where(_meant(bindparam("mail", type_=Text))).values(tries=outbox.c.tries + 1, **changed)


def _mark(statement: Update, key: str, connection: Connection) -> None:
    """Mark a mail, or the members of a digest; one that was marked before, when nobody heard of it, stays as it is."""
    if connection.execute(statement, {"mail": key}).rowcount:
        return
    first = key.removeprefix(_DIGEST)
    if first == key or connection.execute(select(outbox.c.key).where(outbox.c.key == first)).first() is None:
        raise NotFound(f"no mail {key} is in the outbox")


def _refuse(key: str, now: float, reason: str, connection: Connection) -> None:
    told = [rows.mail_of(row) for row in connection.execute(select(outbox).where(_meant(key)))]
    _mark(_tried(refused_at=now, last_error=reason), key, connection)
    for chunk in chunks(dict.fromkeys(id_ for mail in told for id_ in mail.request_ids)):
        connection.execute(update(requests).where(requests.c.id.in_(chunk)).values(mail_error=reason))


def _withhold(keys: Sequence[str], now: float, reason: str, connection: Connection) -> None:
    for chunk in chunks(keys):
        which = and_(outbox.c.key.in_(chunk), UNSENT)
        told = [rows.mail_of(row) for row in connection.execute(select(outbox).where(which))]
        connection.execute(update(outbox).where(which).values(sent_at=now, last_error=reason))
        for ids in chunks(dict.fromkeys(id_ for mail in told for id_ in mail.request_ids)):
            connection.execute(update(requests).where(requests.c.id.in_(ids)).values(mail_error=reason))


def _hold(keys: Sequence[str], now: float, until: float, connection: Connection) -> None:
    for chunk in chunks(keys):
        connection.execute(update(outbox).where(outbox.c.digest.in_(chunk), UNSENT).values(next_try=until))
        found = select(outbox).where(outbox.c.key.in_(chunk), UNSENT).order_by(outbox.c.created_at, outbox.c.key)
        for row in connection.execute(found).all():
            digest, due = _open_digest(row.email, now, connection) or (f"{_DIGEST}{row.key}", until)
            held = update(outbox).where(outbox.c.key == row.key)
            connection.execute(held.values(digest=digest, next_try=due))


def _open_digest(email: str, now: float, connection: Connection) -> tuple[str, float] | None:
    """Return the digest for an address that has room and cannot be on its way, since it is not due; and when it is."""
    found = connection.execute(
        select(outbox.c.digest, func.min(outbox.c.next_try), func.count(), func.max(outbox.c.tries))
        .where(HELD, outbox.c.email == email)
        .group_by(outbox.c.digest)
    )
    for digest, due, count, tries in found:
        if count < DIGEST_MOST and not tries and due > now:
            return digest, due
    return None


def _due(now: float, limit: int, connection: Connection) -> list[OutgoingMail]:
    """Return the mails that are due; those of a digest that begins among them are all there, and become one."""
    due = connection.execute(_DUE, {"now": now, "most": limit}).all()
    digests = tuple(dict.fromkeys(row.digest for row in due if row.digest))
    members = connection.execute(_MEMBERS, {"digests": digests}).all() if digests else ()
    alone = _composed([row for row in due if not row.digest], connection)
    return [
        *alone,
        *(_digest(key, _composed([row for row in members if row.digest == key], connection)) for key in digests),
    ]


def _digest(key: str, members: list[OutgoingMail]) -> OutgoingMail:
    first = members[0].mail
    ids = tuple(dict.fromkeys(id_ for member in members for id_ in member.mail.request_ids))
    about = first.about if all(member.mail.about == first.about for member in members) else ""
    mail = Mail(key, first.email, None, ids, first.outcome, first.created_at, asker=first.asker, about=about)
    return OutgoingMail(mail, None, (), None, (), max(member.tries for member in members), members=tuple(members))


def _composed(of: Sequence[Row[Any]], connection: Connection) -> list[OutgoingMail]:
    def by_id(statement: Select[Any], keys: Iterable[int | None], value_of: Callable[[Row[Any]], V]) -> dict[int, V]:
        wanted = dict.fromkeys(key for key in keys if key is not None)
        return {
            row.id: value_of(row) for chunk in chunks(wanted) for row in connection.execute(statement, {"keys": chunk})
        }

    due = [(rows.mail_of(row), row.tries) for row in of]
    asked = by_id(_REQUESTS, (id_ for mail, _ in due for id_ in mail.request_ids), rows.request_of)
    built = by_id(_BUILDS, (mail.build_id for mail, _ in due), rows.build_of)
    made = {mail.key: _artifact_id(mail, asked, built) for mail, _ in due}
    summed = {mail.key: _artifact_ids(mail, asked) for mail, _ in due}
    found = by_id(_ARTIFACTS, (*made.values(), *(key for keys in summed.values() for key in keys)), rows.artifact_of)
    tried: defaultdict[int | None, list[Attempt]] = defaultdict(list)
    for chunk in chunks(built):
        for row in connection.execute(_ATTEMPTS, {"keys": chunk}):
            tried[row.build_id].append(rows.attempt_of(row))
    missing = {
        row.name: rows.server_of(row)
        for chunk in chunks(dict.fromkeys(mail.server for mail, _ in due if mail.server))
        for row in connection.execute(_SERVERS, {"keys": chunk})
    }
    return [
        OutgoingMail(
            mail,
            _get(built, mail.build_id),
            tuple(asked[id_] for id_ in mail.request_ids if id_ in asked),
            _get(found, made[mail.key]),
            tuple(tried[mail.build_id]),
            tries,
            tuple(found[key] for key in summed[mail.key] if key in found),
            missing.get(mail.server),
            _lost_with(missing.get(mail.server), connection),
        )
        for mail, tries in due
    ]


def _lost_with(server: Server | None, connection: Connection) -> tuple[RunningBuild, ...]:
    """What a build server had in its newest Session that was given up since it is missing."""
    if server is None:
        return ()
    wanted = {"name": server.name, "session": server.session}
    tried = [rows.attempt_of(row) for row in connection.execute(_LOST_WITH, wanted)]
    known = connection.execute(_BUILDS, {"keys": [attempt.build_id for attempt in tried]}) if tried else ()
    of_id = {row.id: rows.build_of(row) for row in known}
    return tuple(RunningBuild(attempt, of_id[attempt.build_id]) for attempt in tried)


def _get(found: dict[int, V], key: int | None) -> V | None:
    return found.get(key) if key is not None else None


def _artifact_ids(mail: Mail, asked: dict[int, Request]) -> tuple[int, ...]:
    """The artifacts of a summary's Requests, each once."""
    members = (asked[id_].artifact_id for id_ in mail.request_ids if mail.summary and id_ in asked)
    return tuple(dict.fromkeys(key for key in members if key is not None))


def _artifact_id(mail: Mail, asked: dict[int, Request], built: dict[int, Build]) -> int | None:
    """What a Request was satisfied with, which need not be what its Build made."""
    for id_ in mail.request_ids:
        request = asked.get(id_)
        if request is not None and request.artifact_id is not None:
            return request.artifact_id
    build = _get(built, mail.build_id)
    return build.artifact_id if build is not None else None
