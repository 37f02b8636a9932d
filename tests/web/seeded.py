"""The farm of ``tests/web/farm.py`` in a real database, with the pages in a process of their own before it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifacts import stored_path
from buildtool.adapters.storage.logs import LogStore
from buildtool.demo.local_farm import Program
from buildtool.model.records import Artifact
from tests.support import warm_starts
from tests.web.fake_pages import NOW
from tests.web.farm import LOG, farm

ROOT = Path(__file__).resolve().parents[2]


def configure(directory: Path) -> Path:
    """Return a configuration that keeps its state in `directory` and takes any free port."""
    path = directory / "config.py"
    project = ROOT / "testproject/config.py"
    path.write_text(f'state_dir = "state"\ntrusted = "loopback"\nprojects = [load({str(project)!r})]\n')
    (directory / "state").mkdir()
    return path


async def fill(state: Path) -> None:
    """Write a farm into a new database, and the log of one attempt, as a metaserver does."""
    database = await SqliteDatabase.open(state / "buildtool.sqlite", Inline())
    rows = farm()
    await SqlBrokerStore(database).commit(
        [*rows.requests, *rows.builds_made, *rows.attempts, *rows.artifacts, *rows.servers], [], NOW
    )
    await database.close()
    logs = LogStore(state, Inline())
    await logs.start()
    await logs.append(3, 2, 0, LOG.encode(), 10_000)


async def fill_artifact(state: Path, made: Artifact, data: bytes) -> None:
    """Write an artifact that is told of, and its bytes, as a metaserver does."""
    database = await SqliteDatabase.open(state / "buildtool.sqlite", Inline())
    await SqlBrokerStore(database).commit([made], [], NOW)
    await database.close()
    path = stored_path(state, made.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@contextmanager
def pages(configuration: Path) -> Iterator[str]:
    """Start ``bin/webserver`` over a configuration; yield the address of its pages."""
    words = [sys.executable, str(ROOT / "bin/webserver"), "--config", str(configuration), "--port", "0"]
    program = Program.start("webserver", words, {"PATH": "/usr/bin:/bin"}, warm_starts.begin)
    try:
        yield program.wait_for(r"pages on (http://127\.0\.0\.1:\d+)/")[1]
    finally:
        program.stop()
