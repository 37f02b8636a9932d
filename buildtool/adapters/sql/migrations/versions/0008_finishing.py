"""Finishing: which build servers are drained, so that it is noted when they have finished what they had."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import add_columns

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    add_columns(
        "servers", sa.Column("finishing", sa.Boolean(), nullable=False, server_default=sa.false()), before="draining"
    )
