"""Owners: whose build servers are, so that what a project says of who may build it holds whenever that changes."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import NONE, add_columns

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    add_columns("servers", sa.Column("owner", sa.Text(), nullable=False, server_default=NONE))
