"""What is kept: when files were last fetched, and which logs are gone since when, by which rule."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tombstones",
        sa.Column("kind", sa.Text, nullable=False),
        *(sa.Column(name, number, nullable=False) for name in ("first", "last")),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("kind", "first", name=op.f("pk_tombstones")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "given_out",
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_given_out")),
        sqlite_with_rowid=False,
    )
