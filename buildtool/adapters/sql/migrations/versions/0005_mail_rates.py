"""Mail rates: from where a request came, and the digest that a mail is told in."""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import NONE, add_columns

revision = "0005"
down_revision = "0004"

HELD = sa.text("sent_at IS NULL AND refused_at IS NULL AND digest != ''")


def upgrade() -> None:
    add_columns("requests", sa.Column("asker", sa.Text(), nullable=False, server_default=NONE), before="mail_error")
    added = (sa.Column(name, sa.Text(), nullable=False, server_default=NONE) for name in ("asker", "digest"))
    add_columns("outbox", *added, before="tries")
    op.create_index("ix_outbox_digest", "outbox", ["digest"], sqlite_where=HELD, postgresql_where=HELD)
