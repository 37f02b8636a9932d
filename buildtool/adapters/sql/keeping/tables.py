"""The tables of what is kept; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.notices.tables import metadata
from buildtool.adapters.sql.schema import Number

__all__ = ["given_out", "metadata", "tombstones"]

# What is gone, by ranges of numbers; see model/keeping/gone.py.
tombstones = Table(
    "tombstones",
    metadata,
    Column("kind", Text, nullable=False),
    *(Column(name, Number, nullable=False) for name in ("first", "last")),
    Column("at", Float(53), nullable=False),
    Column("rule", Text, nullable=False),
    PrimaryKeyConstraint("kind", "first"),
    sqlite_with_rowid=False,
)

# When the file of each digest was last fetched, to the day, where that is later than when it was last asked for.
given_out = Table(
    "given_out",
    metadata,
    Column("digest", Text, nullable=False),
    Column("at", Float(53), nullable=False),
    PrimaryKeyConstraint("digest"),
    sqlite_with_rowid=False,
)
