"""``keeping`` says how much there is, what must stay, and what goes next by which rule, and lets nothing go."""

import json
from pathlib import Path

import pytest
from attrs import evolve

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.logs import LogStore
from buildtool.configuration.settings import Settings
from buildtool.model.keeping.gone import DAY
from buildtool.model.keeping.limits import keeping_of
from buildtool.model.records import BuildState
from buildtool.programs.metaserver.keeping.showing import kept_lines, kept_now, kept_objects
from tests.adapters.sql.test_broker_store import ARTIFACT, BUILD
from tests.programs.common.test_visitors import settings
from tests.support.inline import run

RULE = "artifacts of more than 2.0 KiB together, those first that were not given out for longest"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    database = run(SqliteDatabase.open(tmp_path / "buildtool.sqlite", Inline()))
    ended = evolve(BUILD, state=BuildState.SUCCEEDED, ended_at=DAY)
    runs = evolve(BUILD, id=2, key="k2", state=BuildState.RUNNING, ended_at=None)
    made = evolve(ARTIFACT, size=3 * 1024, built_at=2 * DAY)
    run(SqlBrokerStore(database).commit([ended, runs, made], (), 0.0))
    logs = LogStore(tmp_path, Inline())
    run(logs.start())
    for build in (1, 2):
        run(logs.append(build, 1, 0, b"x" * 1_000, 2_000))
    run(database.close())
    for index in (tmp_path / "logs").glob("*.idx"):
        index.unlink()
    return tmp_path


def kept_by(state: Path, said: object) -> Settings:
    return evolve(settings(), state_dir=state, keep=keeping_of(said))


def test_what_is_kept_for_ever_is_counted(state: Path) -> None:
    assert kept_lines(run(kept_now(kept_by(state, {})))) == [
        "logs of 2 builds: 2.0 KiB, of which 1 must not go now; kept for ever",
        "1 artifact: 3.0 KiB; kept for ever",
    ]


def test_what_goes_next_is_said_with_its_rule_and_stays(state: Path) -> None:
    by = kept_by(state, {"logs": {"age": "30d", "size": "1M"}, "artifacts": {"size": "2K"}, "grace": "0s"})
    for _ in range(2):
        assert kept_lines(run(kept_now(by))) == [
            "logs of 2 builds: 2.0 KiB, of which 1 must not go now; kept for 30 days and at most 1.0 MiB",
            "  goes next: logs of build 1 (1000 B, last of use 1970-01-02 00:00 UTC): logs older than 30 days",
            "1 artifact: 3.0 KiB; kept at most 2.0 KiB",
            f"  goes next: artifact 1 (3.0 KiB, last of use 1970-01-03 00:00 UTC): {RULE}",
        ]
    told = json.loads(json.dumps(kept_objects(run(kept_now(by)))))
    assert told["logs"]["limits"] == {"age": 30 * DAY, "size": 1 << 20}
    assert told["logs"]["going"] == [{"number": 1, "at": DAY, "size": 1000, "rule": "logs older than 30 days"}]
    assert (told["artifacts"]["count"], told["artifacts"]["spared"]) == (1, 0)
