"""Watches of branches, and mails that tell of what came to them."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NONE, add_columns

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "watches",
        sa.Column("id", number, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("email", "project", "source", "ref", "wish")),
        sa.Column("made", sa.Float(53), nullable=False),
        sa.Column("asks", number, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("digest", "name", "key", "owner", "address")),
        sa.Column("trusted", number, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tip", "awaited")),
        sa.Column("moves", number, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watches")),
    )
    add_columns("outbox", sa.Column("about", sa.Text(), nullable=False, server_default=NONE), before="digest")
