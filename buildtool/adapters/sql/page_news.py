"""What is live in the pages, read from the database: which builds events are about, and when somebody last wrote."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

from sqlalchemy import Connection, and_, bindparam, func, select

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.rows import canonical_of
from buildtool.adapters.sql.schema import artifacts, attempts, builds, events, requests, tenure
from buildtool.ports.pages import ConcernedBuild, EventLine

MOST = 1_000
"""Most rows of one answer, and most ids of one question."""


class SqlNews:
    """The ``ports.News`` on any Database, best on one that only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def concerned(
        self, builds: Collection[int], requests: Collection[int] = (), artifacts: Collection[int] = ()
    ) -> Sequence[ConcernedBuild]:
        """Return the Builds that these are about."""
        return await self._database.run(partial(_concerned, builds, requests, artifacts))

    async def since(self, after: int, limit: int) -> Sequence[EventLine]:
        """Return at most ``limit`` events with numbers above ``after``, oldest first."""
        values = {"after": after, "most": min(limit, MOST)}
        return await self._database.run(
            lambda connection: [EventLine(*row) for row in connection.execute(_SINCE, values)]
        )

    async def newest(self) -> tuple[int, float]:
        """Return the number of the newest event, and when the metaserver last noted that it was there."""

        def read(connection: Connection) -> tuple[int, float]:
            seq, beat = connection.execute(_NEWEST).one()
            return seq, beat or 0.0

        return await self._database.run(read)


_SINCE = (
    select(events.c.seq, events.c.at, events.c.kind, events.c.subject, events.c.detail)
    .where(events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("most"))
)
_NEWEST = select(
    select(func.coalesce(func.max(events.c.seq), 0)).scalar_subquery(), select(tenure.c.beat).scalar_subquery()
)
_OF_REQUESTS = select(requests.c.build_id).where(requests.c.id.in_(bindparam("keys", expanding=True)))
_OF_ARTIFACTS = select(artifacts.c.build_id).where(artifacts.c.id.in_(bindparam("keys", expanding=True)))
_CONCERNED = (
    select(builds.c.id, builds.c.project, builds.c.platform, builds.c.epoch, func.coalesce(attempts.c.server, ""))
    .select_from(
        builds.outerjoin(attempts, and_(attempts.c.build_id == builds.c.id, attempts.c.epoch == builds.c.epoch))
    )
    .where(builds.c.id.in_(bindparam("keys", expanding=True)))
)


def _concerned(
    ids: Collection[int], asked: Collection[int], made: Collection[int], connection: Connection
) -> list[ConcernedBuild]:
    keys = set(ids)
    for statement, subjects in ((_OF_REQUESTS, asked), (_OF_ARTIFACTS, made)):
        if subjects:
            keys |= set(connection.execute(statement, {"keys": sorted(subjects)[:MOST]}).scalars())
    wanted = sorted(key for key in keys if key is not None)[:MOST]
    if not wanted:
        return []
    return [
        ConcernedBuild(build_id, project, canonical_of(platform), epoch, server)
        for build_id, project, platform, epoch, server in connection.execute(_CONCERNED, {"keys": wanted})
    ]
