"""The tables, as this version of the program has them; ``migrations`` leads every older database here.

Canonical values and lists are canonical JSON text, enums their values, times seconds of wall time as floats. Lists
are read newest first by id, so their indexes end in it; what is open is found by partial indexes of its own size.

Tested by tests/adapters/sql/test_migrations.py.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

REVISION = "0026"
"""The Alembic revision that these tables are; a database that has it is opened without running Alembic."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

Number = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; SQLite numbers rows by themselves only in a column that is called INTEGER."""


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number(name: str) -> Column[int]:
    return Column(name, Number, nullable=False)


def _time(name: str, *, nullable: bool = False) -> Column[float]:
    return Column(name, Float(53), nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _identity() -> Column[int]:
    return Column("id", Number, primary_key=True, autoincrement=False)


def spec_columns() -> tuple[Column[str] | Column[int] | Column[bool], ...]:
    """Return the columns of a BuildSpec. A Request has its own: it may differ from that of the Build it waits for."""
    return (
        *map(_text, ("project", "source", "revision")),
        _number("recipe_version"),
        *map(_text, ("options", "platform", "machine")),
        _flag("native"),
        *map(_text, ("demanded_sandbox", "demanded_trust")),
    )


def _shelf() -> tuple[Column[str] | Column[int], ...]:
    return (
        _text("project"),
        _text("source"),
        _number("recipe_version"),
        _text("options_digest"),
        _text("revision"),
    )


SHELF = ("revision", "options_digest", "project", "source", "recipe_version")
"""The columns of a ShelfKey as its indexes have them: what differs most comes first."""

QUEUED_BUILD = text("state = 'queued'")
OPEN_BUILD = text("state IN ('queued', 'running')")
OPEN_REQUEST = text("state = 'waiting'")
OPEN_ATTEMPT = text("state <> 'ended'")
GIVEN_OUT = text("withdrawn = ''")
UNSENT = text("sent_at IS NULL AND refused_at IS NULL")
REFUSED = text("refused_at IS NOT NULL")
HELD = text("sent_at IS NULL AND refused_at IS NULL AND digest != ''")
"""What partial indexes hold; a query says the same words, or the index is not used."""

builds = Table(
    "builds",
    metadata,
    _identity(),
    _text("key"),
    *spec_columns(),
    _number("place"),
    _time("created_at"),
    _text("state"),
    _number("epoch"),
    _time("not_before"),
    _number("delays"),
    *map(_text, ("broken_on", "failed_on", "failed_platform", "failed_kind", "failed_sandbox", "failed_trust")),
    _flag("forced"),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
    Column("deciding_epoch", Number),
    Column("artifact_id", Number),
    _text("reason"),
    _text("share"),
    _number("nice"),
    _time("base"),
    _time("tag"),
)
# Invariant: two open Builds never have the same BuildKey.
Index("uq_builds_open", builds.c.key, unique=True, sqlite_where=OPEN_BUILD, postgresql_where=OPEN_BUILD)
Index("ix_builds_queue", builds.c.place, sqlite_where=QUEUED_BUILD, postgresql_where=QUEUED_BUILD)

artifacts = Table(
    "artifacts",
    metadata,
    _identity(),
    *_shelf(),
    _text("options"),
    _text("platform"),
    _text("kind"),
    Column("build_id", Number, ForeignKey("builds.id"), nullable=False),
    _number("epoch"),
    _text("server"),
    _text("digest"),
    _text("content_digest"),
    _number("size"),
    _text("name"),
    _time("built_at"),
    _time("seconds"),
    _text("withdrawn"),
    *map(_text, ("sandbox", "trust")),
    _text("need"),
    Index("ix_artifacts_digest", "digest"),
    Index("ix_artifacts_build", "build_id"),
)
Index(
    "ix_artifacts_shelf",
    *(artifacts.c[name] for name in (*SHELF, "id")),
    sqlite_where=GIVEN_OUT,
    postgresql_where=GIVEN_OUT,
)
# With the column of its own condition, which SQLite would otherwise look up in the table.
Index("ix_artifacts_size", artifacts.c.withdrawn, artifacts.c.size, sqlite_where=GIVEN_OUT, postgresql_where=GIVEN_OUT)

requests = Table(
    "requests",
    metadata,
    _identity(),
    Column("client_id", Text, nullable=False, unique=True),
    _text("body_digest"),
    _text("email"),
    *spec_columns(),
    _text("ref"),
    _text("revrange"),
    _text("acceptable"),
    _flag("force"),
    _time("admitted_at"),
    _time("expires_at"),
    _text("state"),
    Column("build_id", Number, ForeignKey("builds.id")),
    _text("joined"),
    Column("artifact_id", Number, ForeignKey("artifacts.id")),
    _text("answer"),
    _text("reason"),
    _time("ended_at", nullable=True),
    Column("group_first", Number),
    _number("group_size"),
    _flag("group_due"),
    _text("asker"),
    _text("share"),
    _number("nice"),
    _time("base"),
    # Written by the mailer alone: the broker's rows of a Request do not have it and never overwrite it.
    Column("mail_error", Text, nullable=False, server_default=text("''")),
    Index("ix_requests_build", "build_id", "id"),
)
Index("ix_requests_open", requests.c.id, sqlite_where=OPEN_REQUEST, postgresql_where=OPEN_REQUEST)

attempts = Table(
    "attempts",
    metadata,
    Column("build_id", Number, ForeignKey("builds.id"), nullable=False),
    _number("epoch"),
    _text("server"),
    _number("session"),
    _text("platform"),
    _text("kind"),
    _time("offered_at"),
    _text("state"),
    _time("accepted_at", nullable=True),
    _time("ended_at", nullable=True),
    Column("end", Text),
    _text("reason"),
    _flag("suspected"),
    _flag("struck"),
    *map(_text, ("sandbox", "trust")),
    _time("frozen_at", nullable=True),
    _time("rested"),
    _time("processor", nullable=True),
    # Last, so that reading the others does not walk through its pages.
    _text("log_tail"),
    PrimaryKeyConstraint("build_id", "epoch"),
)
Index("ix_attempts_open", attempts.c.server, sqlite_where=OPEN_ATTEMPT, postgresql_where=OPEN_ATTEMPT)

servers = Table(
    "servers",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    _number("session"),
    _text("capability"),
    _flag("connected"),
    _time("since"),
    _time("last_seen"),
    _number("strikes"),
    _number("quarantines"),
    _time("quarantined_until"),
    _text("quarantine_reason"),
    _time("missing_since"),
    _flag("missing_told"),
    _text("paused"),
    _flag("finishing"),
    _flag("draining"),
    _text("instance"),
    _text("origin"),
    _time("used_at"),
    _text("owner"),
    _text("closed"),
    _time("closed_until"),
    _text("away"),
)

refusals = Table(
    "refusals",
    metadata,
    _number("build_id"),
    _text("server"),
    _time("until"),
    _text("reason"),
    _number("times"),
    PrimaryKeyConstraint("build_id", "server"),
)

failures = Table(
    "failures",
    metadata,
    Column("build_id", Number, primary_key=True, autoincrement=False),
    *_shelf(),
    _text("platform"),
    _text("kind"),
    _time("until"),
    _text("reason"),
    *map(_text, ("sandbox", "trust")),
    Index("ix_failures_shelf", *SHELF),
    Index("ix_failures_until", "until"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", Text, primary_key=True, nullable=False),
    _text("email"),
    Column("build_id", Number),
    _text("request_ids"),
    _text("outcome"),
    _time("created_at"),
    _flag("summary"),
    _text("server"),
    _text("asker"),
    *(_text(name) for name in ("purpose", "about", "digest")),
    _number("tries"),
    _time("next_try"),
    _time("sent_at", nullable=True),
    _time("refused_at", nullable=True),
    _text("last_error"),
)
Index("ix_outbox_unsent", outbox.c.next_try, sqlite_where=UNSENT, postgresql_where=UNSENT)
Index("ix_outbox_digest", outbox.c.digest, sqlite_where=HELD, postgresql_where=HELD)
Index("ix_outbox_refused", outbox.c.refused_at, sqlite_where=REFUSED, postgresql_where=REFUSED)

events = Table(
    "events",
    metadata,
    Column("seq", Number, primary_key=True),
    _time("at"),
    _text("kind"),
    _text("subject"),
    _text("detail"),
    # A number that was pruned is never given again, so that a reader can resume by it.
    sqlite_autoincrement=True,
)

# What happened in each hour (numbered since 1970) of those kinds that charts are drawn of: how often, and how many
# seconds it took or saved in all. Rows of history may be deleted; what is added up here stays.
hours = Table(
    "hours",
    metadata,
    _number("hour"),
    _text("kind"),
    _number("times"),
    _time("seconds"),
    PrimaryKeyConstraint("hour", "kind"),
)

incarnations = Table(
    "incarnations",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=False),
    _text("id"),
    _number("first_request"),
    _number("first_build"),
    _time("began"),
    _text("reason"),
)

# The keys of machines and people, and who is invited to show one; see model/access/identities.py.
identities = Table(
    "identities",
    metadata,
    Column("key", Text, primary_key=True, nullable=False),
    _text("name"),
    _text("role"),
    _text("state"),
    _time("since"),
    _text("certificate"),
    _time("expires"),
    _text("owner"),
    _text("invited_by"),
    _text("reason"),
    _text("limits"),
)

invitations = Table(
    "invitations",
    metadata,
    Column("token", Text, primary_key=True, nullable=False),
    _text("name"),
    _text("role"),
    _time("made"),
    _time("expires"),
    _text("life"),
    _text("owner"),
    _text("invited_by"),
    _text("key"),
    _text("void"),
    _flag("replaces"),
    _time("shown_again"),
    _text("shown_from"),
    _text("limits"),
)

addresses = Table(
    "addresses",
    metadata,
    Column("email", Text, primary_key=True, nullable=False),
    _time("mailed_at"),
    _time("expires"),
    _text("code"),
    _time("confirmed_at"),
)

# What people and scripts act with over HTTP, and the sessions of browsers; see model/access/tokens.py.
tokens = Table(
    "tokens",
    metadata,
    Column("digest", Text, primary_key=True, nullable=False),
    *map(_text, ("kind", "key", "role", "name", "owner", "label", "acts")),
    _time("made"),
    _time("expires"),
    _text("life"),
    _text("parent"),
)

# One row: who may write, and where the directory lay when they began.
tenure = Table(
    "tenure",
    metadata,
    _identity(),
    _number("term"),
    _text("holder"),
    _time("since"),
    _time("beat"),
    _text("directory"),
    _text("database"),
    _text("machine"),
    _text("sign"),
    _text("fingerprint"),
    _text("copied"),
)
