"""Notices: what forges and others are to be told of each commit, and what they were told."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "notices",
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("target", "key", "project", "revision", "ref", "context")
        ),
        sa.Column("request_id", number, nullable=False),
        sa.Column("build_id", number),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "reason")),
        sa.Column("at", sa.Float(53), nullable=False),
        *(sa.Column(name, number, nullable=False) for name in ("serial", "told")),
        sa.Column("told_state", sa.Text, nullable=False),
        sa.Column("told_at", sa.Float(53)),
        sa.Column("tries", number, nullable=False),
        sa.Column("next_try", sa.Float(53), nullable=False),
        sa.Column("refused_at", sa.Float(53)),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("target", "key", name=op.f("pk_notices")),
    )
    op.create_index("ix_notices_at", "notices", ["at"])
    untold = sa.text("told < serial AND refused_at IS NULL")
    op.create_index(
        "ix_notices_untold", "notices", ["target", "next_try"], sqlite_where=untold, postgresql_where=untold
    )
