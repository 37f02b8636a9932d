"""``keeping``: what is kept, how much that is, and what goes next, by which rule. It reads, and changes nothing.

Tested by tests/programs/metaserver/test_keeping.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from attrs import frozen

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.keeping.store import SqlKeptRows
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DATABASE
from buildtool.adapters.storage.keeping.log_files import KeptLogFiles
from buildtool.configuration.settings import Settings
from buildtool.metaserver.keeping.forgetting import Surveys
from buildtool.model.keeping.choosing import Going, Turn
from buildtool.model.keeping.limits import KeptKind, Limit
from buildtool.model.text import duration_words, moment_words, size_words

MOST = 1_000
"""How many things are listed of each kind that go next."""


@frozen
class KeptStatus:
    """The status of a kind: how many things and bytes there are, how many must not go, its limits, and what goes."""

    kind: KeptKind
    count: int
    size: int
    spared: int
    limit: Limit
    going: tuple[Going, ...]


async def kept_now(settings: Settings) -> Sequence[KeptStatus]:
    """Return what is kept in a state directory, which may be used meanwhile. Raises StorageUnavailable."""
    database = SqliteDatabase.reading(settings.state_dir / DATABASE, Inline())
    try:
        rows, files = SqlKeptRows(database), KeptLogFiles(settings.state_dir, Inline())
        surveys = Surveys(rows, files, lambda: settings.keep, time.time)
        told = []
        for kind in KeptKind:
            found = await surveys.look(kind)
            going = surveys.chosen(kind, found, Turn(MOST, 2**62))
            told.append(KeptStatus(kind, found.count, found.total, found.spared, settings.keep.of(kind), going))
        return told
    finally:
        await database.close()


def kept_lines(told: Sequence[KeptStatus]) -> list[str]:
    """Return what is kept for people: a line for each kind, and one for each thing that goes next."""
    lines = []
    for one in told:
        plural = "" if one.count == 1 else "s"
        named = f"logs of {one.count} build{plural}" if one.kind is KeptKind.LOGS else f"{one.count} artifact{plural}"
        spared = f", of which {one.spared} must not go now" if one.spared else ""
        lines.append(f"{named}: {size_words(one.size)}{spared}; {_limits(one.limit)}")
        for going in one.going:
            what = "logs of build" if one.kind is KeptKind.LOGS else "artifact"
            thing = going.thing
            used = f"{size_words(thing.size)}, last of use {moment_words(thing.at)}"
            lines.append(f"  goes next: {what} {thing.number} ({used}): {going.rule}")
    return lines


def kept_objects(told: Sequence[KeptStatus]) -> dict[str, object]:
    """Return what is kept for programs."""
    return {
        one.kind.value: {
            "count": one.count,
            "size": one.size,
            "spared": one.spared,
            "limits": {"age": one.limit.age, "size": one.limit.most},
            "going": [
                {"number": it.thing.number, "at": it.thing.at, "size": it.thing.size, "rule": it.rule}
                for it in one.going
            ],
        }
        for one in told
    }


def _limits(limit: Limit) -> str:
    said = [] if limit.age is None else [f"for {duration_words(limit.age)}"]
    said += [] if limit.most is None else [f"at most {size_words(limit.most)}"]
    return f"kept {' and '.join(said)}" if said else "kept for ever"


def _going_object(going: Going) -> dict[str, object]:
    thing = going.thing
    return {"number": thing.number, "at": thing.at, "size": thing.size, "rule": going.rule}
