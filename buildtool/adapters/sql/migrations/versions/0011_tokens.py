"""Tokens: what people and scripts act with over HTTP, and the sessions of browsers that were signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

Time = sa.Float(precision=53)


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("digest", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "key", "role", "name", "owner", "label")),
        sa.Column("acts", sa.Text(), nullable=False),
        sa.Column("made", Time, nullable=False),
        sa.Column("expires", Time, nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
    )
