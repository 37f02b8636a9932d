"""Evidence: in what sandbox something was made, and in what at least it is to be. Of what is there none is known."""

import sqlalchemy as sa

from buildtool.adapters.sql.migrations import add_columns

revision = "0015"
down_revision = "0014"

NONE = sa.text("'none'")


def upgrade() -> None:
    def level(name: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text(), nullable=False, server_default=NONE)

    add_columns("builds", level("demanded_sandbox"), before="place")
    add_columns("builds", level("failed_sandbox"), before="forced")
    add_columns("requests", level("demanded_sandbox"), before="ref")
    add_columns("attempts", level("sandbox"), before="log_tail")
    add_columns("artifacts", level("sandbox"))
    add_columns("failures", level("sandbox"))
    add_columns("build_lines", sa.Column("sandbox", sa.Text()), before="first_request")
