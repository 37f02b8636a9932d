"""What the disk does to a metaserver: it says so, refuses what it cannot keep, and goes on when it is over.

Real files, a real database and the real broker; the clock is virtual and nothing has a thread.
"""

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from buildtool.adapters.maintenance import health
from buildtool.adapters.maintenance.health import HealthCheck
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql import sqlite
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import Damaged, StorageUnavailable
from buildtool.metaserver.broker import Broker
from buildtool.model.farm.backups import LastBackup
from buildtool.model.records import RequestState
from buildtool.programs.metaserver.maintenance import FINISH_EVERY, Housekeeping
from buildtool.scheduling.answers import Queued
from buildtool.scheduling.events import Event, Submitted
from buildtool.scheduling.state.state import State
from tests.adapters.maintenance import states
from tests.adapters.maintenance.states import DIGEST, opened, stored
from tests.scheduling.worlds import POLICIES, submitted
from tests.support.inline import run
from tests.support.logs import listening
from tests.support.memory import Performed, WallClock

DISK = 1_500_000
"""Bytes of the small disk that tests fill."""


@define
class World:
    """A metaserver without its ports, over a state directory."""

    state: Path
    clock: Clock = field(factory=Clock)
    wall: WallClock = field(factory=WallClock)
    database: SqliteDatabase = field(init=False)
    artifacts: ArtifactStore = field(init=False)
    keeping: Housekeeping = field(init=False)
    broker: Broker = field(init=False)
    finished: int = 0

    def __attrs_post_init__(self) -> None:
        self.database = run(SqliteDatabase.open(self.state / "buildtool.sqlite", Inline(), patience=0.0))
        store = SqlBrokerStore(self.database)
        self.artifacts = ArtifactStore(self.state, Inline())
        run(self.artifacts.start())
        logs = LogStore(self.state, Inline())
        run(logs.start())
        self.keeping = Housekeeping(self.state, self.database, self.artifacts, logs, Inline(), self.clock)
        self.keeping.conditions.low = 0
        self.broker = Broker(State(POLICIES), store, self.wall, self.clock, self.keeping.removal, Performed())
        run(self.broker.start())
        self.keeping.begin(store, self.broker.send, self.finish_logs, (self.broker.problems,))
        self.pass_time(1)

    async def finish_logs(self) -> None:
        """What could not be compressed when its Attempt ended."""
        self.finished += 1

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.wall.now += 1.0
            self.clock.advance(1.0)

    def send(self, event: Event) -> Any:
        """What the broker answers; it raises what it refuses with."""
        answered: list[Any] = []
        Deferred.fromCoroutine(self.broker.send(event)).addBoth(answered.append)
        (answer,) = answered
        if hasattr(answer, "raiseException"):
            answer.raiseException()
        return answer

    @property
    def problems(self) -> tuple[str, ...]:
        return self.keeping.conditions.problems()

    def close(self) -> None:
        run(self.keeping.stop())
        run(self.broker.stop())
        run(self.database.close())


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Put a small file system of its own at ``place``, where this machine lets a test do so; say whether it did."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], capture_output=True, check=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with small_disk(tmp_path / "state"):
        made = World(tmp_path / "state")
        yield made
        made.close()


def test_logs_that_could_not_be_finished_when_their_attempts_ended_are_looked_for_now_and_then(world: World) -> None:
    world.clock.advance(FINISH_EVERY)
    assert world.finished == 1
    world.clock.advance(FINISH_EVERY)
    assert world.finished == 2


@contextlib.contextmanager
def locked(world: World) -> Iterator[None]:
    """Somebody's sqlite3 holds the database."""
    with opened(world.state) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextlib.contextmanager
def every_connection(world: World, pragma: str) -> Iterator[None]:
    """Give a limit of SQLite's own to the connection that writes, and to each that takes its place."""
    prepare = sqlite._prepare_writing

    def limited(path: Path, connection: sqlite3.Connection) -> None:
        prepare(path, connection)
        connection.execute(pragma)

    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(pragma)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "_prepare_writing", limited)
        run(world.database.run(limit))
        yield
    run(world.database.close())  # as an operator remounts it: what is opened from now on may write


@contextlib.contextmanager
def read_only(world: World) -> Iterator[None]:
    """The database can only be read."""
    with every_connection(world, "PRAGMA query_only=ON"):
        yield


@contextlib.contextmanager
def full(world: World) -> Iterator[None]:
    """Nothing more fits: on a disk of its own that is filled, else by what SQLite may use."""
    if not os.path.ismount(world.state):
        with every_connection(world, "PRAGMA max_page_count=1"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(health, "_write", _need_room)  # the log beside the database, which has room, takes less
            yield
        return
    filler = world.state / "somebody-elses"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    yield
    filler.unlink()


def _need_room(connection: Connection) -> None:
    words = "INSERT INTO events (at, kind, subject, detail) VALUES (0, '', '', hex(zeroblob(100000)))"
    connection.exec_driver_sql(words)


def ask_for_much(world: World) -> None:
    """More than the database has room for without growing."""
    for number in range(200):
        world.send(submitted(f"during {number}", email=f"{'x' * 60}{number}@example.org"))


Fault = Callable[[World], contextlib.AbstractContextManager[None]]


@pytest.mark.parametrize(
    ("fault", "says"),
    [(locked, "database is locked"), (read_only, "attempt to write a readonly database"), (full, "is full")],
    ids=["locked", "read-only", "full"],
)
def test_while_nothing_can_be_kept_it_is_refused_with_the_reason_and_told_and_then_it_goes_on(
    world: World, fault: Fault, says: str
) -> None:
    assert isinstance(world.send(submitted("before")), Queued)
    assert world.problems == ()
    with listening() as said:
        with fault(world):
            with pytest.raises(StorageUnavailable, match=f"nothing was accepted: .*{says}"):
                ask_for_much(world)
            world.pass_time(40)
            assert any(says in line for line in world.keeping.conditions.problems())
        assert [line for line in said if line.startswith("trouble: ") and says in line]
        world.pass_time(70)
    assert world.problems == ()
    assert [line for line in said if line.startswith("over: ") and says in line]
    assert world.send(submitted("after")).request.client_id == "after"
    with opened(world.state) as other:
        (kept,) = other.execute("SELECT count(*) FROM requests").fetchone()
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert kept == len(world.broker.state.requests)


def test_an_upload_that_finds_the_disk_full_is_refused_in_one_line_and_goes_through_when_there_is_room(
    world: World,
) -> None:
    data = os.urandom(64 * 1024)
    if os.path.ismount(world.state):
        with full(world), pytest.raises(StorageUnavailable, match="the disk is full; try again when there is room"):
            states.put(world.artifacts, 1, data)
    else:
        with pytest.raises(StorageUnavailable, match="the disk is full; try again when there is room"):
            run(world.artifacts.uploads.begin(1, 1, 0, 2**62, lambda: None))
    digest = states.put(world.artifacts, 1, data)
    assert stored(world.state, digest).read_bytes() == data


def test_a_corrupt_artifact_is_quarantined_withdrawn_and_built_again(tmp_path: Path) -> None:
    """From the one who finds it when somebody fetches it, to the next who asks."""
    state = tmp_path / "state"
    state.mkdir()
    states.make(state)
    world = World(state)
    with opened(state) as other:
        other.execute("DELETE FROM outbox")
    stored(state).write_bytes(b"X" + states.BYTES[1:])
    with pytest.raises(Damaged):
        run(world.artifacts.open(DIGEST))
    with listening() as said:
        world.keeping.corrupt(DIGEST)
    assert any("in quarantine, and withdrawn" in line for line in said)
    assert (state / "quarantine" / f"{DIGEST}.zip").exists()
    assert not stored(state).exists()
    with opened(state) as other:
        assert other.execute("SELECT withdrawn FROM artifacts").fetchall() == [("its bytes differ from their digest",)]
    world.pass_time(1)
    (told,) = world.problems
    assert "a file waits in quarantine/" in told
    (state / "quarantine" / f"{DIGEST}.zip").unlink()
    world.pass_time(10)
    assert world.problems == ()
    demand = states.request(99, states.DONE, RequestState.WAITING).demand
    assert isinstance(world.send(Submitted("again", "body", "ada@example.org", demand)), Queued)
    world.close()


def test_the_scrubber_does_the_same_by_itself_and_tells_nobody_twice(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    states.make(state)
    states.soil(stored(state))
    world = World(state)
    with listening() as said:
        world.pass_time(3_000)
    assert len([line for line in said if "in quarantine, and withdrawn" in line]) == 1
    assert (state / "quarantine" / f"{DIGEST}.zip").exists()
    with opened(state) as other:
        assert other.execute("SELECT withdrawn <> '' FROM artifacts").fetchall() == [(1,)]
    world.close()


def test_a_rotten_log_is_quarantined_and_told_too_and_a_sound_one_stays(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    states.make(state)
    logs = LogStore(state, Inline())
    run(logs.append(5, 1, 0, states.LOG, len(states.LOG)))
    run(logs.finish(5, 1))
    states.soil(state / "logs" / "1-1.log.zst", 500)
    world = World(state)
    with listening() as said:
        world.pass_time(3_000)
    assert [line for line in said if "the log of build 1.1 goes to quarantine" in line]
    assert sorted(path.name for path in (state / "quarantine").iterdir()) == ["1-1.log.zst"]
    assert sorted(path.name for path in (state / "logs").iterdir() if path.suffix != ".idx") == [
        "5-1.log.zst",
        "5-2.log",
    ]
    assert any("in quarantine/" in line for line in world.problems)
    world.close()


# --- how things stand -------------------------------------------------------------------------------------


def look(world: World, low: int = 0) -> tuple[str, ...]:
    looking = HealthCheck(world.state, world.database, Inline(), low=low)
    task: Any = None
    run(looking.round_(task))
    return looking.problems()


def test_a_disk_that_is_nearly_full_is_told_once_for_all_directories_on_it(world: World) -> None:
    assert look(world) == ()
    (told,) = look(world, low=2**62)
    assert told.startswith("the disk of the state directory has only ")


def test_what_is_known_of_the_last_backup_is_kept_while_the_disk_cannot_be_looked_at(world: World) -> None:
    looking = HealthCheck(world.state, world.database, Inline(), low=0)
    task: Any = None
    looking.backup = lambda: LastBackup(17.0, 10.0, "the last good backup is old")
    run(looking.round_(task))
    assert looking.problems() == ("the last good backup is old",)

    def fail() -> LastBackup:
        raise OSError(5, "Input/output error")

    looking.backup = fail
    run(looking.round_(task))
    assert looking.problems() == ("the state directory cannot be looked at: Input/output error",)
    assert looking.last_backup().made == 17.0


def test_a_directory_that_is_gone_is_told(world: World) -> None:
    (world.state / "logs").rename(world.state / "elsewhere")
    assert look(world) == ("logs is not there",)


def test_one_trouble_that_is_told_with_and_without_its_consequence_is_one_problem(world: World) -> None:
    looking = HealthCheck(world.state, world.database, Inline(), low=0)
    looking.sources = [lambda: ["x is gone; nothing is accepted any more", "y waits"], lambda: ["x is gone", "y waits"]]
    assert looking.problems() == ("x is gone; nothing is accepted any more", "y waits")


def test_trouble_is_looked_at_more_often_so_that_its_end_is_soon_told(world: World) -> None:
    looking = HealthCheck(world.state, world.database, Inline(), low=0)
    task: Any = None
    assert run(looking.round_(task)) == health.EVERY
    looking.sources = [lambda: ["mail waits"]]
    assert run(looking.round_(task)) == health.TROUBLED_EVERY
    assert looking.problems() == ("mail waits",)
