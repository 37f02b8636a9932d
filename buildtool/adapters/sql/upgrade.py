"""Which revision of the tables a database has, and how it comes to the one of this program.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select

from buildtool.adapters.sql.keeping.tables import metadata
from buildtool.adapters.sql.schema import REVISION
from buildtool.errors import NewerDatabase, StorageUnavailable

if TYPE_CHECKING:
    from alembic.config import Config

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic notes the revision."""


def upgrade(name: str, connection: Connection) -> None:
    """Make the tables of the database ``name`` those of this program, if they are not.

    Raises NewerDatabase for one that a newer version wrote, StorageUnavailable for one of another program.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        metadata.create_all(connection)  # a test says that this and all migrations make the same
        _VERSION.create(connection)
        connection.execute(insert(_VERSION).values(version_num=REVISION))
    elif _VERSION.name not in tables:
        raise StorageUnavailable(f"{name} is the database of another program: it has a table {tables[0]}")
    elif (revision := str(connection.execute(select(_VERSION)).scalar())) != REVISION:
        if not is_known(revision):
            raise newer(name, revision)
        migrate(connection)


def migrate(connection: Connection, revision: str = "head") -> None:
    """Migrate an older database, or an empty one, to a revision."""
    from alembic import command  # noqa: PLC0415 - slow to import, and mostly there is nothing to do

    config = _alembic()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def is_known(revision: str) -> bool:
    """Return whether a revision is this program's, or one that it can upgrade."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    scripts = ScriptDirectory.from_config(_alembic())
    return revision in {script.revision for script in scripts.walk_revisions()}


def newer(name: str, revision: str) -> NewerDatabase:
    """Return the error for a database of a newer version."""
    return NewerDatabase(
        f"{name} has revision {revision}, written by a newer version of this program; this one knows revisions "
        f"up to {REVISION}: update the program, or use another state directory"
    )


def _alembic() -> Config:
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "buildtool:adapters/sql/migrations")
    config.set_main_option("path_separator", "os")
    config.set_main_option("recursive_version_locations", "true")
    return config
