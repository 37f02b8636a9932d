"""The outbox of notices, as couriers read and mark it: each call is one transaction. Times are wall time in seconds.

Tested by tests/ports/test_notice_store.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, or_, select, update

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.notices.tables import UNTOLD, notices
from buildtool.model.notices.notice import Notice, NoticeState
from buildtool.ports.notices import OutgoingNotice, TargetFigures

_N = notices.c


class SqlNoticeStore:
    """The ``ports.NoticeStore`` on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, target: str, now: float, latest: float, limit: int) -> Sequence[OutgoingNotice]:
        when = or_(_N.next_try <= now, _N.next_try > latest)
        wanted = select(notices).where(_N.target == target, UNTOLD, when).order_by(_N.at, _N.key).limit(limit)
        return await self._database.run(lambda connection: [_outgoing(row) for row in connection.execute(wanted)])

    async def next_due(self, target: str) -> float | None:
        wanted = select(func.min(_N.next_try)).where(_N.target == target, UNTOLD)
        found: float | None = await self._database.run(lambda connection: connection.execute(wanted).scalar())
        return found

    async def told(self, outgoing: OutgoingNotice, now: float) -> None:
        await self._database.run(partial(_told, outgoing, now))

    async def deferred(self, outgoing: OutgoingNotice, next_try: float, reason: str) -> None:
        await self._database.run(partial(_mark, outgoing, {"next_try": next_try, "last_error": reason}))

    async def given_up(self, outgoing: OutgoingNotice, now: float, reason: str) -> None:
        await self._database.run(partial(_mark, outgoing, {"refused_at": now, "last_error": reason}))

    async def figures(self) -> Mapping[str, TargetFigures]:
        return await self._database.run(_figures)

    async def tidy(self, before: float, limit: int) -> int:
        return await self._database.run(partial(_tidy, before, limit))


def _key(outgoing: OutgoingNotice, which: ColumnElement[bool]) -> ColumnElement[bool]:
    return and_(_N.target == outgoing.notice.target, _N.key == outgoing.notice.key, which)


def _set(which: ColumnElement[bool], values: Mapping[str, Any], connection: Connection) -> None:
    connection.execute(update(notices).where(which).values(**values))


def _mark(outgoing: OutgoingNotice, marks: Mapping[str, Any], connection: Connection) -> None:
    """Write down what came of a try that told nothing."""
    _set(_key(outgoing, _N.serial == outgoing.serial), {"tries": _N.tries + 1, **marks}, connection)


def _told(outgoing: OutgoingNotice, now: float, connection: Connection) -> None:
    said = {"told": outgoing.serial, "told_state": outgoing.notice.state.value, "told_at": now}
    _set(_key(outgoing, _N.told < outgoing.serial), said, connection)
    _set(_key(outgoing, _N.serial == outgoing.serial), {"tries": 0, "last_error": ""}, connection)


def _outgoing(row: Row[Any]) -> OutgoingNotice:
    notice = Notice(
        row.target, row.key, row.project, row.revision, row.ref, row.context, row.request_id, row.build_id,
        NoticeState(row.state), row.reason, row.at,
    )  # fmt: skip
    return OutgoingNotice(notice, row.serial, row.tries, NoticeState(row.told_state) if row.told_state else None)


def _figures(connection: Connection) -> dict[str, TargetFigures]:
    waits = and_(_N.told < _N.serial, _N.refused_at.is_(None))
    counted = select(
        _N.target,
        func.sum(case((waits, 1), else_=0)).label("waiting"),
        func.min(case((waits, _N.at))).label("oldest"),
        func.sum(case((_N.refused_at.is_not(None), 1), else_=0)).label("given_up"),
        func.max(_N.told_at).label("told"),
    ).group_by(_N.target)
    found = {
        row.target: TargetFigures(int(row.waiting), row.oldest, int(row.given_up), row.told)
        for row in connection.execute(counted)
    }
    why = select(_N.target, _N.last_error).where(_N.last_error != "").order_by(_N.at, _N.last_error)
    for row in connection.execute(why):
        one = found[row.target]
        found[row.target] = TargetFigures(one.waiting, one.oldest, one.given_up, one.told, row.last_error)
    return found


def _tidy(before: float, limit: int, connection: Connection) -> int:
    old = select(_N.target, _N.key).where(_N.at < before, or_(_N.told_at.is_(None), _N.told_at < before)).limit(limit)
    gone = connection.execute(old).all()
    for row in gone:
        connection.execute(delete(notices).where(_N.target == row.target, _N.key == row.key))
    return len(gone)
