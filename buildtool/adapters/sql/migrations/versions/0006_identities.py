"""Identities: the keys of machines and people, and invitations to show one."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

Time = sa.Float(precision=53)


def upgrade() -> None:
    op.create_table(
        "identities",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", Time, nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("expires", Time, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_identities"),
    )
    op.create_table(
        "invitations",
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("made", Time, nullable=False),
        sa.Column("expires", Time, nullable=False),
        sa.Column("life", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("invited_by", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("void", sa.Text(), nullable=False),
        sa.Column("replaces", sa.Boolean(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_invitations"),
    )
