"""What happened in each hour, added up in the transaction in which it is written: charts need no history.

Tested by tests/adapters/sql/test_broker_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, delete

from buildtool.adapters.sql import schema
from buildtool.adapters.sql.prepared import Prepared, insertion
from buildtool.model.records import AuditEvent

HOUR = 3_600.0

KEPT = 400 * 24 * HOUR
"""For so many seconds it is kept how much happened in each hour."""

ADDED_UP = ("request-", "build-")
"""What the kinds of events begin with that are added up."""


def add(happened: Sequence[AuditEvent], now: float, connection: Connection) -> None:
    """Add what charts are drawn of to its hour."""
    counts: dict[str, tuple[int, float]] = {}
    for one in happened:
        if one.kind.startswith(ADDED_UP):
            times, seconds = counts.get(one.kind, (0, 0.0))
            counts[one.kind] = times + 1, seconds + one.seconds
    if counts:
        hour = int(now // HOUR)
        _added(connection.dialect.name).run(
            connection,
            *(
                {"hour": hour, "kind": kind, "times": times, "seconds": seconds}
                for kind, (times, seconds) in counts.items()
            ),
        )


@cache
def _added(dialect: str) -> Prepared:
    table = schema.hours
    statement = insertion(table, dialect)
    sums = {name: table.c[name] + statement.excluded[name] for name in ("times", "seconds")}
    return Prepared(
        statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=sums), [c.name for c in table.c]
    )


def tidy(now: float, connection: Connection) -> None:
    """Delete what is kept no longer at wall time ``now``, in seconds."""
    connection.execute(delete(schema.hours).where(schema.hours.c.hour < (now - KEPT) // HOUR))
