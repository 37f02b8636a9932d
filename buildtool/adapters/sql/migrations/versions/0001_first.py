"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

QUEUED_BUILD = sa.text("state = 'queued'")
OPEN_BUILD = sa.text("state IN ('queued', 'running')")
REFUSED = sa.text("refused_at IS NOT NULL")
UNSENT = sa.text("sent_at IS NULL AND refused_at IS NULL")
GIVEN_OUT = sa.text("withdrawn = ''")
OPEN_ATTEMPT = sa.text("state <> 'ended'")
OPEN_REQUEST = sa.text("state = 'waiting'")

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Time = sa.Float(precision=53)


def upgrade() -> None:
    op.create_table(
        "builds",
        sa.Column("id", Number, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("recipe_version", Number, nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("native", sa.Boolean(), nullable=False),
        sa.Column("place", Number, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("not_before", Time, nullable=False),
        sa.Column("delays", Number, nullable=False),
        sa.Column("broken_on", sa.Text(), nullable=False),
        sa.Column("failed_on", sa.Text(), nullable=False),
        sa.Column("failed_platform", sa.Text(), nullable=False),
        sa.Column("failed_kind", sa.Text(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("first", sa.Boolean(), nullable=False),
        sa.Column("started_at", Time, nullable=True),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("deciding_epoch", Number, nullable=True),
        sa.Column("artifact_id", Number, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
    )
    op.create_index("ix_builds_queue", "builds", ["place"], sqlite_where=QUEUED_BUILD, postgresql_where=QUEUED_BUILD)
    op.create_index("ix_builds_project", "builds", ["project", "id"])
    op.create_index("ix_builds_project_state", "builds", ["project", "state", "id"])
    op.create_index("ix_builds_state", "builds", ["state", "id"])
    op.create_index(
        "uq_builds_open", "builds", ["key"], unique=True, sqlite_where=OPEN_BUILD, postgresql_where=OPEN_BUILD
    )

    op.create_table(
        "events",
        sa.Column("seq", Number, nullable=False),
        sa.Column("at", Time, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "failures",
        sa.Column("build_id", Number, autoincrement=False, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recipe_version", Number, nullable=False),
        sa.Column("options_digest", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("until", Time, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("build_id", name="pk_failures"),
    )
    op.create_index(
        "ix_failures_shelf", "failures", ["revision", "options_digest", "project", "source", "recipe_version"]
    )
    op.create_index("ix_failures_until", "failures", ["until"])

    op.create_table(
        "outbox",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("build_id", Number, nullable=True),
        sa.Column("request_ids", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("summary", sa.Boolean(), nullable=False),
        sa.Column("tries", Number, nullable=False),
        sa.Column("next_try", Time, nullable=False),
        sa.Column("sent_at", Time, nullable=True),
        sa.Column("refused_at", Time, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_outbox"),
    )
    op.create_index("ix_outbox_refused", "outbox", ["refused_at"], sqlite_where=REFUSED, postgresql_where=REFUSED)
    op.create_index("ix_outbox_unsent", "outbox", ["next_try"], sqlite_where=UNSENT, postgresql_where=UNSENT)

    op.create_table(
        "refusals",
        sa.Column("build_id", Number, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("until", Time, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("times", Number, nullable=False),
        sa.PrimaryKeyConstraint("build_id", "server", name="pk_refusals"),
    )
    op.create_table(
        "servers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("session", Number, nullable=False),
        sa.Column("capability", sa.Text(), nullable=False),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("since", Time, nullable=False),
        sa.Column("last_seen", Time, nullable=False),
        sa.Column("strikes", Number, nullable=False),
        sa.Column("quarantines", Number, nullable=False),
        sa.Column("quarantined_until", Time, nullable=False),
        sa.Column("quarantine_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_servers"),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", Number, autoincrement=False, nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recipe_version", Number, nullable=False),
        sa.Column("options_digest", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("build_id", Number, nullable=False),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.Text(), nullable=False),
        sa.Column("size", Number, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("built_at", Time, nullable=False),
        sa.Column("seconds", Time, nullable=False),
        sa.Column("withdrawn", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_artifacts_build_id"),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index("ix_artifacts_build", "artifacts", ["build_id"])
    op.create_index("ix_artifacts_digest", "artifacts", ["digest"])
    op.create_index(
        "ix_artifacts_shelf",
        "artifacts",
        ["revision", "options_digest", "project", "source", "recipe_version", "id"],
        sqlite_where=GIVEN_OUT,
        postgresql_where=GIVEN_OUT,
    )
    op.create_index(
        "ix_artifacts_size", "artifacts", ["withdrawn", "size"], sqlite_where=GIVEN_OUT, postgresql_where=GIVEN_OUT
    )

    op.create_table(
        "attempts",
        sa.Column("build_id", Number, nullable=False),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("session", Number, nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("offered_at", Time, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("accepted_at", Time, nullable=True),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("end", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("log_tail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_attempts_build_id"),
        sa.PrimaryKeyConstraint("build_id", "epoch", name="pk_attempts"),
    )
    op.create_index(
        "ix_attempts_open", "attempts", ["server"], sqlite_where=OPEN_ATTEMPT, postgresql_where=OPEN_ATTEMPT
    )

    op.create_table(
        "requests",
        sa.Column("id", Number, autoincrement=False, nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("recipe_version", Number, nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("native", sa.Boolean(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("revrange", sa.Text(), nullable=False),
        sa.Column("acceptable", sa.Text(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("admitted_at", Time, nullable=False),
        sa.Column("expires_at", Time, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("build_id", Number, nullable=True),
        sa.Column("joined", sa.Text(), nullable=False),
        sa.Column("artifact_id", Number, nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("group_first", Number, nullable=True),
        sa.Column("group_size", Number, nullable=False),
        sa.Column("group_due", sa.Boolean(), nullable=False),
        sa.Column("mail_error", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
        sa.UniqueConstraint("client_id", name="uq_requests_client_id"),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_requests_build_id"),
        sa.ForeignKeyConstraint(["artifact_id"], ["artifacts.id"], name="fk_requests_artifact_id"),
    )
    op.create_index("ix_requests_build", "requests", ["build_id", "id"])
    op.create_index("ix_requests_open", "requests", ["id"], sqlite_where=OPEN_REQUEST, postgresql_where=OPEN_REQUEST)
