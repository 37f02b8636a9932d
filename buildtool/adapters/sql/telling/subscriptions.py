"""Which mails people have ended, across restarts.

Tested by tests/ports/test_subscription_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, and_, delete, insert, select

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.telling.tables import unsubscribed
from buildtool.model.telling.topics import Ended

_U = unsubscribed.c


class SqlSubscriptionStore:
    """The ``ports.SubscriptionStore`` on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(self) -> Ended:
        return await self._database.run(
            lambda connection: {(row.email, row.topic): row.since for row in connection.execute(select(unsubscribed))}
        )

    async def end(self, email: str, topics: Sequence[str], now: float) -> None:
        await self._database.run(partial(_write, email, topics, now))

    async def resume(self, email: str, topics: Sequence[str]) -> None:
        await self._database.run(partial(_write, email, topics, None))


def _write(email: str, topics: Sequence[str], since: float | None, connection: Connection) -> None:
    connection.execute(delete(unsubscribed).where(and_(_U.email == email, _U.topic.in_(topics))))
    if since is not None and topics:
        rows = [{"email": email, "topic": topic, "since": since} for topic in dict.fromkeys(topics)]
        connection.execute(insert(unsubscribed), rows)
