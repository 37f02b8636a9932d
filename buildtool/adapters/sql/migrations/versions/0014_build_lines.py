"""Lines: what lists show of the builds that have ended, each in one row; made of the rows that there are."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
TEXTS = {
    "state", "project", "source", "revision", "options", "platform", "reason", "server", "kind", "attempt_reason",
    "digest", "content_digest", "name", "runs_on", "maker", "ref", "revrange", "email", "subject",
}  # fmt: skip
NUMBERS = {"place", "epoch", "attempt", "size", "first_request"}

MADE_OF = {
    "build": "b.id", "state": "b.state", "project": "b.project", "source": "b.source", "revision": "b.revision",
    "options": "b.options", "platform": "b.platform", "created_at": "b.created_at", "started_at": "b.started_at",
    "ended_at": "b.ended_at", "not_before": "b.not_before", "reason": "b.reason", "place": "b.place",
    "epoch": "b.epoch", "attempt": "a.epoch", "server": "a.server", "kind": "a.kind", "offered_at": "a.offered_at",
    "accepted_at": "a.accepted_at", "attempt_ended_at": "a.ended_at", "attempt_reason": "a.reason",
    "digest": "f.digest", "content_digest": "f.content_digest", "name": "f.name", "size": "f.size",
    "runs_on": "f.platform", "maker": "f.server", "built_at": "f.built_at", "first_request": "r.id", "ref": "r.ref",
    "revrange": "r.revrange", "email": "r.email", "subject": "c.subject",
}  # fmt: skip

JOINED = """
FROM builds b
LEFT JOIN attempts a ON a.build_id = b.id AND a.epoch = coalesce(b.deciding_epoch, b.epoch)
LEFT JOIN artifacts f ON f.id = b.artifact_id AND f.withdrawn = ''
LEFT JOIN requests r ON r.id = (SELECT min(counted.id) FROM requests counted WHERE counted.build_id = b.id)
LEFT JOIN commits c ON c.revision = b.revision AND c.source = b.project || ' ' || b.source
WHERE b.state NOT IN ('queued', 'running')
ORDER BY b.id
"""


def upgrade() -> None:
    op.create_table(
        "build_lines",
        sa.Column("build", Number, nullable=False, autoincrement=False),
        *(sa.Column(name, _type(name)) for name in MADE_OF if name != "build"),
        sa.PrimaryKeyConstraint("build", name="pk_build_lines"),
    )
    op.execute(f"INSERT INTO build_lines ({', '.join(MADE_OF)}) SELECT {', '.join(MADE_OF.values())} {JOINED}")


def _type(name: str) -> sa.types.TypeEngine[Any]:
    if name in NUMBERS:
        return Number
    return sa.Text() if name in TEXTS else sa.Float(precision=53)
