"""Hooks: deliveries of forges that were taken, so that none is taken twice and none is forgotten before a look."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "hook_deliveries",
        sa.Column("number", number, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("project", "mark", "forge", "id", "said")),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("open", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_hook_deliveries")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hook_deliveries_mark", "hook_deliveries", ["project", "mark"], unique=True)
    op.create_index("ix_hook_deliveries_project", "hook_deliveries", ["project", "number"])
