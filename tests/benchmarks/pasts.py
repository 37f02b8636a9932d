"""A long past, the same each time: builds with attempts, artifacts, requests and commits.

Each table is filled by one statement of SQLite's. The columns are those that the stores write for a record; what
differs from one build to the next is drawn from its number. Tested by tests/benchmarks/test_pasts.py.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import Connection

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql import rows
from buildtool.adapters.sql.search.indexing import index_all
from buildtool.adapters.sql.search.line_table import mend
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.model.records import (
    Artifact,
    Attempt,
    AttemptEnd,
    AttemptState,
    Build,
    BuildSpec,
    BuildState,
    Demand,
    Request,
    RequestState,
)
from buildtool.model.servers import OfferKind
from buildtool.model.trust.evidence import TRUSTED_ONLY
from tests.support.inline import run

BEGAN = 1_700_000_000.0
"""When the first build was asked for (wall time); each minute there is another."""

PROJECTS = ("noop", *(f"project-{number}" for number in range(1, 20)))
ARCHES = ("x86_64", "aarch64", "ppc64le", "ppc", "armv7l", "i686", "riscv64", "s390x")
GCS = ("boehm", "none", "minimark", "incminimark", "hybrid", "semispace")
SERVERS, PEOPLE, BRANCHES = 60, 200, 25
BUILDS_OF_A_REVISION = 5

_PLATFORM = (("arch", "ARCH"), ("libc", "glibc"), ("libc_version", "2.36"), ("os", "linux"))
_OPTIONS = (("checks", True), ("gc", "GC"), ("width", 80))


def _drawn(salt: int, most: int) -> str:
    """Return SQL for a number below ``most`` that a build's number ``i`` draws."""
    mixed = f"((i * 2654435761 + {salt} * 2246822519) % 4294967296 >> 5)"
    return f"(({mixed} * {mixed} >> 17) % {most})"


def _rare_last(salt: int, most: int) -> str:
    """Return SQL for a number below ``most``, of which the smaller ones come much more often."""
    return f"({_drawn(salt, 1000)} * {_drawn(salt + 7, 1000)} * {most} / 1000000)"


_NUMBER = _rare_last(1, len(PROJECTS))
_PROJECT = f"CASE {_NUMBER} WHEN 0 THEN 'noop' ELSE 'project-' || {_NUMBER} END"
_DIGITS = [f"(i / {BUILDS_OF_A_REVISION} + {k}) * 2654435761 % 4294967296" for k in (0, 9, 99, 7, 3)]
_REVISION = f"printf('%08x%08x%08x%08x%08x', {', '.join(_DIGITS)})"


def _choice(salt: int, texts: tuple[str, ...]) -> str:
    cases = " ".join(f"WHEN {number} THEN '{text}'" for number, text in enumerate(texts))
    return f"(CASE {_rare_last(salt, len(texts))} {cases} END)"


_ARCH, _GC = _choice(2, ARCHES), _choice(3, GCS)
_SERVER = f"('server-' || {_rare_last(4, SERVERS)})"
_EMAIL = f"('person-' || {_rare_last(5, PEOPLE)} || '@example.org')"
_REF = f"CASE WHEN {_drawn(6, 10)} < 7 THEN 'main' ELSE 'branch-' || {_drawn(8, BRANCHES)} END"
_LUCK = _drawn(11, 1000)


def _state(total: str) -> str:
    chances = {"failed": 86, "unbuildable": 90, "cancelled": 120, "expired": 135}
    cases = " ".join(f"WHEN {_LUCK} < {chance} THEN '{state}'" for state, chance in chances.items())
    ended = f"CASE {cases} ELSE 'succeeded' END"
    return f"CASE WHEN i > {total} - 300 THEN 'queued' WHEN i > {total} - 360 THEN 'running' ELSE {ended} END"


_AT = f"({BEGAN} + i * 60.0)"
_DIGEST = "printf('%016x%016x%016x%016x', i * 7919, i * 104729, i * 1299709, i)"


def _spec() -> BuildSpec:
    return BuildSpec("P", "https://example.org/source.git", "0" * 40, 1, _OPTIONS, _PLATFORM, (), policy=TRUSTED_ONLY)


_SPEC_COLUMNS = {
    "project": _PROJECT,
    "revision": _REVISION,
    "options": f"replace(:options, 'GC', {_GC})",
    "platform": f"replace(:platform, 'ARCH', {_ARCH})",
}


def make(path: Path, count: int) -> None:
    """Make a database with ``count`` builds; there must be none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run(run(SqliteDatabase.open(path, Inline())).close())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        indexes = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN"
            " ('builds', 'attempts', 'artifacts', 'requests', 'build_terms')"
        ).fetchall()
        connection.execute("BEGIN")
        for name, _ in indexes:
            connection.execute(f'DROP INDEX "{name}"')
        for table, cells, differing, condition in _tables(count):
            _fill(connection, table, cells, differing, condition, count)
        connection.execute("COMMIT")
    database = run(SqliteDatabase.open(path, Inline()))
    run(database.run(index_all))

    def indexed(there: Connection) -> None:
        for _, statement in indexes:
            there.exec_driver_sql(statement)

    run(database.run(indexed))
    run(database.run(mend))  # it looks for the requests of each build: without an index that takes hours
    run(database.close())


def _fill(
    connection: sqlite3.Connection,
    table: str,
    cells: rows.Cells,
    differing: Mapping[str, str],
    condition: str,
    count: int,
) -> None:
    kept = {name: value for name, value in cells.items() if name not in differing}
    chosen = [differing.get(name) or f":{name}" for name in cells]
    names = ", ".join(f'"{name}"' for name in cells)
    connection.execute(
        f"INSERT INTO {table} ({names})"  # noqa: S608 - all of it is ours
        f" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        f" SELECT {', '.join(chosen)} FROM n WHERE {condition}",
        {"options": "", "platform": "", **cells, **kept},
    )


def _tables(count: int) -> Iterator[tuple[str, rows.Cells, Mapping[str, str], str]]:
    spec, state = _spec(), _state(str(count))
    begun = f"({state}) IN ('running', 'succeeded', 'failed', 'unbuildable')"
    over = f"({state}) IN ('succeeded', 'failed', 'unbuildable')"
    closed = f"({state}) NOT IN ('queued', 'running')"
    build = Build(1, "", spec, 1, 0.0, BuildState.SUCCEEDED)
    yield "builds", rows.build_cells(build), {
        **_SPEC_COLUMNS, "id": "i", "key": "'key-' || i", "place": "i", "created_at": _AT, "state": state,
        "epoch": f"CASE WHEN {begun} THEN 1 ELSE 0 END",
        "deciding_epoch": f"CASE WHEN {over} THEN 1 END",
        "started_at": f"CASE WHEN {begun} THEN {_AT} + 5 END",
        "ended_at": f"CASE WHEN {closed} THEN {_AT} + 5 + {_drawn(12, 900)} END",
        "artifact_id": f"CASE WHEN ({state}) = 'succeeded' THEN i END",
        "reason": f"CASE WHEN ({state}) = 'failed' THEN '`make` exited with status 2' ELSE '' END",
    }, "1"  # fmt: skip
    attempt = Attempt(1, 1, "s", 1, spec.platform, OfferKind.NATIVE, 0.0, AttemptState.ENDED, end=AttemptEnd.SUCCEEDED)
    yield "attempts", rows.attempt_cells(attempt), {
        "build_id": "i", "server": _SERVER, "platform": _SPEC_COLUMNS["platform"], "offered_at": f"{_AT} + 4",
        "accepted_at": f"{_AT} + 5", "ended_at": f"CASE WHEN {over} THEN {_AT} + 5 + {_drawn(12, 900)} END",
        "state": f"CASE WHEN {over} THEN 'ended' ELSE 'building' END",
        "end": f"CASE ({state}) WHEN 'succeeded' THEN 'succeeded' WHEN 'running' THEN NULL ELSE 'failed' END",
    }, begun  # fmt: skip
    artifact = Artifact(
        1,
        spec.shelf,
        spec.options,
        spec.platform,
        OfferKind.NATIVE,
        1,
        1,
        "s",
        "",
        "",
        1,
        "",
        0.0,
        evidence=spec.policy.least,
    )
    yield "artifacts", rows.artifact_cells(artifact), {
        **_SPEC_COLUMNS, "id": "i", "build_id": "i", "server": _SERVER, "digest": _DIGEST, "content_digest": _DIGEST,
        "size": _drawn(13, 100_000_000), "name": f"({_PROJECT}) || '-' || substr({_REVISION}, 1, 12) || '.zip'",
        "built_at": f"{_AT} + 5 + {_drawn(12, 900)}", "seconds": f"{_drawn(12, 900)} * 1.0",
    }, f"({state}) = 'succeeded'"  # fmt: skip
    demand = Demand(spec, "main", "", (spec.revision,))
    request = Request(1, "", "0" * 64, "", demand, False, 0.0, 0.0, RequestState.SATISFIED, 1)
    yield "requests", rows.request_cells(request), {
        **_SPEC_COLUMNS, "id": "i", "client_id": "printf('%032x', i)", "email": _EMAIL, "ref": _REF, "build_id": "i",
        "acceptable": f"'[\"' || {_REVISION} || '\"]'", "admitted_at": _AT, "expires_at": f"{_AT} + 86400",
        "state": f"CASE WHEN {closed} THEN 'satisfied' ELSE 'waiting' END",
        "artifact_id": f"CASE WHEN ({state}) = 'succeeded' THEN i END",
    }, "1"  # fmt: skip
    commit = {
        "source": spec.source, "revision": "", "subject": "", "author": "Ada Lovelace", "at": 0.0,
    }  # fmt: skip
    yield "commits", commit, {
        "revision": _REVISION, "at": _AT, "subject": "'Change number ' || i || ' of something that matters'",
    }, f"i % {BUILDS_OF_A_REVISION} = 0"  # fmt: skip


def paths(count: int, seed: int) -> Iterator[str]:
    """Yield paths of lists without end: random places, and searches for what is common and what is rare."""
    draw = random.Random(seed)
    while True:
        words = draw.choice(_SEARCHES)(draw)
        asked = {"q": " ".join(words)} if words else {}
        if draw.random() < 0.7:
            asked["after" if draw.random() < 0.2 else "before"] = str(draw.randrange(1, count))
        yield "/builds" + (f"?{urlencode(asked)}" if asked else "")


def _commit(draw: random.Random) -> str:
    # Few of these are one, as of what people mistype; many begin one.
    return f"rev:{draw.randrange(16**5):05x}"


_COMMON = {
    "project": lambda draw: f"project:{draw.choice(PROJECTS[:3])}",
    "platform": lambda draw: f"platform:{draw.choice(ARCHES[:2])}",
    "option": lambda draw: f"option:gc={draw.choice(GCS[:2])}",
    "state": lambda draw: f"state:{draw.choice(('succeeded', 'failed', 'cancelled'))}",
    "server": lambda draw: f"server:server-{draw.randrange(5)}",
    "since": lambda draw: f"since:{draw.choice(('2024-06-01', '2025-01-01'))}",
}
_RARE = {
    "project": lambda draw: f"project:{draw.choice(PROJECTS[15:])}",
    "platform": lambda draw: f"platform:linux-{draw.choice(ARCHES[5:])}",
    "option": lambda draw: f"option:gc={draw.choice(GCS[4:])}",
    "state": lambda draw: f"state:{draw.choice(('queued', 'running', 'unbuildable', 'expired'))}",
    "server": lambda draw: f"server:server-{draw.randrange(40, SERVERS)}",
    "rev": _commit,
}


def _some(draw: random.Random, kinds: Mapping[str, object], most: int, without: str = "") -> list[str]:
    names = [name for name in kinds if name != without]
    return [kinds[name](draw) for name in draw.sample(names, most)]  # type: ignore[operator] # all are functions


def _rare_and_common(draw: random.Random) -> list[str]:
    rare = draw.choice([*_RARE])
    return [_RARE[rare](draw), *_some(draw, _COMMON, 1, rare)]


_SEARCHES: tuple[Callable[[random.Random], list[str]], ...] = (
    lambda _: [],
    lambda _: [],
    lambda draw: _some(draw, _COMMON, 1),
    lambda draw: _some(draw, _COMMON, 2),
    lambda draw: _some(draw, _COMMON, 3),
    lambda draw: _some(draw, _RARE, 1),
    lambda draw: _some(draw, _RARE, 2),
    _rare_and_common,
    lambda draw: [str(draw.randrange(1_000_000))],
)
