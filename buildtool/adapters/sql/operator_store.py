"""What only an operator asks of the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import GIVEN_OUT, REFUSED, UNSENT, artifacts, outbox
from buildtool.model.records import Artifact

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

    async def artifacts_by(self, server: str, after: int, limit: int) -> Sequence[Artifact]:
        wanted = {"name": server, "after": after, "most": limit}
        return await self._database.run(
            lambda connection: [rows.artifact_of(row) for row in connection.execute(_MADE_BY, wanted)]
        )
