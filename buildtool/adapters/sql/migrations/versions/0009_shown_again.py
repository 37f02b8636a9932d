"""Invitations that were shown with a second key: when, and from where."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import NEW, NONE, add_columns

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    add_columns(
        "invitations",
        sa.Column("shown_again", sa.Float(precision=53), nullable=False, server_default=NEW),
        sa.Column("shown_from", sa.Text(), nullable=False, server_default=NONE),
        before="limits",
    )
