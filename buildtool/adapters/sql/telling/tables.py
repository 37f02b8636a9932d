"""The tables of who is mailed about what; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.triggers.tables import metadata

__all__ = ["metadata", "unsubscribed"]

# Since when an address has no more mails about a topic; see model/telling/topics.py.
unsubscribed = Table(
    "unsubscribed",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("email", "topic")),
    Column("since", Float(53), nullable=False),
    PrimaryKeyConstraint("email", "topic"),
)
