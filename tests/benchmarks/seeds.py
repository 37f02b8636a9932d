"""Databases with a past: filled through the broker's own store, with the rows that the broker itself would write."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildState,
    Demand,
    Refusal,
    Request,
    RequestState,
    Row,
)
from buildtool.model.servers import OfferKind
from tests.benchmarks.world import World
from tests.support.inline import run

BATCH = 2_000
SERVER = "bench-1"
_DAY = 86_400.0


def fill(state_dir: Path, groups: Iterable[tuple[Row, ...]]) -> None:
    """Write rows into the database of ``state_dir``, which is made if need be; nobody else may have it open."""
    state_dir.mkdir(parents=True, exist_ok=True)
    database = run(SqliteDatabase.open(state_dir / "buildtool.sqlite", Inline()))
    store = SqlBrokerStore(database)
    rest = iter(groups)
    while batch := list(islice(rest, BATCH)):
        run(store.commit([row for group in batch for row in group], (), time.time()))
    run(database.close())


def queued(world: World, number: int, first: int, *, refused: bool = False) -> tuple[Row, ...]:
    """Return an open Build and its Request as they stand while they wait; refused by ``SERVER`` if said so."""
    now, spec = time.time(), world.spec(first + number)
    build = Build(id=number, key=spec.key(), spec=spec, place=number, created_at=now)
    request = Request(
        id=number,
        client_id=f"{number:032x}",
        body_digest=hashlib.sha256(b"%d" % number).hexdigest(),
        email=f"somebody-{number % 50}@example.org",
        demand=Demand(spec, spec.revision, "", (spec.revision,)),
        force=False,
        admitted_at=now,
        expires_at=now + 7 * _DAY,
        build_id=number,
        answer="queued",
    )
    refusal = Refusal(number, SERVER, now + _DAY, "the owner of this machine needs it now")
    return (build, request, refusal) if refused else (build, request)


def built(world: World, number: int, state_dir: Path) -> tuple[Row, ...]:
    """Return a Build that succeeded with its Attempt, Artifact and Request; the artifact's file is made."""
    now, spec, content = time.time() - _DAY, world.spec(number), b"artifact %d" % number
    digest = hashlib.sha256(content).hexdigest()
    server = f"bench-{number % 16}"
    build = Build(
        id=number,
        key=spec.key(),
        spec=spec,
        place=number,
        created_at=now,
        state=BuildState.SUCCEEDED,
        epoch=1,
        started_at=now + 1,
        ended_at=now + 3,
        deciding_epoch=1,
        artifact_id=number,
    )
    attempt = Attempt(
        build_id=number,
        epoch=1,
        server=server,
        session=1,
        platform=spec.platform,
        kind=OfferKind.NATIVE,
        offered_at=now + 1,
        state=AttemptState.ENDED,
        accepted_at=now + 1,
        ended_at=now + 3,
        end=AttemptEnd.SUCCEEDED,
        log_tail="the end of a log\n" * 20,
        evidence=spec.policy.least,
    )
    artifact = Artifact(
        id=number,
        shelf=spec.shelf,
        options=spec.options,
        platform=spec.platform,
        kind=OfferKind.NATIVE,
        build_id=number,
        epoch=1,
        server=server,
        digest=digest,
        content_digest=digest,
        size=len(content),
        name=f"noop-{spec.revision[:12]}-linux-x86_64-{number:08x}.zip",
        built_at=now + 3,
        seconds=2.0,
        evidence=spec.policy.least,
    )
    request = Request(
        id=number,
        client_id=f"{number:032x}",
        body_digest=digest,
        email=f"somebody-{number % 50}@example.org",
        demand=Demand(spec, spec.revision, "", (spec.revision,)),
        force=False,
        admitted_at=now,
        expires_at=now + 7 * _DAY,
        state=RequestState.SATISFIED,
        build_id=number,
        artifact_id=number,
        answer="dispatched",
        ended_at=now + 3,
    )
    put_artifact(state_dir, digest, content)
    return build, attempt, artifact, request


def put_artifact(state_dir: Path, digest: str, content: bytes) -> None:
    """Write an artifact's file where the metaserver keeps it."""
    path = f"{state_dir}/artifacts/{digest[:2]}/{digest}.zip"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, content)
    os.close(descriptor)
