"""Guests: what those who lend a machine wish, and which builds are frozen on it."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import NEW, NONE, add_columns

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    add_columns(
        "attempts",
        sa.Column("frozen_at", sa.Float(53)),
        sa.Column("rested", sa.Float(53), nullable=False, server_default=NEW),
        before="log_tail",
    )
    add_columns(
        "servers",
        sa.Column("closed", sa.Text, nullable=False, server_default=NONE),
        sa.Column("closed_until", sa.Float(53), nullable=False, server_default=NEW),
        sa.Column("away", sa.Text, nullable=False, server_default=sa.text("'[]'")),
    )
