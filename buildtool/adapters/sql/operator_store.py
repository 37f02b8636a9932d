"""What only an operator asks of the database."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, false, func, or_, select, update

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import GIVEN_OUT, REFUSED, UNSENT, artifacts, outbox, requests
from buildtool.model.records import Artifact, RequestState

_UNSENT, _REFUSED = (select(func.count()).select_from(outbox).where(condition) for condition in (UNSENT, REFUSED))
_OLDEST = select(func.min(outbox.c.created_at)).where(UNSENT)
_MADE_BY = (
    select(artifacts)
    .where(GIVEN_OUT, artifacts.c.server == bindparam("name"), artifacts.c.id > bindparam("after"))
    .order_by(artifacts.c.id)
    .limit(bindparam("most"))
)


class SqlOperatorStore:
    """The ``ports.OperatorStore`` on any Database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mail_left(self) -> tuple[int, int]:
        def count(connection: Connection) -> tuple[int, int]:
            return connection.execute(_UNSENT).scalar_one(), connection.execute(_REFUSED).scalar_one()

        return await self._database.run(count)

    async def oldest_mail(self) -> float | None:
        found: float | None = await self._database.run(lambda connection: connection.execute(_OLDEST).scalar())
        return found

    async def mail_returned(self, request_id: int, reason: str) -> int:
        return await self._database.run(partial(_returned, request_id, reason))

    async def artifacts_by(self, server: str, after: int, limit: int) -> Sequence[Artifact]:
        wanted = {"name": server, "after": after, "most": limit}
        return await self._database.run(
            lambda connection: [rows.artifact_of(row) for row in connection.execute(_MADE_BY, wanted)]
        )


def _returned(request_id: int, reason: str, connection: Connection) -> int:
    found = connection.execute(select(requests).where(requests.c.id == request_id)).first()
    if found is None:
        return 0
    told = or_(requests.c.id == request_id, _told_with(found))
    return connection.execute(update(requests).where(told).values(mail_error=reason)).rowcount


def _told_with(first: Row[Any]) -> ColumnElement[bool]:
    """Return what is true of the Requests that one mail told of, by the first of them (``scheduling.decision``)."""
    if first.group_first is not None:
        members = requests.c.id.between(first.group_first, first.group_first + first.group_size - 1)
        return and_(members, requests.c.group_first == first.group_first)
    if first.build_id is None or first.state == RequestState.EXPIRED.value:
        return false()
    return and_(
        requests.c.build_id == first.build_id,
        requests.c.email == first.email,
        requests.c.state == first.state,
        requests.c.ended_at == first.ended_at,
        requests.c.group_first.is_(None),
    )
