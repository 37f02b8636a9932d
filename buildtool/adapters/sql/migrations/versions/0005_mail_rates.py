"""Mail rates: from where a request came, and the digest that a mail is told in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NONE = sa.text("''")


def upgrade() -> None:
    # A default fills the rows that are there; it does not stay, since the program always says what it means.
    for table, before, names in _ADDED:
        with op.batch_alter_table(table, recreate="always") as batch:
            for name in names:
                batch.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=NONE), insert_before=before)
    for table, _, names in _ADDED:
        with op.batch_alter_table(table, recreate="always") as batch:
            for name in names:
                batch.alter_column(name, server_default=None)
    op.create_index(
        "ix_outbox_digest",
        "outbox",
        ["digest"],
        sqlite_where=sa.text("sent_at IS NULL AND refused_at IS NULL AND digest != ''"),
        postgresql_where=sa.text("sent_at IS NULL AND refused_at IS NULL AND digest != ''"),
    )


_ADDED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("requests", "mail_error", ("asker",)),
    ("outbox", "tries", ("asker", "digest")),
)
