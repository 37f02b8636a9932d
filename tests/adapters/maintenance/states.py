"""A state directory with something of everything in it, and ways to damage it."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.key_file import load_key
from buildtool.adapters.storage.logs import LogStore
from buildtool.model.records import Artifact, AttemptEnd, AttemptState, Build, BuildState, Mail, Request, RequestState
from tests.support.inline import run
from tests.web import fake_pages, farm

NOW = fake_pages.NOW
BYTES = b"PK these are the bytes of an artifact " * 2_000
DIGEST = hashlib.sha256(BYTES).hexdigest()
LOG = b"".join(b"cc -c %s.c\n" % hashlib.sha256(bytes([number])).hexdigest().encode() for number in range(200)) * 40


def build(number: int, state: BuildState, **more: Any) -> Build:
    return farm.build(number, state, 1_000, **more)


def request(number: int, made: Build, state: RequestState, **more: Any) -> Request:
    return farm.request(number, made, "ada@example.org", state, **more)


def artifact(made: Build, number: int, data: bytes = BYTES) -> Artifact:
    digest = hashlib.sha256(data).hexdigest()
    return evolve(farm.artifact(made, number), digest=digest, size=len(data))


DONE = build(1, BuildState.SUCCEEDED, epoch=1, deciding_epoch=1, artifact_id=1, started_at=NOW - 900, ended_at=NOW)
QUEUED = build(2, BuildState.QUEUED)
RUNNING = build(5, BuildState.RUNNING, epoch=2, started_at=NOW - 900)
CLOSED = build(7, BuildState.CANCELLED, epoch=1, ended_at=NOW - 100)

ROWS = (
    farm.server("elm", farm.X86),
    DONE,
    QUEUED,
    RUNNING,
    CLOSED,
    artifact(DONE, 1),
    request(1, DONE, RequestState.SATISFIED, artifact_id=1, ended_at=NOW),
    request(2, QUEUED, RequestState.WAITING),
    request(5, RUNNING, RequestState.WAITING),
    request(7, CLOSED, RequestState.CANCELLED, ended_at=NOW - 100),
    farm.attempt(1, 1, "elm", 900, AttemptEnd.SUCCEEDED),
    farm.attempt(5, 1, "elm", 900, AttemptEnd.LOST),
    farm.attempt(5, 2, "elm", 300, None),
    # Its Build is closed, and its server has not said yet that the processes are gone.
    evolve(farm.attempt(7, 1, "elm", 300, None), state=AttemptState.ABORTING),
    Mail("mail-1", "ada@example.org", 1, (1,), RequestState.SATISFIED, NOW),
)


def make(directory: Path) -> None:
    """Write a sound state directory: one artifact, a finished and a growing log, an upload that goes on, a key."""
    artifacts, logs = ArtifactStore(directory, Inline()), LogStore(directory, Inline())
    run(artifacts.start())
    run(logs.start())
    put(artifacts, 1, BYTES)
    upload = run(artifacts.uploads.begin(5, 2, 0, 100, lambda: None))
    run(upload.write([b"half of it"]))
    run(upload.close())
    run(logs.append(1, 1, 0, LOG, len(LOG)))
    run(logs.finish(1, 1))
    run(logs.append(5, 2, 0, b"cc -c lua.c\n", 1_000))
    load_key(directory / "key")
    database = run(SqliteDatabase.open(directory / "buildtool.sqlite", Inline()))
    run(SqlBrokerStore(database).commit(ROWS, (), NOW))
    run(database.close())


def put(artifacts: ArtifactStore, build_id: int, data: bytes) -> str:
    """Publish an artifact's file."""
    digest = hashlib.sha256(data).hexdigest()
    upload = run(artifacts.uploads.begin(build_id, 1, 0, len(data), lambda: None))
    run(upload.write([data]))
    run(upload.close())
    run(artifacts.publish(build_id, 1, digest, len(data)))
    return digest


def stored(directory: Path, digest: str = DIGEST) -> Path:
    return directory / "artifacts" / digest[:2] / f"{digest}.zip"


@contextmanager
def opened(directory: Path) -> Iterator[sqlite3.Connection]:
    """The database, without any of the rules that the metaserver keeps."""
    with closing(sqlite3.connect(directory / "buildtool.sqlite", isolation_level=None)) as connection:
        yield connection


def spoil(directory: Path, *statements: str) -> None:
    """Change rows behind everybody's back."""
    with opened(directory) as connection:
        for statement in statements:
            connection.execute(statement)


def soil(path: Path, at: int = -1) -> None:
    """Change one byte of a file, and neither its size nor its time: as a bad disk does."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    with path.open("r+b") as file:
        file.write(data)

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
