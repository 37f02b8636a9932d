"""The deliveries of forges: each once, written down before it is answered, and open until a look was made after it.

Tested by tests/ports/test_hook_store.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, delete, func, insert, select, update

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.triggers.tables import hook_deliveries
from buildtool.model.hooks.delivery import KEPT, HookDelivery
from buildtool.model.hooks.signing import ForgeKind

_H = hook_deliveries.c
_NEWEST = select(func.max(_H.number)).group_by(_H.project)


class SqlHookStore:
    """The ``ports.HookStore`` on a Database that is open for writing. Of each project ``kept`` deliveries stay."""

    def __init__(self, database: Database, kept: int = KEPT) -> None:
        self._database, self._kept = database, kept

    async def take(self, delivery: HookDelivery) -> int:
        return await self._database.run(partial(_take, delivery, self._kept))

    async def open(self) -> Mapping[str, int]:
        return await self._database.run(_open)

    async def looked(self, project: str, number: int) -> None:
        await self._database.run(partial(_looked, project, number))

    async def newest(self) -> Mapping[str, HookDelivery]:
        return await self._database.run(_newest)


def _take(delivery: HookDelivery, kept: int, connection: Connection) -> int:
    same = select(_H.number).where(_H.project == delivery.project, _H.mark == delivery.mark)
    if connection.execute(same).first() is not None:
        return 0
    row = {"project": delivery.project, "mark": delivery.mark, "forge": delivery.forge.value, "id": delivery.id}
    written = connection.execute(
        insert(hook_deliveries), {**row, "said": delivery.said, "at": delivery.at, "open": True}
    )
    key = written.inserted_primary_key
    number = int(key[0]) if key is not None else 0
    of_project = select(_H.number).where(_H.project == delivery.project)
    last = connection.execute(of_project.order_by(_H.number.desc()).offset(kept).limit(1)).scalar()
    if last is not None:
        connection.execute(delete(hook_deliveries).where(_H.project == delivery.project, _H.number <= last))
    return number


def _open(connection: Connection) -> dict[str, int]:
    found = connection.execute(select(_H.project, func.max(_H.number)).where(_H.open).group_by(_H.project))
    return {row[0]: row[1] for row in found}


def _looked(project: str, number: int, connection: Connection) -> None:
    those = update(hook_deliveries).where(_H.project == project, _H.number <= number, _H.open)
    connection.execute(those.values(open=False))


def _newest(connection: Connection) -> dict[str, HookDelivery]:
    found = connection.execute(select(hook_deliveries).where(_H.number.in_(_NEWEST)))
    return {
        row.project: HookDelivery(row.project, row.mark, ForgeKind(row.forge), row.id, row.said, row.at)
        for row in found
    }
