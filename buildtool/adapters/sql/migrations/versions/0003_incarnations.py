"""Incarnations: the lives of a state directory, and who may write to it now."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.Float(precision=53)


def upgrade() -> None:
    op.create_table(
        "incarnations",
        sa.Column("number", Number, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("first_request", Number, nullable=False),
        sa.Column("first_build", Number, nullable=False),
        sa.Column("began", Time, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_incarnations"),
    )
    op.create_table(
        "tenure",
        sa.Column("id", Number, autoincrement=False, nullable=False),
        sa.Column("term", Number, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("since", Time, nullable=False),
        sa.Column("beat", Time, nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("database", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("sign", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("copied", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenure"),
    )
