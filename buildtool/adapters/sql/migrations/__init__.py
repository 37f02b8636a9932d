"""What the revisions of the tables have in common."""

from typing import Any

import sqlalchemy as sa
from alembic import op

NONE = sa.text("''")
NEW = sa.text("0")


def add_columns(table: str, *columns: sa.Column[Any], before: str | None = None) -> None:
    """Add columns to a table; their defaults fill the rows that are there, and do not stay.

    SQLite changes a table by copying it: there they stand ``before`` another, as in tables that are made anew.
    """
    copied = op.get_bind().dialect.name == "sqlite"
    place: dict[str, Any] = {"insert_before": before} if copied else {}
    with op.batch_alter_table(table, recreate="always" if copied else "never") as batch:
        for column in columns:
            batch.add_column(column, **place)
    with op.batch_alter_table(table, recreate="always" if copied else "never") as batch:
        for column in columns:
            batch.alter_column(column.name, server_default=None)
