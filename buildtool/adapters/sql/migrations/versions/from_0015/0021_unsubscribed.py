"""Mails that people have ended with one click."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.create_table(
        "unsubscribed",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("email", "topic")),
        sa.Column("since", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("email", "topic", name=op.f("pk_unsubscribed")),
    )
