"""The tables of what machines did; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.schema import Number
from buildtool.adapters.sql.search.tables import metadata

__all__ = ["metadata", "work", "work_requesters"]

# What a build server did for a project in a month (such as "2026-11", UTC): attempts that it had begun, by how they
# ended; seconds of processors, of how many attempts those are not known, seconds that they ran, bytes of artifacts.
work = Table(
    "work",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("server", "month", "project")),
    *(Column(name, Number, nullable=False) for name in ("good", "failed", "other", "unmeasured")),
    *(Column(name, Float(53), nullable=False) for name in ("processor", "wall")),
    Column("size", Number, nullable=False),
    PrimaryKeyConstraint("server", "month", "project"),
)

# For whom it did that: an address once, so that they can be counted.
work_requesters = Table(
    "work_requesters",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("server", "month", "project", "email")),
    PrimaryKeyConstraint("server", "month", "project", "email"),
    sqlite_with_rowid=False,
)
