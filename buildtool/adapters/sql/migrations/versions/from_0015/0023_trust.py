"""Trust of sources: whether what something was made of was on a ref that the project trusts.

What is there counts as trusted, as it did, unless somebody asked for it by the full name of a ref that is neither a
branch nor a tag. What is open of that has a key that no new request finds.
"""

import sqlalchemy as sa
from alembic import op

from buildtool.adapters.sql.migrations import add_columns

revision = "0023"
down_revision = "0022"

TRUSTED = sa.text("'trusted'")


def upgrade() -> None:
    def trust(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text(), nullable=False, server_default=TRUSTED)

    add_columns("builds", trust("demanded_trust"), before="place")
    add_columns("builds", trust("failed_trust"), before="forced")
    add_columns("requests", trust("demanded_trust"), before="ref")
    add_columns("attempts", trust("trust"), before="frozen_at")
    add_columns("artifacts", trust("trust"), before="need")
    add_columns("failures", trust("trust"))
    add_columns("build_lines", sa.Column("trust", sa.Text(), server_default=TRUSTED), before="first_request")
    requests = sa.table("requests", *map(sa.column, ("build_id", "ref", "demanded_trust")))
    ref = requests.c.ref
    strange = ref.startswith("refs/") & ~ref.startswith("refs/heads/") & ~ref.startswith("refs/tags/")
    builds = sa.select(requests.c.build_id).where(requests.c.build_id.is_not(None), strange)
    for name, column, of in (
        ("builds", "demanded_trust", "id"),
        ("builds", "failed_trust", "id"),
        ("attempts", "trust", "build_id"),
        ("artifacts", "trust", "build_id"),
        ("failures", "trust", "build_id"),
        ("build_lines", "trust", "build"),
        ("requests", "demanded_trust", "build_id"),
    ):
        table = sa.table(name, sa.column(column), sa.column(of))
        op.execute(table.update().where(table.c[of].in_(builds)).values({column: "untrusted"}))
    op.execute(requests.update().where(strange).values(demanded_trust="untrusted"))
    op.execute(
        "UPDATE builds SET key = 'untrusted ' || key"
        " WHERE demanded_trust = 'untrusted' AND state IN ('queued', 'running')"
    )
