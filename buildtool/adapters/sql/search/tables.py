"""The tables of the search; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.schema import Number, metadata

__all__ = ["build_lines", "build_terms", "commits", "metadata", "terms"]

# What builds are found by: a term is a number for the text of a kind (model/search/terms.py). The builds of one state
# that have a term are a stretch of the table, in the order of lists; docs/adr has why.
terms = Table(
    "terms",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("kind", Number, nullable=False),
    Column("text", Text, nullable=False),
    Index("uq_terms_text", "kind", "text", unique=True),
)

build_terms = Table(
    "build_terms",
    metadata,
    Column("state", Number, nullable=False, autoincrement=False),
    Column("term", Number, nullable=False, autoincrement=False),
    Column("build", Number, nullable=False, autoincrement=False),
    PrimaryKeyConstraint("state", "term", "build"),
    Index("ix_build_terms_build", "build", "term"),
    sqlite_with_rowid=False,
)

# What the mirrors say of revisions that were asked for, each by its project and source ("lua https://..."); see
# model/search/commits.py.
commits = Table(
    "commits",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("source", "revision", "subject", "author")),
    Column("at", Float(53), nullable=False),
    PrimaryKeyConstraint("revision", "source"),
)

# What lists show of the builds that have ended, each whole in one row: line_table.py makes it of the other tables.
build_lines = Table(
    "build_lines",
    metadata,
    Column("build", Number, primary_key=True, autoincrement=False),
    *(Column(name, Text) for name in ("state", "project", "source", "revision", "options", "platform")),
    *(Column(name, Float(53)) for name in ("created_at", "started_at", "ended_at", "not_before")),
    Column("reason", Text),
    *(Column(name, Number) for name in ("place", "epoch", "attempt")),
    *(Column(name, Text) for name in ("server", "kind")),
    *(Column(name, Float(53)) for name in ("offered_at", "accepted_at", "attempt_ended_at")),
    *(Column(name, Text) for name in ("attempt_reason", "digest", "content_digest", "name")),
    Column("size", Number),
    *(Column(name, Text) for name in ("runs_on", "maker")),
    Column("built_at", Float(53)),
    *(Column(name, Text) for name in ("sandbox", "trust")),
    Column("first_request", Number),
    *(Column(name, Text) for name in ("ref", "revrange", "email", "subject")),
)
