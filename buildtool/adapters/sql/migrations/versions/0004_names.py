"""Build servers: which instance and which address logged in last, and when it last began a build."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NEW, NONE, add_columns

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    add_columns(
        "servers",
        sa.Column("instance", sa.Text(), nullable=False, server_default=NONE),
        sa.Column("origin", sa.Text(), nullable=False, server_default=NONE),
        sa.Column("used_at", sa.Float(precision=53), nullable=False, server_default=NEW),
    )
    op.execute(
        "UPDATE servers SET used_at = coalesce("
        "(SELECT max(accepted_at) FROM attempts WHERE attempts.server = servers.name), 0)"
    )
