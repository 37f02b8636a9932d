"""Leases: Attempts that may come back, servers that are missing, paused or leave, mail to the owners of machines."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Time = sa.Float(precision=53)
NEW = sa.text("0")
NONE = sa.text("''")


def upgrade() -> None:
    # A default fills the rows that are there; it does not stay, since the program always says what it means.
    op.drop_column("builds", "first")
    for table, before, columns in _ADDED:
        with op.batch_alter_table(table, recreate="always") as batch:
            for column in columns:
                batch.add_column(column, insert_before=before)
    for table, _, columns in _ADDED:
        with op.batch_alter_table(table, recreate="always") as batch:
            for column in columns:
                batch.alter_column(column.name, server_default=None)


_ADDED: tuple[tuple[str, str | None, tuple[sa.Column[object], ...]], ...] = (
    (
        "attempts",
        "log_tail",
        (
            sa.Column("suspected", sa.Boolean(), nullable=False, server_default=NEW),
            sa.Column("struck", sa.Boolean(), nullable=False, server_default=NEW),
        ),
    ),
    (
        "servers",
        None,
        (
            sa.Column("missing_since", Time, nullable=False, server_default=NEW),
            sa.Column("missing_told", sa.Boolean(), nullable=False, server_default=NEW),
            sa.Column("paused", sa.Text(), nullable=False, server_default=NONE),
            sa.Column("draining", sa.Boolean(), nullable=False, server_default=NEW),
        ),
    ),
    ("outbox", "tries", (sa.Column("server", sa.Text(), nullable=False, server_default=NONE),)),
)
