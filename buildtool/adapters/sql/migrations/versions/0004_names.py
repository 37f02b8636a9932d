"""Build servers: which instance and which address logged in last, and when it last began a build."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Time = sa.Float(precision=53)
NEW = sa.text("0")
NONE = sa.text("''")


def upgrade() -> None:
    # A default fills the rows that are there; it does not stay, since the program always says what it means.
    with op.batch_alter_table("servers", recreate="always") as servers:
        for name, kind, before in _COLUMNS:
            servers.add_column(sa.Column(name, kind, nullable=False, server_default=before))
    op.execute(
        "UPDATE servers SET used_at = coalesce("
        "(SELECT max(accepted_at) FROM attempts WHERE attempts.server = servers.name), 0)"
    )
    with op.batch_alter_table("servers", recreate="always") as servers:
        for name, _, _ in _COLUMNS:
            servers.alter_column(name, server_default=None)


_COLUMNS = (("instance", sa.Text(), NONE), ("origin", sa.Text(), NONE), ("used_at", Time, NEW))
