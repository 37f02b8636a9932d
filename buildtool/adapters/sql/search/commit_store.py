"""What revisions are about, written beside the builds that are made of them.

Tested by tests/ports/test_commit_store.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.prepared import insertion
from buildtool.adapters.sql.search import line_table
from buildtool.adapters.sql.search.tables import commits
from buildtool.model.search.commits import CommitNote, RevisionKey

_C = commits.c
_OF = and_(_C.revision == bindparam("revision"), _C.source == bindparam("place"))
_NOTE = select(_C.subject, _C.author, _C.at).where(_OF)


class SqlCommitStore:
    """The CommitStore on a Database that is open for writing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unknown(self, revisions: Sequence[RevisionKey]) -> Sequence[RevisionKey]:
        def read(connection: Connection) -> list[RevisionKey]:
            return [one for one in revisions if note_in(connection, one) is None]

        return await self._database.run(read)

    async def keep(self, notes: Mapping[RevisionKey, CommitNote]) -> None:
        if notes:
            await self._database.run(partial(_keep, notes))


def note_in(connection: Connection, key: RevisionKey) -> CommitNote | None:
    """Return what is written of a revision."""
    row = connection.execute(_NOTE, {"revision": key.revision, "place": key.place}).one_or_none()
    return None if row is None else CommitNote(*row)


def _keep(notes: Mapping[RevisionKey, CommitNote], connection: Connection) -> None:
    statement = insertion(commits, connection.dialect.name)
    told = {name: statement.excluded[name] for name in ("subject", "author", "at")}
    written = statement.on_conflict_do_update(index_elements=list(commits.primary_key), set_=told)
    rows: list[dict[str, Any]] = [
        {"source": key.place, "revision": key.revision, "subject": note.subject, "author": note.author, "at": note.at}
        for key, note in notes.items()
    ]
    connection.execute(written, rows)
    line_table.keep_of(connection, notes)
