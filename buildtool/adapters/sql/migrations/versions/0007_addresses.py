"""Addresses: the mail addresses that were confirmed, or may be by a code; and what a mail is for."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NONE, add_columns

revision = "0007"
down_revision = "0006"

Time = sa.Float(precision=53)


def upgrade() -> None:
    op.create_table(
        "addresses",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("mailed_at", Time, nullable=False),
        sa.Column("expires", Time, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("confirmed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("email", name="pk_addresses"),
    )
    add_columns("outbox", sa.Column("purpose", sa.Text(), nullable=False, server_default=NONE), before="digest")
