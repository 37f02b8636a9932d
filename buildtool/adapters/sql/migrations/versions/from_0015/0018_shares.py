"""Shares: whose turn in the order each open request and build takes, and its place there.

What is open already keeps its order: all in one round, the one that was asked for first before the others.
"""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NEW, NONE, add_columns

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    add_columns("requests", *_share(), _round("base"), before="mail_error")
    add_columns("builds", *_share(), _round("base"), _round("tag"))
    op.execute("UPDATE requests SET share = lower(email) WHERE state = 'waiting'")
    op.execute(
        "UPDATE builds SET share = coalesce((SELECT share FROM requests WHERE requests.id = builds.place), '')"
        " WHERE state IN ('queued', 'running')"
    )


def _share() -> tuple[sa.Column[str], sa.Column[int]]:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return (
        sa.Column("share", sa.Text, nullable=False, server_default=NONE),
        sa.Column("nice", number, nullable=False, server_default=NEW),
    )


def _round(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=False, server_default=NEW)
