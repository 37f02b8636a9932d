"""Whose a state directory is: real directories are started, killed, moved, copied, backed up and restored."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule
from sqlalchemy import Connection

from buildtool.adapters.maintenance import tenure
from buildtool.adapters.maintenance.backup import Backup
from buildtool.adapters.maintenance.evidence import check_not_lost
from buildtool.adapters.maintenance.tenure import Tenure
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.sql.upgrade import migrate
from buildtool.adapters.storage.directory_lock import DATABASE, DirectoryLock
from buildtool.adapters.storage.key_file import load_key
from buildtool.errors import DatabaseLost, StorageUnavailable
from buildtool.model.incarnations import Keys
from buildtool.model.records import BuildState, RequestState
from buildtool.model.tickets import cancel_token, token_matches
from tests.adapters.maintenance import states
from tests.adapters.sql.test_migrations import raw
from tests.support.inline import run
from tests.support.lanes import examples


@frozen
class Running:
    """A metaserver's hold on a state directory."""

    directory: Path
    database: SqliteDatabase
    begun: Tenure
    keys: Keys

    def next_id(self) -> int:
        return run(SqlBrokerStore(self.database).load()).next_request

    def ask(self, who: str) -> tuple[int, str]:
        """Take a request in; return its id and cancel token."""
        number = self.next_id()
        build = states.build(number, BuildState.QUEUED)
        request = states.request(number, build, RequestState.WAITING, client_id=f"{who}-{number}")
        run(SqlBrokerStore(self.database).commit([build, request], (), states.NOW))
        return number, cancel_token(number, self.keys.request(number))

    def stop(self) -> None:
        run(tenure.end(self.database))
        run(self.database.close())


def start(directory: Path, *, restored: bool = False) -> Running:
    directory.mkdir(exist_ok=True)
    check_not_lost(directory)
    fresh = not (directory / "key").exists()
    secret = tenure.Secret(load_key(directory / "key"), fresh)
    database = run(SqliteDatabase.open(directory / DATABASE, Inline(), patience=0.0))
    begun = run(tenure.begin(database, directory, secret, states.NOW, restored=restored))
    return Running(directory, database, begun, Keys(secret.key, begun.incarnations))


def copy_into(source: Path, target: Path) -> None:
    """Copy as ``cp -a`` does, into files that are there already where there are any."""
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("control"))


@frozen
class Place:
    """A state directory that nobody uses at the moment, and which requests its database has."""

    path: Path
    has: frozenset[str]


class Copies(RuleBasedStateMachine):
    """A token told for one request fits no other, whatever directories were copied, and fits its own wherever it is."""

    places = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.names = 0
        self.told: dict[str, tuple[int, str]] = {}
        self.lives: dict[Path, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def _new(self) -> Path:
        self.names += 1
        return self.root / f"state{self.names}"

    def _lives_on(self, place: Place, asked: int, *, restored: bool, killed: bool) -> tuple[Place, Running]:
        running = start(place.path, restored=restored)
        has = set(place.has)
        for _ in range(asked):
            who = f"r{len(self.told)}"
            number, token = running.ask(who)
            self.told[who] = number, token
            has.add(who)
        with closing(sqlite3.connect(place.path / DATABASE)) as looked:
            rows = {
                str(name).rpartition("-")[0]: number
                for name, number in looked.execute("SELECT client_id, id FROM requests")
            }
        assert set(rows) == has
        whose = {number: name for name, number in rows.items()}
        for who, (number, token) in self.told.items():
            if number in whose:
                fits = token_matches(number, token, running.keys.request(number))
                assert fits == (whose[number] == who), f"the token of {who} for {number}, which is {whose[number]}'s"
        if killed:
            run(running.database.close())
        else:
            running.stop()
        return Place(place.path, frozenset(has)), running

    @initialize(target=places, asked=st.integers(0, 2))
    def first(self, asked: int) -> Place:
        place, running = self._lives_on(Place(self._new(), frozenset()), asked, restored=False, killed=False)
        assert running.begun.anew == ""
        self.lives[place.path] = running.begun.incarnations.current
        return place

    @rule(target=places, place=places, asked=st.integers(0, 2), killed=st.booleans(), restored=st.booleans())
    def run_again(self, place: Place, asked: int, *, killed: bool, restored: bool) -> Place:
        """A plain restart is no new life, however the one before it ended."""
        if not place.path.exists() or self.lives.get(place.path) is None:
            return place
        place = self._now(place)
        place, running = self._lives_on(place, asked, restored=restored, killed=killed)
        assert bool(running.begun.anew) == restored
        assert (running.begun.incarnations.current == self.lives[place.path]) == (not restored)
        return self._became(place, running)

    @rule(target=places, place=places, asked=st.integers(0, 2))
    def copy(self, place: Place, asked: int) -> Place:
        if not place.path.exists():
            return place
        place, path = self._now(place), self._new()
        copy_into(place.path, path)
        copied, running = self._lives_on(Place(path, place.has), asked, restored=False, killed=False)
        assert running.begun.anew
        return self._became(copied, running)

    @rule(target=places, place=places, asked=st.integers(0, 2))
    def back_up_and_restore(self, place: Place, asked: int) -> Place:
        if not place.path.exists():
            return place
        place, path = self._now(place), self._new()
        run(Backup(place.path, path).run())
        copied, running = self._lives_on(Place(path, place.has), asked, restored=False, killed=False)
        assert "backup" in running.begun.anew
        return self._became(copied, running)

    @rule(target=places, place=places, before=st.integers(1, 2), after=st.integers(1, 2), whole=st.booleans())
    def restore_in_place(self, place: Place, before: int, after: int, *, whole: bool) -> Place:
        """An older copy is written into the very same files; or only that of the database is."""
        if not place.path.exists() or self.lives.get(place.path) is None:
            return place
        place = self._now(place)
        place, running = self._lives_on(place, before, restored=False, killed=False)
        older = self._new()
        copy_into(place.path, older)
        newer, running = self._lives_on(place, after, restored=False, killed=False)
        inode = (place.path / DATABASE).stat().st_ino
        if whole:
            copy_into(older, place.path)
        else:
            shutil.copyfile(older / DATABASE, place.path / DATABASE)
        assert (place.path / DATABASE).stat().st_ino == inode
        assert newer.has > place.has
        restored, running = self._lives_on(place, after, restored=False, killed=False)
        assert running.begun.anew
        return self._became(restored, running)

    @rule(target=places, place=places, asked=st.integers(0, 2))
    def move(self, place: Place, asked: int) -> Place:
        """Under another name it is the same directory."""
        if not place.path.exists() or self.lives.get(place.path) is None:
            return place
        place, path = self._now(place), self._new()
        place.path.rename(path)
        life = self.lives.pop(place.path)
        moved, running = self._lives_on(Place(path, place.has), asked, restored=False, killed=False)
        assert running.begun.anew == ""
        assert running.begun.incarnations.current == life
        return self._became(moved, running)

    def _now(self, place: Place) -> Place:
        """Return a place with what its database has by now."""
        with closing(sqlite3.connect(place.path / DATABASE)) as looked:
            found = looked.execute("SELECT client_id FROM requests").fetchall()
        return Place(place.path, frozenset(str(name).rpartition("-")[0] for (name,) in found))

    def _became(self, place: Place, running: Running) -> Place:
        self.lives[place.path] = running.begun.incarnations.current
        return place


TestCopies = Copies.TestCase
TestCopies.settings = settings(max_examples=examples(6, long=45), stateful_step_count=8, deadline=None)


# --- what was made by earlier versions ----------------------------------------------------------------------


def test_tokens_of_an_older_version_go_on_and_new_ones_are_told_apart_from_a_copy_s(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    key = load_key(state / "key")

    def fill(connection: Connection) -> None:
        migrate(connection, "0002")
        connection.exec_driver_sql(
            "INSERT INTO builds VALUES (7, 'k', 'p', '', 'r', 1, '[]', '[]', '[]', 0, 1, 1.0, 'cancelled', 0, 0.0, 0, "
            "'[]', '[]', '[]', 'native', 0, NULL, NULL, NULL, NULL, '')"
        )

    raw(state / DATABASE, fill)
    running = start(state)
    assert token_matches(7, cancel_token(7, key), running.keys.build(7))
    assert running.keys.build(8) != key
    assert running.keys.request(1) != key, "no request was made before"
    running.stop()


def test_a_database_that_is_to_be_upgraded_is_backed_up_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    load_key(state / "key")
    raw(state / DATABASE, lambda connection: migrate(connection, "0002"))
    run(Backup(state, tmp_path / "copy").run())
    with closing(sqlite3.connect(tmp_path / "copy" / DATABASE)) as copied:
        assert copied.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
    start(tmp_path / "copy").stop()


# --- commits ------------------------------------------------------------------------------------------------


def test_who_lost_the_hold_writes_nothing_more(tmp_path: Path) -> None:
    """Another start took the next term: ids are not given twice, and nothing accepted is overwritten."""
    first = start(tmp_path / "state")
    first.ask("ann")
    second = start(tmp_path / "state")
    with pytest.raises(StorageUnavailable, match=r"was taken over by metaserver, process \d+ on .*, since .* UTC"):
        first.ask("bob")
    assert first.database.lost
    assert first.database.taken_over
    number, _ = second.ask("cid")
    assert number == 2
    run(first.database.close())
    second.stop()


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced", "log deleted", "directory replaced"])
def test_nothing_is_committed_into_a_file_that_is_no_longer_at_its_path(tmp_path: Path, how: str) -> None:
    state = tmp_path / "state"
    running = start(state)
    running.ask("ann")
    match how:
        case "moved":
            state.rename(tmp_path / "aside")
        case "deleted":
            shutil.rmtree(state)
        case "replaced":
            shutil.copyfile(state / DATABASE, state / "fresh")
            (state / "fresh").rename(state / DATABASE)
        case "log deleted":
            (state / f"{DATABASE}-wal").unlink()
        case _:
            copy_into(state, tmp_path / "other")
            state.rename(tmp_path / "aside")
            (tmp_path / "other").rename(state)
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="while it was in use"):
            running.ask("bob")
        assert running.database.lost
        assert not running.database.taken_over
    if how == "moved":
        (tmp_path / "aside").rename(state)
        running.ask("bob")
        assert running.database.lost == ""
    else:
        assert not (state / DATABASE).exists() or how != "deleted", "it is not made anew"
    run(running.database.close())


# --- locks and lost databases -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"state", b"\xfc#"])
def test_a_directory_whose_lock_file_was_removed_is_locked_all_the_same_and_who_has_it_is_said(
    tmp_path: Path, name: bytes
) -> None:
    state = tmp_path / os.fsdecode(name)
    with DirectoryLock(state, "metaserver"):
        running = start(state)
        (state / "lock").unlink()
        with pytest.raises(StorageUnavailable, match=r"is used by metaserver, process \d+ on .*, since .*: one meta"):
            DirectoryLock(state, "metaserver")
        assert not (state / "lock").exists(), "who is refused leaves nothing behind"
        (state / "lock").write_text("")
        with pytest.raises(StorageUnavailable, match="is used by metaserver, process"):
            DirectoryLock(state, "metaserver")
        running.stop()
    DirectoryLock(state, "metaserver").close()


@pytest.mark.parametrize("what", ["a file", "a pipe", "a link to itself", "a link to nothing"])
def test_what_is_no_directory_is_said_to_be_none_and_which_part_of_the_path_it_is(tmp_path: Path, what: str) -> None:
    state = tmp_path / "above"
    if what == "a file":
        state.touch()
    elif what == "a pipe":
        os.mkfifo(state)
    else:
        state.symlink_to("above" if what == "a link to itself" else "nowhere")
    with pytest.raises(StorageUnavailable, match=f"^{state} cannot be used: Not a directory$"):
        DirectoryLock(state, "metaserver")
    with pytest.raises(
        StorageUnavailable, match=f"^{state / 'below'} cannot be used: (.*above: )?[A-Z].* (directory|links)"
    ):
        DirectoryLock(state / "below", "metaserver")


def test_a_lock_file_that_takes_no_words_is_locked_all_the_same(tmp_path: Path) -> None:
    """A pipe of its name here, a full disk elsewhere: what holds others off is the directory."""
    os.mkfifo(tmp_path / "lock")
    with (
        DirectoryLock(tmp_path, "metaserver"),
        pytest.raises(StorageUnavailable, match="is used by another process: one metaserver at a time"),
    ):
        DirectoryLock(tmp_path, "metaserver")


@pytest.mark.parametrize("how", ["missing", "empty", "no tables", "no rows"])
def test_a_start_without_the_database_of_what_is_there_is_refused_by_name(tmp_path: Path, how: str) -> None:
    state = tmp_path / "state"
    check_not_lost(state)
    states.make(state)
    check_not_lost(state)
    (state / DATABASE).unlink()
    if how == "empty":
        (state / DATABASE).touch()
    elif how == "no tables":
        sqlite3.connect(state / DATABASE).execute("VACUUM").connection.close()
    elif how == "no rows":
        run(run(SqliteDatabase.open(state / DATABASE, Inline())).close())
    before = [path for path in sorted(state.rglob("*")) if not path.name.startswith(f"{DATABASE}-")]
    what = "missing" if how == "missing" else "empty"
    with pytest.raises(DatabaseLost, match=rf"is {what}, .* \(1 artifact, 2 logs, 1 upload\).*--accept-new-database"):
        check_not_lost(state)
    after = [path for path in sorted(state.rglob("*")) if not path.name.startswith(f"{DATABASE}-")]
    assert after == before, "it makes nothing"


def test_an_accepted_new_database_is_taken_for_granted_from_then_on(tmp_path: Path) -> None:
    state = tmp_path / "state"
    states.make(state)
    (state / DATABASE).unlink()
    run(run(SqliteDatabase.open(state / DATABASE, Inline())).close())
    database = run(SqliteDatabase.open(state / DATABASE, Inline()))
    run(tenure.begin(database, state, tenure.Secret(load_key(state / "key")), states.NOW))
    run(database.close())
    start(state).stop()


def test_another_key_is_noticed(tmp_path: Path) -> None:
    def rekeyed() -> bool:
        running = start(tmp_path / "state")
        running.stop()
        return running.begun.rekeyed

    assert not rekeyed()
    assert not rekeyed()
    (tmp_path / "state" / "key").unlink()
    assert rekeyed()
    assert not rekeyed()
