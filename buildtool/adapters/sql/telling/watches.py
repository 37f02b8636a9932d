"""Watches, what they know, and what they tell, across restarts.

Tested by tests/ports/test_watch_store.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import asdict, evolve
from sqlalchemy import Connection, Row, and_, delete, func, insert, select, update

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.outbox_store import DIGEST_MOST
from buildtool.adapters.sql.schema import HELD, outbox
from buildtool.adapters.sql.telling.tables import watches
from buildtool.model.records import Mail
from buildtool.model.telling.watch import BranchWatch

_W = watches.c


class SqlWatchStore:
    """The ``ports.WatchStore`` on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def watches(self) -> Sequence[BranchWatch]:
        return await self._database.run(
            lambda connection: [_read(row) for row in connection.execute(select(watches).order_by(_W.id))]
        )

    async def add(self, watch: BranchWatch) -> BranchWatch:
        return await self._database.run(partial(_add, watch))

    async def keep(self, watch: BranchWatch) -> None:
        await self._database.run(partial(_keep, watch))

    async def tell(self, watch: BranchWatch, mail: Mail, due: float | None) -> None:
        await self._database.run(partial(_tell, watch, mail, due))

    async def end(self, watch_id: int) -> None:
        await self._database.run(lambda connection: connection.execute(delete(watches).where(_W.id == watch_id)))


def _cells(watch: BranchWatch) -> dict[str, Any]:
    cells = asdict(watch)
    return {**cells, "awaited": json.dumps(watch.awaited), "asks": int(watch.asks), "trusted": int(watch.trusted)}


def _read(row: Row[Any]) -> BranchWatch:
    cells = dict(row._mapping)  # noqa: SLF001 - the public name of it
    awaited = tuple(json.loads(row.awaited))
    return BranchWatch(**{**cells, "awaited": awaited, "asks": bool(row.asks), "trusted": bool(row.trusted)})


def _add(watch: BranchWatch, connection: Connection) -> BranchWatch:
    """Write a watch under a number that none had before, also where the newest has ended."""
    used = select(func.coalesce(func.max(_W.id), 0))
    named = evolve(watch, id=max(watch.id, connection.execute(used).scalar_one() + 1))
    connection.execute(insert(watches), _cells(named))
    return named


def _keep(watch: BranchWatch, connection: Connection) -> None:
    known = {"tip": watch.tip, "awaited": json.dumps(watch.awaited), "moves": watch.moves}
    connection.execute(update(watches).where(_W.id == watch.id).values(**known))


def _tell(watch: BranchWatch, mail: Mail, due: float | None, connection: Connection) -> None:
    _keep(watch, connection)
    if connection.execute(select(outbox.c.key).where(outbox.c.key == mail.key)).first() is not None:
        return  # it was told before: the branch was moved back to it
    cells = rows.mail_cells(mail)
    if due is not None:
        digest, when = _open_digest(mail, connection) or (f"digest:{mail.key}", due)
        cells = {**cells, "digest": digest, "next_try": when}
    connection.execute(insert(outbox), cells)


def _open_digest(mail: Mail, connection: Connection) -> tuple[str, float] | None:
    """Return the digest of a watch that is not due yet and has room, and when it is due."""
    found = connection.execute(
        select(outbox.c.digest, func.min(outbox.c.next_try), func.count(), func.max(outbox.c.tries))
        .where(and_(HELD, outbox.c.about == mail.about, outbox.c.email == mail.email))
        .group_by(outbox.c.digest)
    )
    for digest, when, count, tries in found:
        if not tries and count < DIGEST_MOST and when > mail.created_at:
            return digest, when
    return None
