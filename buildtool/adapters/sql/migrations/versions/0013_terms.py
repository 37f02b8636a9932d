"""Terms: what builds are found by; and what is known of the revisions that were built."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.search.indexing import index_all

revision = "0013"
down_revision = "0012"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "terms",
        sa.Column("id", Number, nullable=False, autoincrement=False),
        sa.Column("kind", Number, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_terms"),
    )
    op.create_index("uq_terms_text", "terms", ["kind", "text"], unique=True)
    op.create_table(
        "build_terms",
        sa.Column("state", Number, nullable=False, autoincrement=False),
        sa.Column("term", Number, nullable=False, autoincrement=False),
        sa.Column("build", Number, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("state", "term", "build", name="pk_build_terms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "commits",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("revision", "source", name="pk_commits"),
    )
    index_all(op.get_bind())
    # Made after the rows: sorting them once is much faster than finding a place for each.
    op.create_index("ix_build_terms_build", "build_terms", ["build", "term"])
    for name in ("ix_builds_project", "ix_builds_state", "ix_builds_project_state"):
        op.drop_index(name, "builds")
