"""The table of notices; ``metadata`` is that of all tables, of which it is a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, PrimaryKeyConstraint, Table, Text, text

from buildtool.adapters.sql.schema import Number
from buildtool.adapters.sql.telling.tables import metadata

__all__ = ["UNTOLD", "metadata", "notices"]

UNTOLD = text("told < serial AND refused_at IS NULL")
"""What the partial index holds; a query says the same words."""

# What each target is to be told of each destination key: its newest notice, the ``serial``-th, and what was told of it.
notices = Table(
    "notices",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("target", "key", "project", "revision", "ref", "context")),
    Column("request_id", Number, nullable=False),
    Column("build_id", Number),
    *(Column(name, Text, nullable=False) for name in ("state", "reason")),
    Column("at", Float(53), nullable=False),
    *(Column(name, Number, nullable=False) for name in ("serial", "told")),
    Column("told_state", Text, nullable=False),
    Column("told_at", Float(53)),
    Column("tries", Number, nullable=False),
    Column("next_try", Float(53), nullable=False),
    Column("refused_at", Float(53)),
    Column("last_error", Text, nullable=False),
    PrimaryKeyConstraint("target", "key"),
    Index("ix_notices_at", "at"),
)
Index("ix_notices_untold", notices.c.target, notices.c.next_try, sqlite_where=UNTOLD, postgresql_where=UNTOLD)
