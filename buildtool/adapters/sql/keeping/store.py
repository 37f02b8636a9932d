"""What is kept, as what forgets sees it: artifacts and logs with when they were last of use, and what is gone.

Tested by tests/ports/test_kept_rows.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, func, insert, or_, select

from buildtool.adapters.sql import rows
from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.keeping.pins import pinned
from buildtool.adapters.sql.keeping.tables import given_out, tombstones
from buildtool.adapters.sql.schema import artifacts, attempts, builds, failures, requests
from buildtool.adapters.sql.shelf_queries import chunks
from buildtool.model.keeping.choosing import KeptThing
from buildtool.model.keeping.gone import EXPIRED, GoneKind, Tombstone, ranges
from buildtool.ports.keeping import KeptArtifact

OF_CHANNEL = "a channel has it"
RUNS = "its build has not ended"
ANSWERS = "its failure is remembered, and told to who asks"

_A, _T, _G = artifacts.c, tombstones.c, given_out.c
_asked = requests.alias("asked")
_older = artifacts.alias("older")
_ASKED = (  # hits name the build of their artifact, so the index of these serves
    select(func.coalesce(_asked.c.ended_at, _asked.c.admitted_at))
    .where(_asked.c.build_id == _A.build_id)
    .order_by(_asked.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_SHARED = (
    select(_older.c.id).where(_older.c.digest == _A.digest, _older.c.id < _A.id, _older.c.withdrawn == "").exists()
)
_KEPT = (
    select(*_A, _ASKED.label("asked"), _SHARED.label("shared"), _G.at.label("fetched"))
    .select_from(artifacts.outerjoin(given_out, _G.digest == _A.digest))
    .where(_A.withdrawn == "")
    .order_by(_A.id)
)
_WALK = _KEPT.where(_A.id > bindparam("after")).limit(bindparam("most"))


class SqlKeptRows:
    """The ``ports.KeptRows`` on a Database; one that only reads does for what only looks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def artifacts(self, after: int, most: int) -> Sequence[KeptArtifact]:
        return await self._database.run(partial(_artifacts, _WALK, {"after": after, "most": most}))

    async def artifacts_again(self, numbers: Collection[int]) -> Sequence[KeptArtifact]:
        def read(connection: Connection) -> list[KeptArtifact]:
            found = (_artifacts(_KEPT.where(_A.id.in_(chunk)), {}, connection) for chunk in chunks(sorted(numbers)))
            return [one for some in found for one in some]

        return await self._database.run(read)

    async def given_out(self, digests: Mapping[str, float]) -> None:
        if digests:
            await self._database.run(partial(_given_out, digests))

    async def given_out_no_more(self, digests: Collection[str]) -> None:
        await self._database.run(partial(_given_out_no_more, digests))

    async def artifact_gone(self, digest: str) -> str:
        return await self._database.run(partial(artifact_gone, digest))

    async def logs(self, builds: Collection[int], now: float) -> Mapping[int, KeptThing]:
        return await self._database.run(partial(_logs, builds, now))

    async def logs_go(self, going: Mapping[int, str], there: Collection[int], now: float) -> frozenset[int]:
        return await self._database.run(partial(_logs_go, going, there, now))

    async def tombstone(self, kind: GoneKind, number: int) -> Tombstone | None:
        return await self._database.run(partial(tombstone_of, kind, number))


# --- artifacts -----------------------------------------------------------------------------------------------


def _artifacts(chosen: Select[Any], values: Mapping[str, int], connection: Connection) -> list[KeptArtifact]:
    found = connection.execute(chosen, values).all()
    kept = pinned(connection, [row.id for row in found])
    return [
        KeptArtifact(
            rows.artifact_of(row),
            max(row.built_at, row.asked or 0.0, row.fetched or 0.0),
            0 if row.shared else row.size,
            OF_CHANNEL if row.id in kept else "",
        )
        for row in found
    ]


def _given_out(digests: Mapping[str, float], connection: Connection) -> None:
    for chunk in chunks(sorted(digests)):
        connection.execute(delete(given_out).where(_G.digest.in_(chunk)))
        known = select(_A.digest).distinct().where(_A.digest.in_(chunk), _A.withdrawn == "")
        there = connection.execute(known).scalars().all()
        if there:
            connection.execute(insert(given_out), [{"digest": one, "at": digests[one]} for one in there])


def _given_out_no_more(digests: Collection[str], connection: Connection) -> None:
    needed = select(_A.id).where(_A.digest == _G.digest, _A.withdrawn == "").exists()
    for chunk in chunks(sorted(digests)):
        connection.execute(delete(given_out).where(_G.digest.in_(chunk), ~needed))


def artifact_gone(digest: str, connection: Connection) -> str:
    """Return why the artifacts with these bytes have expired; empty where one is given out, or none has."""
    chosen = select(_A.withdrawn).where(_A.digest == digest).order_by(_A.id.desc())
    found = connection.execute(chosen).scalars().all()
    return "" if "" in found else next((one for one in found if one.startswith(EXPIRED)), "")


# --- logs ----------------------------------------------------------------------------------------------------

_OPEN_ATTEMPTS = and_(attempts.c.build_id == builds.c.id, attempts.c.state != "ended")
_RUNS = or_(builds.c.ended_at.is_(None), select(attempts.c.epoch).where(_OPEN_ATTEMPTS).exists())
_ANSWERS = and_(failures.c.build_id == builds.c.id, failures.c.until > bindparam("now"))
_REMEMBERED = select(failures.c.build_id).where(_ANSWERS).exists()
_LOGS = select(builds.c.id, builds.c.ended_at, _RUNS.label("runs"), _REMEMBERED.label("answers"))


def _logs(wanted: Collection[int], now: float, connection: Connection) -> dict[int, KeptThing]:
    found: dict[int, KeptThing] = {}
    for chunk in chunks(sorted(wanted)):
        for row in connection.execute(_LOGS.where(builds.c.id.in_(chunk)), {"now": now}):
            spared = RUNS if row.runs else ANSWERS if row.answers else ""
            found[row.id] = KeptThing(row.ended_at or 0.0, row.id, 0, spared)
    return found


def _logs_go(going: Mapping[int, str], there: Collection[int], now: float, connection: Connection) -> frozenset[int]:
    known = _logs(going, now, connection)
    gone = {number: rule for number, rule in going.items() if number in known and not known[number].spared}
    for rule in sorted(set(gone.values())):
        bury(GoneKind.LOG, {number for number, one in gone.items() if one == rule}, there, (now, rule), connection)
    return frozenset(gone)


# --- what is gone --------------------------------------------------------------------------------------------


def bury(
    kind: GoneKind, gone: Collection[int], there: Iterable[int], why: tuple[float, str], connection: Connection
) -> None:
    """Record that numbers are gone, by when and by which rule; ``there`` are others about them that there are."""
    for first, last in ranges(gone, there):
        new = Tombstone(kind, first, last, *why)
        before = _at(kind, _T.last == first - 1, connection)
        if before is not None and before.continued_by(new):
            _take(before, connection)
            new = Tombstone(kind, before.first, last, before.at, before.rule)
        taken = _at(kind, _T.first == new.first, connection)
        if taken is not None:  # what had this number went before, and a crash left its file
            _take(taken, connection)
            new = Tombstone(kind, new.first, max(new.last, taken.last), new.at, new.rule)
        row = {"kind": kind.value, "first": new.first, "last": new.last, "at": new.at, "rule": new.rule}
        connection.execute(insert(tombstones), row)


def tombstone_of(kind: GoneKind, number: int, connection: Connection) -> Tombstone | None:
    """Return what is known of something that is gone."""
    within = and_(_T.first <= number, _T.last >= number)
    return _at(kind, within, connection)


def _at(kind: GoneKind, where: ColumnElement[bool], connection: Connection) -> Tombstone | None:
    chosen = select(tombstones).where(_T.kind == kind.value, where).order_by(_T.first.desc()).limit(1)
    row = connection.execute(chosen).one_or_none()
    return None if row is None else Tombstone(kind, row.first, row.last, row.at, row.rule)


def _take(one: Tombstone, connection: Connection) -> None:
    connection.execute(delete(tombstones).where(_T.kind == one.kind.value, _T.first == one.first))
