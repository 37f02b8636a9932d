"""Triggers: what each remembers of its last look, and which commit of which ref it asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "triggers",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("project", "name")),
        *(sa.Column(name, sa.Float(53), nullable=False) for name in ("looked", "asked")),
        sa.Column("said", sa.Text, nullable=False),
        sa.Column("failures", number, nullable=False),
        sa.Column("retry", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("project", "name", name=op.f("pk_triggers")),
    )
    op.create_table(
        "trigger_refs",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("project", "name", "ref", "revision")),
        sa.PrimaryKeyConstraint("project", "name", "ref", name=op.f("pk_trigger_refs")),
        sqlite_with_rowid=False,
    )
