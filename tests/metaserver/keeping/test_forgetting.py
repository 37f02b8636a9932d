"""What is too old or too much goes, beside everything else, and what was promised meanwhile stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.task import Clock

from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.keeping.store import SqlKeptRows
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifact_removal import ArtifactRemoval
from buildtool.adapters.storage.artifacts import ArtifactStore, stored_path
from buildtool.adapters.storage.keeping.log_files import KeptLogFiles
from buildtool.adapters.storage.logs import LogStore
from buildtool.errors import StorageUnavailable
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.keeping.forgetting import Forgetting, GivenOut, Surveys
from buildtool.metaserver.operating.removing import ArtifactExpiry
from buildtool.model.keeping.gone import DAY, GoneKind
from buildtool.model.keeping.limits import Keeping, KeptKind, Limit
from buildtool.model.records import Artifact, Build, BuildSpec, BuildState, Demand
from buildtool.scheduling.answers import Dispatched, Hit, Queued
from buildtool.scheduling.events import Submitted
from buildtool.scheduling.state.state import State
from tests.adapters.sql.test_broker_store import ARTIFACT, BUILD
from tests.scheduling.worlds import POLICIES, spec
from tests.support.inline import run
from tests.support.memory import Performed, WallClock

SIZE = 10


def spec_of(number: int) -> BuildSpec:
    """The spec of one revision after the other."""
    return evolve(spec(), revision=f"{number:x}" * 40)


def asked(number: int, client: str) -> Submitted:
    """What asks for the revision that has a number."""
    wanted = spec_of(number)
    demand = Demand(wanted, "main", "", (wanted.revision,))
    return Submitted(f"{client}{number}", "body", "user@example.org", demand)


@define
class World:
    """A metaserver's state directory with a broker over it, and what lets things go."""

    state: Path
    wall: WallClock = field(factory=WallClock)
    keeping: Keeping = field(factory=Keeping)
    database: SqliteDatabase = field(init=False)
    store: SqlBrokerStore = field(init=False)
    files: ArtifactStore = field(init=False)
    logs: LogStore = field(init=False)
    removal: ArtifactRemoval = field(init=False)
    broker: Broker = field(init=False)
    rows: SqlKeptRows = field(init=False)
    rests: int = 0
    given_out: GivenOut = field(factory=GivenOut)

    def __attrs_post_init__(self) -> None:
        self.database = run(SqliteDatabase.open(self.state / "buildtool.sqlite", Inline(), patience=0.0))
        self.store, self.rows = SqlBrokerStore(self.database), SqlKeptRows(self.database)
        self.files, self.logs = ArtifactStore(self.state, Inline()), LogStore(self.state, Inline())
        run(self.files.start())
        run(self.logs.start())
        self.removal = ArtifactRemoval(self.state, self.files, Inline())
        self.start()

    def start(self) -> None:
        """Begin a life of the broker: of another one only the database is left."""
        self.broker = Broker(State(POLICIES), self.store, self.wall, Clock(), self.removal, Performed())
        run(self.broker.start())

    async def rest(self, _seconds: float) -> None:
        self.rests += 1

    def forgetting(self) -> Forgetting:
        files = KeptLogFiles(self.state, Inline(), self.logs)
        surveys = Surveys(self.rows, files, lambda: self.keeping, lambda: self.wall.now, self.rest, at_once=2)
        expiry = ArtifactExpiry(self.broker, self.store, self.removal)
        return Forgetting(surveys, expiry, given_out=self.given_out)

    def built(self, number: int, at: float, log: bytes = b"") -> Artifact:
        """Have revision ``number`` built, as of ``at``, with a file and maybe a log."""
        build: Build = evolve(
            BUILD, id=number, key=f"k{number}", spec=spec_of(number), state=BuildState.SUCCEEDED, artifact_id=number,
            ended_at=at, epoch=1, deciding_epoch=1,
        )  # fmt: skip
        digest = f"{number:x}" * 64
        made = evolve(
            ARTIFACT, id=number, build_id=number, shelf=build.spec.shelf, options=build.spec.options,
            platform=build.spec.platform, digest=digest[:64], size=SIZE, built_at=at, need=(),
        )  # fmt: skip
        path = stored_path(self.state, made.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(SIZE))
        if log:
            run(self.logs.append(number, 1, 0, log, 1_000))
            run(self.logs.finish(number, 1))
        run(self.store.commit([build, made], (), at))
        return made

    def there(self) -> set[int]:
        """The numbers of the artifacts whose files are there."""
        return {number for number in range(1, 10) if stored_path(self.state, f"{number:x}" * 64).exists()}

    def ask(self, number: int, client: str = "client") -> Any:
        """Ask for a revision; return what is answered."""
        return run(self.broker.send(asked(number, client)))

    def withdrawn(self, number: int) -> str:
        found = run(self.store.artifact(number))
        assert found is not None
        return found.withdrawn

    def close(self) -> None:
        run(self.broker.stop())
        run(self.database.close())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, WallClock(now=100 * DAY))
    yield made
    made.close()


def keeping(kind: KeptKind, age: float | None = None, most: int | None = None, grace: float = 0.0) -> Keeping:
    return Keeping({kind: Limit(age, most)}, grace)


def test_artifacts_go_that_were_not_given_out_for_longest_until_there_are_few_enough(world: World) -> None:
    for number in range(1, 6):
        world.built(number, at=number * DAY)
    assert isinstance(world.ask(1), Hit)  # the oldest is asked for today
    world.keeping = keeping(KeptKind.ARTIFACTS, most=3 * SIZE)
    run(world.forgetting().round_())
    assert world.there() == {1, 4, 5}
    assert world.withdrawn(2) == (
        "expired on 1970-04-11 (rule: artifacts of more than 30 B together, those first that were not given out for "
        "longest)"
    )
    assert not world.withdrawn(4)
    assert isinstance(world.ask(2), Dispatched | Queued)  # no hit points at bytes that are gone
    assert isinstance(world.ask(5), Hit)
    before = world.there()
    run(world.forgetting().round_())
    assert world.there() == before


def test_what_was_given_out_within_the_grace_stays_though_there_is_too_much(world: World) -> None:
    for number, days_ago in ((1, 20), (2, 13), (3, 1)):
        world.built(number, at=world.wall.now - days_ago * DAY)
    world.keeping = keeping(KeptKind.ARTIFACTS, most=0, grace=14 * DAY)
    run(world.forgetting().round_())
    assert world.there() == {2, 3}


def test_a_fetch_counts_as_given_out_once_it_is_recorded(world: World) -> None:
    for number in (1, 2):
        world.built(number, at=number * DAY)
    noticed = GivenOut()
    noticed.add("1" * 64, world.wall.now)
    run(world.rows.given_out(noticed.taken()))
    world.keeping = keeping(KeptKind.ARTIFACTS, most=SIZE)
    run(world.forgetting().round_())
    assert world.there() == {1}


def test_what_is_fetched_while_everything_is_looked_through_stays(world: World) -> None:
    """A look through everything takes minutes, in which somebody may begin to fetch what was unused for longest."""
    for number in (1, 2, 3):
        world.built(number, at=number * DAY)
    world.keeping = keeping(KeptKind.ARTIFACTS, most=0, grace=DAY)
    look = world.rows.artifacts

    async def fetched(after: int, most: int) -> Any:
        found = await look(after, most)
        world.given_out.add("1" * 64, world.wall.now)
        return found

    world.rows.artifacts = fetched  # type: ignore[method-assign] # somebody who fetches meanwhile
    run(world.forgetting().round_())
    assert world.there() == {1}


def test_a_fetch_that_cannot_be_recorded_is_the_next_time(world: World) -> None:
    world.built(1, at=DAY)
    world.keeping = keeping(KeptKind.ARTIFACTS, most=0, grace=DAY)
    world.given_out.add("1" * 64, world.wall.now)
    record = world.rows.given_out

    async def away(*_: Any) -> Any:
        raise StorageUnavailable("the disk is full")

    world.rows.given_out = away  # type: ignore[method-assign,assignment] # as a full disk does
    with pytest.raises(StorageUnavailable):
        run(world.forgetting().round_())
    world.rows.given_out = record  # type: ignore[method-assign]
    run(world.forgetting().round_())
    assert world.there() == {1}


def test_what_is_promised_between_choice_and_end_stays(world: World) -> None:
    """A request may come at any moment: here as soon as the artifacts that go were looked at again."""
    for number in (1, 2, 3):
        world.built(number, at=number * DAY)
    world.keeping = keeping(KeptKind.ARTIFACTS, most=SIZE)
    answered: list[object] = []
    again = world.rows.artifacts_again

    async def interrupted(numbers: Any) -> Any:
        found = await again(numbers)
        if not answered:
            answered.append(await world.broker.send(asked(1, "late")))
        return found

    world.rows.artifacts_again = interrupted  # type: ignore[method-assign] # a requester that comes in between
    run(world.forgetting().round_())
    assert isinstance(answered[0], Hit)
    assert not world.withdrawn(1)
    assert world.there() == {1}  # the others go instead: there is room for one


def test_files_that_a_crash_left_are_no_hits_and_a_file_that_another_artifact_has_stays(world: World) -> None:
    one = world.built(1, at=DAY)
    same = evolve(one, id=2, shelf=spec_of(2).shelf, built_at=99 * DAY)
    run(world.store.commit([same], (), 0.0))
    world.keeping = keeping(KeptKind.ARTIFACTS, age=50 * DAY)
    run(world.forgetting().round_())
    assert world.withdrawn(1)
    assert world.there() == {1}  # the bytes are those of artifact 2 as well
    assert isinstance(world.ask(2), Hit)


def test_a_database_that_is_away_loses_nothing_and_the_next_round_goes_on(world: World) -> None:
    for number in (1, 2):
        world.built(number, at=number * DAY, log=b"words\n")
    world.keeping = Keeping({KeptKind.LOGS: Limit(age=DAY), KeptKind.ARTIFACTS: Limit(age=DAY)}, 0.0)
    go = world.rows.logs_go

    async def away(*_: Any) -> Any:
        raise StorageUnavailable("the disk is full")

    world.rows.logs_go = away  # type: ignore[method-assign,assignment] # as a full disk does
    with pytest.raises(StorageUnavailable):
        run(world.forgetting().round_())
    assert len(list((world.state / "logs").glob("*.zst"))) == 2
    world.rows.logs_go = go  # type: ignore[method-assign]
    run(world.forgetting().round_())
    assert not list((world.state / "logs").glob("*"))
    assert world.there() == set()


def test_logs_go_by_age_and_by_size_with_a_record_of_when_and_why(world: World) -> None:
    for number in range(1, 6):
        world.built(number, at=number * 10 * DAY, log=bytes(range(256)) * 2)
    files = KeptLogFiles(world.state, Inline())
    run(files.kept())
    sizes = run(files.sizes(range(1, 6)))
    world.keeping = Keeping({KeptKind.LOGS: Limit(age=85 * DAY, most=sizes[4] + sizes[5])})
    run(world.forgetting().round_())
    assert run(files.kept()) == [4, 5]
    said = [run(world.rows.tombstone(GoneKind.LOG, number)) for number in range(1, 6)]
    assert [one.rule.partition(" of")[0] if one else "" for one in said] == [
        "logs older than 85 days",
        *2 * ["logs"],
        "",
        "",
    ]
    assert said[0] is not None
    assert said[0].words == "expired on 1970-04-11 (rule: logs older than 85 days)"
    assert world.there() == {1, 2, 3, 4, 5}


def test_a_killed_round_goes_on_where_it_was(world: World) -> None:
    """Killed after the record and before the files went: the next life takes them."""
    world.built(1, at=DAY, log=b"words\n")
    run(world.rows.logs_go({1: "logs older than 1 day"}, [1], world.wall.now))
    world.start()
    world.keeping = keeping(KeptKind.LOGS, age=DAY)
    run(world.forgetting().round_())
    assert not list((world.state / "logs").iterdir())


def test_everything_is_done_some_at_a_time_with_rests_between(world: World) -> None:
    for number in range(1, 8):
        world.built(number, at=number * DAY)
    world.keeping = keeping(KeptKind.ARTIFACTS, most=0)
    before = world.rests
    run(world.forgetting().round_())
    assert world.there() == set()
    assert world.rests - before >= 4 + 1


def test_without_limits_nothing_is_even_looked_at(world: World) -> None:
    world.built(1, at=0.0, log=b"words\n")
    run(world.forgetting().round_())
    assert (world.there(), world.rests) == ({1}, 0)


def test_a_file_that_is_given_out_often_is_recorded_once_a_day() -> None:
    noticed = GivenOut(most=2)
    for moment in (10.0, 20.0, 30.0):
        noticed.add("a", moment)
    assert noticed.taken() == {"a": 10.0}
    noticed.add("a", 40.0)
    noticed.add("b", 41.0)
    noticed.add("c", 42.0)
    assert noticed.taken() == {"b": 41.0}
    noticed.add("a", DAY)
    assert noticed.taken() == {"a": DAY}


def test_what_expires_without_having_been_chosen_in_this_life_stays(world: World) -> None:
    made = world.built(1, at=DAY)
    expiry = ArtifactExpiry(world.broker, world.store, world.removal)
    assert run(expiry.expire({made: "expired on …"})) == []
    run(expiry.begin())
    assert run(expiry.expire({made: "expired on …"})) == [made]
    run(expiry.begin())
    assert run(expiry.expire({made: "expired on … again"})) == []
    assert world.withdrawn(1) == "expired on …"
