"""Work: what each machine did for each project, by month, and for whom; processor seconds of attempts.

What is there is added up in one walk through the attempts. Of none of it are processor seconds known.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import add_columns

revision = "0017"
down_revision = "0016"

LAST = 253_402_300_799.0
"""The end of the year 9999, after which there is no month."""

WORK = """
    INSERT INTO work (server, month, project, good, failed, other, unmeasured, processor, wall, size)
    SELECT attempts.server, {month}, builds.project,
        sum(CASE WHEN attempts."end" = 'succeeded' THEN 1 ELSE 0 END),
        sum(CASE WHEN attempts."end" IN ('failed', 'mistake of the project') THEN 1 ELSE 0 END),
        sum(CASE WHEN attempts."end" IN ('succeeded', 'failed', 'mistake of the project') THEN 0 ELSE 1 END),
        count(*), 0.0,
        sum(CASE WHEN attempts.ended_at > attempts.accepted_at + attempts.rested
            THEN attempts.ended_at - attempts.accepted_at - attempts.rested ELSE 0.0 END),
        coalesce(sum((SELECT max(size) FROM artifacts
            WHERE artifacts.build_id = attempts.build_id AND artifacts.epoch = attempts.epoch)), 0)
    FROM attempts JOIN builds ON builds.id = attempts.build_id
    WHERE attempts.state = 'ended' AND attempts.accepted_at IS NOT NULL AND attempts."end" <> 'refused'
        AND attempts.ended_at IS NOT NULL
    GROUP BY 1, 2, 3
"""
REQUESTERS = """
    INSERT INTO work_requesters (server, month, project, email)
    SELECT DISTINCT attempts.server, {month}, builds.project, lower(requests.email)
    FROM attempts JOIN builds ON builds.id = attempts.build_id JOIN requests ON requests.build_id = builds.id
    WHERE attempts.state = 'ended' AND attempts.accepted_at IS NOT NULL AND attempts."end" <> 'refused'
        AND attempts.ended_at IS NOT NULL
"""


def upgrade() -> None:
    add_columns("attempts", sa.Column("processor", sa.Float(53)), before="log_tail")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "work",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("server", "month", "project")),
        *(sa.Column(name, number, nullable=False) for name in ("good", "failed", "other", "unmeasured")),
        *(sa.Column(name, sa.Float(53), nullable=False) for name in ("processor", "wall")),
        sa.Column("size", number, nullable=False),
        sa.PrimaryKeyConstraint("server", "month", "project", name=op.f("pk_work")),
    )
    op.create_table(
        "work_requesters",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("server", "month", "project", "email")),
        sa.PrimaryKeyConstraint("server", "month", "project", "email", name=op.f("pk_work_requesters")),
        sqlite_with_rowid=False,
    )
    connection = op.get_bind()
    ends = connection.exec_driver_sql("SELECT min(ended_at), max(ended_at) FROM attempts").one()
    if None not in ends:
        month = month_expression(*ends)
        connection.exec_driver_sql(WORK.format(month=month))
        connection.exec_driver_sql(REQUESTERS.format(month=month))


def month_expression(first: float, last: float) -> str:
    """Return what is the month of ``attempts.ended_at``, of which the first and the last are known, in seconds."""
    at, until = (datetime.fromtimestamp(min(max(one, 0.0), LAST), UTC) for one in (first, last))
    year, month, words = at.year, at.month, []
    while (year, month) < (until.year, until.month):
        name = f"{year:04d}-{month:02d}"
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)  # noqa: PLR2004 - months of a year
        begins = datetime(year, month, 1, tzinfo=UTC).timestamp()
        words.append(f"WHEN attempts.ended_at < {begins:.1f} THEN '{name}'")
    last_name = f"'{until:%Y-%m}'"
    return f"CASE {' '.join(words)} ELSE {last_name} END" if words else last_name
