"""The tables of who is mailed about what; ``metadata`` is that of all tables, of which these are a part.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, PrimaryKeyConstraint, Table, Text

from buildtool.adapters.sql.schema import Number
from buildtool.adapters.sql.triggers.tables import metadata

__all__ = ["metadata", "unsubscribed", "watches"]

# Since when an address has no more mails about a topic; see model/telling/topics.py.
unsubscribed = Table(
    "unsubscribed",
    metadata,
    *(Column(name, Text, nullable=False) for name in ("email", "topic")),
    Column("since", Float(53), nullable=False),
    PrimaryKeyConstraint("email", "topic"),
)

# Who wants to be told of each new binary of a branch, and what of it was seen; see model/telling/watch.py.
watches = Table(
    "watches",
    metadata,
    Column("id", Number, primary_key=True, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("email", "project", "source", "ref", "wish")),
    Column("made", Float(53), nullable=False),
    Column("asks", Number, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("digest", "name", "key", "owner", "address")),
    Column("trusted", Number, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("tip", "awaited")),
    Column("moves", Number, nullable=False),
)
