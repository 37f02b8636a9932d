"""What the optimisations below the stores are worth: processor time with and without each, in turns.

    python -m tests.benchmarks.statements

One JSON line for each: microseconds of processor time as it is, and without it. What does not pay is to go.
"""

import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from attrs import evolve
from pytest import MonkeyPatch  # noqa: PT013 - only this of it
from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.page_queries import SqlPages
from buildtool.adapters.sql.prepared import Prepared
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.model.records import AuditEvent
from buildtool.ports.pages import BuildsAsked
from tests.adapters.sql.test_broker_store import ARTIFACT, BUILD, REQUEST
from tests.support.inline import run

TURNS = 9
TIMES = 300


@contextmanager
def plain_statements() -> Iterator[None]:
    """Let SQLAlchemy run each statement as it runs any other."""

    def plain(self: Prepared, connection: Connection, *values: Any) -> Any:
        rows = [dict(row) for row in values]
        return connection.execute(self._statement, rows if len(rows) > 1 else rows[0] if rows else {})  # type: ignore[call-overload]

    def found(self: Prepared, connection: Connection, values: Any = None) -> list[Any]:
        return list(plain(self, connection, values or {}).all())

    with MonkeyPatch.context() as change:
        change.setattr(Prepared, "run", plain)
        change.setattr(Prepared, "rows", found)
        change.setattr(Prepared, "tuples", found)
        yield


def compare(name: str, act: Callable[[], object], without: Callable[[], Any], times: int) -> None:
    """Print how long an act takes with an optimisation and without it, the median of several turns."""
    took: dict[str, list[float]] = {"with": [], "without": []}
    for _ in range(TURNS):
        for which, context in (("with", nullcontext), ("without", without)):
            with context():
                act()
                gc.collect()
                began = time.process_time()
                for _ in range(times):
                    act()
                took[which].append((time.process_time() - began) / times * 1e6)
    told = {which: round(median(values), 1) for which, values in took.items()}
    print(json.dumps({"name": name, "unit": "us", **told}), flush=True)


def main() -> None:
    """Compare all of them."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        database = run(SqliteDatabase.open(Path(place) / "buildtool.sqlite", Inline()))
        store, pages = SqlBrokerStore(database), SqlPages(database)
        builds = [evolve(BUILD, id=number, key=f"k{number}") for number in range(1, 101)]
        run(store.commit([*builds, ARTIFACT], (), 0.0))
        wanted, asked = [ARTIFACT.shelf], evolve(REQUEST, artifact_id=1)
        event = [AuditEvent("request-hit", "request/1")]
        compare("what a hit looks up", lambda: run(store.known(wanted, ["c"], 1.0)), plain_statements, TIMES)
        compare("what a hit writes", lambda: run(store.commit([asked], event, 1.0)), plain_statements, TIMES)
        compare("a page of 50 builds", lambda: run(pages.builds(BuildsAsked())), plain_statements, TIMES)
        run(database.close())


if __name__ == "__main__":
    main()
