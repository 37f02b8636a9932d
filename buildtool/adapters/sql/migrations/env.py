"""Run by Alembic; ``adapters/sql/upgrade.py`` hands the connection over, with its transaction begun."""

from alembic import context

from buildtool.adapters.sql.keeping.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes tables by copying them, which later revisions then do by themselves.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
