"""Leases: Attempts that may come back, servers that are missing, paused or leave, mail to the owners of machines."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NEW, NONE, add_columns

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_column("builds", "first")
    add_columns(
        "attempts",
        sa.Column("suspected", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("struck", sa.Boolean(), nullable=False, server_default=sa.false()),
        before="log_tail",
    )
    add_columns(
        "servers",
        sa.Column("missing_since", sa.Float(precision=53), nullable=False, server_default=NEW),
        sa.Column("missing_told", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("paused", sa.Text(), nullable=False, server_default=NONE),
        sa.Column("draining", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    add_columns("outbox", sa.Column("server", sa.Text(), nullable=False, server_default=NONE), before="tries")
