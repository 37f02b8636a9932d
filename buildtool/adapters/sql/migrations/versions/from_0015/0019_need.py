"""Need: what the files of an artifact need of the machine that runs them. Of what is there nothing was measured."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import add_columns

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    add_columns("artifacts", sa.Column("need", sa.Text(), nullable=False, server_default=sa.text("'[]'")))
