"""What machines did, added up in the transaction in which an attempt ends; who reads it reads a few rows a month.

An attempt is written as ended once in its life, so it is added once. Of one that was never begun nothing is added.

Tested by tests/adapters/sql/work/test_sums.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    distinct,
    func,
    or_,
    select,
)

from buildtool.adapters.sql.prepared import Prepared, insertion
from buildtool.adapters.sql.schema import artifacts, attempts, builds, requests
from buildtool.adapters.sql.work.tables import work, work_requesters
from buildtool.model.guest.history import month_of
from buildtool.model.records import Attempt, AttemptEnd, AttemptState
from buildtool.ports.work import WorkFound, WorkLine

_A, _B, _F, _R = attempts.c, builds.c, artifacts.c, requests.c
_GOOD = _A.end == AttemptEnd.SUCCEEDED.value
_FAILED = or_(_A.end == AttemptEnd.FAILED.value, _A.end == AttemptEnd.MISTAKEN.value)
_SIZE = select(func.max(_F.size)).where(_F.build_id == _A.build_id, _F.epoch == _A.epoch).scalar_subquery()
_THIS = and_(
    _A.build_id == bindparam("build"),
    _A.epoch == bindparam("attempt"),
    _A.accepted_at.is_not(None),
    _A.end != AttemptEnd.REFUSED.value,
)
_NAMES = ("server", "month", "project")
_SUMS = tuple(column.name for column in work.c if column.name not in _NAMES)


def write(connection: Connection, changed: Sequence[Attempt], now: float) -> None:
    """Add those of these attempts that have ended; their rows, and those of builds and requests, are written by now.

    ``now`` is wall time in seconds.
    """
    ended = [
        {"build": it.build_id, "attempt": it.epoch, "month": month_of(it.ended_at or now)}
        for it in changed
        if it.state is AttemptState.ENDED and it.accepted_at is not None and it.end is not AttemptEnd.REFUSED
    ]
    for statement in _additions(connection.dialect.name) if ended else ():
        statement.run(connection, *ended)


@cache
def _additions(dialect: str) -> tuple[Prepared, ...]:
    def one(condition: ColumnElement[Any]) -> ColumnElement[int]:
        return case((condition, 1), else_=0)

    month = cast(bindparam("month"), Text)
    made = attempts.join(builds, _B.id == _A.build_id)
    figures = (
        one(_GOOD), one(_FAILED), one(~(_GOOD | _FAILED)), one(_A.processor.is_(None)),
        func.coalesce(_A.processor, 0.0),
        case((_A.ended_at > _A.accepted_at + _A.rested, _A.ended_at - _A.accepted_at - _A.rested), else_=0.0),
        func.coalesce(_SIZE, 0),
    )  # fmt: skip
    added = insertion(work, dialect).from_select(
        [column.name for column in work.c],
        select(_A.server, month, _B.project, *figures).select_from(made).where(_THIS),
    )
    sums = {name: work.c[name] + added.excluded[name] for name in _SUMS}
    asked = insertion(work_requesters, dialect).from_select(
        [column.name for column in work_requesters.c],
        select(_A.server, month, _B.project, func.lower(_R.email))
        .select_from(made.join(requests, _R.build_id == _B.id))
        .where(_THIS)
        .distinct(),
    )
    return (
        Prepared(added.on_conflict_do_update(index_elements=list(work.primary_key), set_=sums)),
        Prepared(asked.on_conflict_do_nothing()),
    )


def forget(connection: Connection, servers: Iterable[str]) -> None:
    """Delete what these build servers did: their names may be given to others."""
    names = list(servers)
    for table in (work, work_requesters):
        connection.execute(delete(table).where(table.c.server.in_(names)))


# --- reading --------------------------------------------------------------------------------------------------


def read(servers: Sequence[str], since: str, connection: Connection, *, each: bool = False) -> WorkFound:
    """Return the sums of these build servers by month and project, or by build server and month if ``each``.

    Requesters are counted from the month ``since`` on: there is a row for each in each month.
    """
    own, of_people = work.c, work_requesters.c
    first, second = ("server", "month") if each else ("month", "project")
    people = func.count(distinct(of_people.email))
    theirs = and_(of_people.server.in_(servers), of_people.month >= since)
    counted = select(of_people[first], of_people[second], people).where(theirs).group_by(first, second)
    asked = {(one, other): count for one, other, count in connection.execute(counted)}
    found = connection.execute(
        select(own[first], own[second], *(func.sum(own[name]) for name in _SUMS))
        .where(own.server.in_(servers))
        .group_by(own[first], own[second])
        .order_by(own.month.desc(), own["server" if each else "project"])
    )
    lines = []
    for one, other, *sums in found:
        server, month, project = (one, other, "") if each else ("", one, other)
        figures = dict(zip(_SUMS, map(_plain, sums), strict=True))
        lines.append(WorkLine(month, server, project, **figures, requesters=asked.get((one, other), 0)))
    return WorkFound(tuple(lines), connection.execute(select(people).where(theirs)).scalar_one())


def _plain(value: Any) -> Any:  # noqa: ANN401 - a number, which PostgreSQL adds up to a Decimal
    return value if isinstance(value, float) else int(value)
