"""What triggers remember between two looks, and across restarts.

Tested by tests/ports/test_trigger_store.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import partial

from sqlalchemy import Connection, and_, delete, insert, select

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.triggers.tables import trigger_refs, triggers
from buildtool.model.triggers.looking import Memory
from buildtool.ports.triggers import TriggerKey

_T, _R = triggers.c, trigger_refs.c


class SqlTriggerStore:
    """The ``ports.TriggerStore`` on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def memories(self) -> Mapping[TriggerKey, Memory]:
        return await self._database.run(_read)

    async def remember(self, key: TriggerKey, memory: Memory) -> None:
        await self._database.run(partial(_write, key, memory))


def _read(connection: Connection) -> dict[TriggerKey, Memory]:
    refs: defaultdict[TriggerKey, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(select(trigger_refs)):
        refs[row.project, row.name][row.ref] = row.revision
    return {
        (row.project, row.name): Memory(
            refs[row.project, row.name], row.looked, row.asked, row.said, row.failures, row.retry
        )
        for row in connection.execute(select(triggers))
    }


def _write(key: TriggerKey, memory: Memory, connection: Connection) -> None:
    project, name = key
    connection.execute(delete(triggers).where(and_(_T.project == project, _T.name == name)))
    told = {"looked": memory.looked, "asked": memory.asked, "said": memory.said}
    row = {"project": project, "name": name, **told, "failures": memory.failures, "retry": memory.retry}
    connection.execute(insert(triggers), row)
    own = and_(_R.project == project, _R.name == name)
    before = {row.ref: row.revision for row in connection.execute(select(_R.ref, _R.revision).where(own))}
    changed = {ref for ref, one in memory.refs.items() if before.get(ref) != one}
    for ref in (before.keys() - memory.refs.keys()) | (changed & before.keys()):
        connection.execute(delete(trigger_refs).where(own, _R.ref == ref))
    if changed:
        rows = [{"project": project, "name": name, "ref": ref, "revision": memory.refs[ref]} for ref in sorted(changed)]
        connection.execute(insert(trigger_refs), rows)
