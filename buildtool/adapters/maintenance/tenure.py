"""Whose a state directory is, and which of its lives this is: asked at the start, and written down with a new term.

The lock keeps two processes from one directory (``locks``). The *term* in the database keeps one that lost its hold all
the same, since somebody removed the lock or put another file in its place, from writing: each start takes the next
term, and each commit says which term it believes in (``Database.hold``).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import evolve, field, frozen
from sqlalchemy import Connection, func, insert, select, update

from buildtool.adapters.sql.database import Database
from buildtool.adapters.sql.schema import builds, incarnations, requests, tenure
from buildtool.adapters.storage.directory_lock import DATABASE, process_words
from buildtool.adapters.storage.filesystem import storage_unavailable, sync_directory
from buildtool.adapters.storage.instance import machine_id
from buildtool.errors import StorageUnavailable
from buildtool.model.incarnations import FIRST, Incarnation, Incarnations, Keys, Whereabouts, copied_in

SIGN = "incarnation"
"""The file ``incarnation.N`` is made by the start that takes term N. Its inode and time of change are in the database:
no copy has the same, not even one that is written into the same inodes.
"""


@frozen
class Tenure:
    """The hold on a state directory: its ``term``, all lives, and for how many seconds no process had held it.

    ``anew`` says why a new life has begun, or is empty; ``rekeyed`` whether the key is another than the last time.
    """

    term: int
    incarnations: Incarnations
    anew: str = ""
    rekeyed: bool = False


@frozen
class Secret:
    """The key of the state directory, and whether it was made at this start: nothing else was ever signed with it."""

    key: bytes = field(repr=False)
    fresh: bool = False


async def begin(database: Database, directory: Path, secret: Secret, now: float, *, restored: bool = False) -> Tenure:
    """Take the next term of the database in ``directory``, and hold it. Raises StorageUnavailable.

    A new life begins where the directory may have been copied since the last start, or ``restored`` says so. What is
    made with a fresh key in a fresh database needs none to be told apart. ``now`` is wall time in seconds.
    """
    row = await database.run(_recorded)
    term = row.term + 1 if row is not None else 1
    try:
        before = _sign(directory, term - 1)
        found = Whereabouts(_inode(directory), _inode(directory / DATABASE), machine_id(), before)
        after = evolve(found, sign=_signed(directory, term))
    except OSError as error:
        raise storage_unavailable(f"write {directory / SIGN}.{term}", error) from error
    begun = await database.run(partial(_begin, term, found, after, secret, now, restored))
    await database.hold(begun.term)
    _forget_signs(directory, term)
    return begun


async def end(database: Database) -> None:
    """Record, if that can be written, that no process holds the database any more: it is for people to read."""
    with suppress(StorageUnavailable):
        await database.run(_held_by_nobody)


def _held_by_nobody(connection: Connection) -> None:
    connection.execute(update(tenure).values(holder=""))


# --- the file -------------------------------------------------------------------------------------------


def _inode(path: Path) -> str:
    return str(path.stat().st_ino)


def _sign(directory: Path, term: int) -> str:
    """Return inode and time of change of the file of a term, or "" when it is not there. Raises OSError."""
    try:
        status = (directory / f"{SIGN}.{term}").lstat()
    except FileNotFoundError:
        return ""
    return f"{status.st_ino}.{status.st_ctime_ns}"


def _signed(directory: Path, term: int) -> str:
    """Make the file of a term, durably, and return what ``_sign`` says of it. Raises OSError.

    One of that term that is there already is of a start that was killed before the database knew of it.
    """
    path = directory / f"{SIGN}.{term}"
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fsync(file)
    finally:
        os.close(file)
    sync_directory(directory)
    return _sign(directory, term)


def _forget_signs(directory: Path, term: int) -> None:
    """Remove the files of other terms; what cannot be removed harms nothing, and the next start tries again."""
    for path in directory.glob(f"{SIGN}.*"):
        if path.name != f"{SIGN}.{term}":
            with suppress(OSError):
                path.unlink()


# --- the rows -------------------------------------------------------------------------------------------


@frozen
class _Row:
    """What the last start wrote down."""

    term: int
    where: Whereabouts
    fingerprint: str
    copied: str


def _recorded(connection: Connection) -> _Row | None:
    row = connection.execute(select(tenure)).one_or_none()
    if row is None:
        return None
    where = Whereabouts(row.directory, row.database, row.machine, row.sign)
    return _Row(row.term, where, row.fingerprint, row.copied)


def _begin(
    term: int,
    found: Whereabouts,
    after: Whereabouts,
    secret: Secret,
    now: float,
    restored: bool,  # noqa: FBT001 - called with what is decided before
    connection: Connection,
) -> Tenure:
    row = _recorded(connection)
    if (row.term if row is not None else 0) != term - 1:
        raise StorageUnavailable("another metaserver began with this database in the same moment: start again")
    lives = [
        Incarnation(one.id, one.first_request, one.first_build)
        for one in connection.execute(select(incarnations).order_by(incarnations.c.number))
    ]
    fingerprint = Keys(secret.key).fingerprint()
    anew = "" if row is None and secret.fresh else _why_anew(row, found, restored=restored)
    if anew:
        lives += _new_life(connection, lives, now, anew)
    values = {
        "term": term,
        "holder": process_words("metaserver", now),
        "since": now,
        "directory": after.directory,
        "database": after.database,
        "machine": after.machine,
        "sign": after.sign,
        "fingerprint": fingerprint,
        "copied": "",
    }
    if row is None:
        connection.execute(insert(tenure).values(id=1, beat=0.0, **values))
        return Tenure(term, _all(lives))  # the first life of a database is nothing to tell of
    connection.execute(update(tenure).values(**values))
    return Tenure(term, _all(lives), anew, rekeyed=row.fingerprint != fingerprint)


def _all(lives: list[Incarnation]) -> Incarnations:
    return Incarnations(lives) if lives else Incarnations()


def _why_anew(row: _Row | None, found: Whereabouts, *, restored: bool) -> str:
    """Return why a new life begins, or "" when this one goes on."""
    if row is None:
        return "lives were not told apart before"
    if restored:
        return "--restored says so"
    if row.copied:
        return f"it is a backup, {row.copied}"
    differs = copied_in(row.where, found)
    return f"it may be a copy: not as at the last start: {differs}" if differs else ""


def _new_life(connection: Connection, lives: list[Incarnation], now: float, reason: str) -> list[Incarnation]:
    """Write down a new life, and before the first one that of all rows that are there already."""
    next_request, next_build = (
        (connection.execute(select(func.max(table.c.id))).scalar() or 0) + 1 for table in (requests, builds)
    )
    added = []
    if not lives and (next_request, next_build) != (1, 1):
        added.append(Incarnation(FIRST))
    added.append(Incarnation(secrets.token_hex(8), next_request, next_build))
    for number, one in enumerate(added, len(lives) + 1):
        values = {"first_request": one.first_request, "first_build": one.first_build, "began": now, "reason": reason}
        connection.execute(insert(incarnations).values(number=number, id=one.id, **values))
    return added
