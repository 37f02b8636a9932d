"""The tables of triggers; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.schema import Number
from buildtool.adapters.sql.work.tables import metadata

__all__ = ["hook_deliveries", "metadata", "trigger_refs", "triggers"]

# What came of each trigger's last look; see model/triggers/looking.py.
triggers = Table(
    "triggers",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("project", "name")),
    *(Column(name, Float(53), nullable=False) for name in ("looked", "asked")),
    Column("said", Text, nullable=False),
    Column("failures", Number, nullable=False),
    Column("retry", Float(53), nullable=False),
    PrimaryKeyConstraint("project", "name"),
)

# The commit of each ref that a trigger asked for, or that was there before it.
trigger_refs = Table(
    "trigger_refs",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("project", "name", "ref", "revision")),
    PrimaryKeyConstraint("project", "name", "ref"),
    sqlite_with_rowid=False,
)

# Deliveries of forges that were taken; ``open`` until a look was made after them. See model/hooks/delivery.py.
hook_deliveries = Table(
    "hook_deliveries",
    metadata,
    Column("number", Number, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("project", "mark", "forge", "id", "said")),
    Column("at", Float(53), nullable=False),
    Column("open", Boolean, nullable=False),
    Index("ix_hook_deliveries_mark", "project", "mark", unique=True),
    Index("ix_hook_deliveries_project", "project", "number"),
    # A number that is forgotten is never given again: what is open is closed up to a number.
    sqlite_autoincrement=True,
)
