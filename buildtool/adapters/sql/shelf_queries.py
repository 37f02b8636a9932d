"""What stands on shelves, and what is like it: the reading that each decision about a demand begins with.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, and_, bindparam, column, func, select
from sqlalchemy import Row as SqlRow
from sqlalchemy import values as sql_values

from buildtool.adapters.sql import rows, schema
from buildtool.adapters.sql.prepared import Prepared
from buildtool.model.matching.shelves import Shelf, stocked
from buildtool.model.records import Artifact, RememberedFailure, ShelfKey

V = TypeVar("V")

CHUNK = 500
"""The most keys in one statement; SQLite takes 32,766 parameters."""

LOOKED_AT = 20_000
"""Among how many of the newest artifacts those of one project are looked for, when something near is wanted."""

NEWEST_ID = select(func.coalesce(func.max(schema.artifacts.c.id), 0)).scalar_subquery()


@cache
def _on_shelves(table: Table, condition: Any, count: int) -> Prepared:  # noqa: ANN401 - whatever may be a condition
    """Return the statement that finds what stands on ``count`` shelves, by the index of each."""
    wanted = (
        sql_values(*(column(name) for name in schema.SHELF), name="wanted")
        .data([tuple(bindparam(f"{name}_{number}") for name in schema.SHELF) for number in range(count)])
        .cte("wanted")
    )
    same = and_(*(table.c[name] == wanted.c[name] for name in schema.SHELF))
    return Prepared(select(table).select_from(wanted).join(table, same).where(condition))


_FAILED = schema.failures.c.until > bindparam("now")
_SHELVES_AT_ONCE = 64


def shelves_of(keys: Sequence[ShelfKey], now: float, connection: Connection) -> dict[ShelfKey, Shelf]:
    """Return the shelves of ``keys``, with the failures that are remembered at ``now`` (wall time)."""
    artifacts: defaultdict[ShelfKey, list[Artifact]] = defaultdict(list)
    failures: defaultdict[ShelfKey, list[RememberedFailure]] = defaultdict(list)
    more: set[ShelfKey] = set()
    for chunk in chunks(keys, _SHELVES_AT_ONCE):
        wanted: dict[str, object] = {
            f"{name}_{number}": getattr(key, name) for number, key in enumerate(chunk) for name in schema.SHELF
        }
        found = _on_shelves(schema.artifacts, schema.GIVEN_OUT, len(chunk)).rows(connection, wanted)
        kept, left = _newest(found, lambda row: row.id, _MADE_ALIKE)
        for artifact in map(rows.artifact_of, kept):
            artifacts[artifact.shelf].append(artifact)
        failed = _on_shelves(schema.failures, _FAILED, len(chunk)).rows(connection, wanted | {"now": now})
        kept, older = _newest(failed, lambda row: (row.until, row.build_id), _FAILED_ALIKE)
        for failure in map(rows.failure_of, kept):
            failures[failure.shelf].append(failure)
        more |= left | older
    return {key: stocked(artifacts[key], failures[key], more=key in more) for key in keys}


_FAILED_ALIKE = attrgetter(*schema.SHELF, "platform", "kind", "sandbox", "trust")
_MADE_ALIKE = attrgetter(*schema.SHELF, "platform", "kind", "sandbox", "trust", "need")


def _newest(
    found: Iterable[SqlRow[Any]],
    order: Callable[[SqlRow[Any]], Any],
    alike: Callable[[SqlRow[Any]], tuple[object, ...]],
) -> tuple[list[SqlRow[Any]], set[ShelfKey]]:
    """Return of each shelf and way of making the row that comes last in ``order``, last first, and which have more.

    ``alike`` tells shelf and way of a row. Who forces the same again and again leaves a row each time: only those that
    count are made values of.
    """
    newest: dict[tuple[object, ...], SqlRow[Any]] = {}
    more: set[ShelfKey] = set()
    for row in sorted(found, key=order, reverse=True):
        if newest.setdefault(alike(row), row) is not row:
            more.add(ShelfKey(**{name: getattr(row, name) for name in schema.SHELF}))
    return list(newest.values()), more


def similar(key: ShelfKey, limit: int, connection: Connection) -> list[Artifact]:
    """Return at most ``limit`` artifacts for each of: the same source and options, and the same project."""
    table = schema.artifacts
    given_out = select(table).where(table.c.withdrawn == "").order_by(table.c.id.desc()).limit(limit)
    of_project = given_out.where(table.c.project == key.project)
    same_project = of_project.where(table.c.id > NEWEST_ID - LOOKED_AT)
    same_options = of_project.where(
        table.c.source == key.source,
        table.c.recipe_version == key.recipe_version,
        table.c.options_digest == key.options_digest,
    )
    found = {
        row.id: rows.artifact_of(row) for query in (same_options, same_project) for row in connection.execute(query)
    }
    return list(found.values())


def chunks(items: Iterable[V], most: int = CHUNK) -> Iterator[list[V]]:
    """Return ``items`` in lists short enough to be the keys of one statement."""
    rest = iter(items)
    while chunk := list(islice(rest, most)):
        yield chunk
