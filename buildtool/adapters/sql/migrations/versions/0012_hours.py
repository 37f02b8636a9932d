"""Hours: how much happened in each, so that charts need no history; filled from the history that there is."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "hours",
        sa.Column("hour", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("times", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("hour", "kind"),
    )
    for statement in counting(op.get_bind().dialect.name):
        op.execute(statement)


def counting(dialect: str) -> list[str]:
    """Return the statements that count the history that there is."""
    whole = "CAST(floor({}) AS BIGINT)" if dialect == "postgresql" else "CAST({} AS INTEGER)"
    return [
        f"INSERT INTO hours (hour, kind, times, seconds) SELECT {whole.format(when)}, {source}"
        for when, source in (("ended_at / 3600", ENDED), ("created_at / 3600", QUEUED), ("admitted_at / 3600", ASKED))
    ]


ENDED = """
'build-' || state, count(*), sum(coalesce(ended_at - started_at, 0.0))
FROM builds WHERE ended_at IS NOT NULL GROUP BY 1, 2
"""
QUEUED = """
'build-queued', count(*), 0.0 FROM builds GROUP BY 1, 2
"""
ASKED = """
'request-' || answer, count(*),
    sum(CASE WHEN answer = 'hit' THEN coalesce(artifacts.seconds, 0.0) ELSE 0.0 END)
FROM requests LEFT JOIN artifacts ON artifacts.id = requests.artifact_id
WHERE answer <> '' GROUP BY 1, 2
"""
