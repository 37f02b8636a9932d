"""--fsck finds every damage that is planted, says in one line what it means, and mends what can be mended."""

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from buildtool.adapters.maintenance.fsck import Fsck, FsckReport
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.artifacts import ArtifactStore
from buildtool.errors import StorageUnavailable
from tests.adapters.maintenance import states
from tests.adapters.maintenance.states import DIGEST, NOW, opened, soil, spoil, stored
from tests.support.inline import run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("original") / "state"
    made.mkdir()
    states.make(made)
    return made


@pytest.fixture
def state(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "state"))


def look(state: Path, *, repair: bool = False) -> FsckReport:
    return run(Fsck(state, NOW).run(repair=repair))


def checks(report: FsckReport) -> set[str]:
    return {finding.check for finding in report.findings}


def copy_row(state: Path, table: str, where: str, **changed: object) -> None:
    """Insert a row like another one, behind everybody's back."""
    with opened(state) as connection:
        connection.row_factory = sqlite3.Row
        row = dict(connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchone()) | changed  # noqa: S608
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608


# --- what can be planted ----------------------------------------------------------------------------------


def two_open_builds(state: Path) -> None:
    spoil(state, "DROP INDEX uq_builds_open")
    copy_row(state, "builds", "id = 2", id=12)
    copy_row(state, "requests", "id = 2", id=12, client_id="other", build_id=12)


def stale_index(state: Path) -> None:
    """Take a row out of an index alone, as a lost write does."""
    spoil(
        state,
        "DROP INDEX ix_builds_queue",
        "CREATE INDEX ix_builds_queue ON builds (place) WHERE state = 'queued' AND id > 99",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = 'CREATE INDEX ix_builds_queue ON builds (place) WHERE state = ''queued'''"
        " WHERE name = 'ix_builds_queue'",
        "PRAGMA writable_schema = OFF",
    )


def unnamed_file(state: Path) -> None:
    states.put(ArtifactStore(state, Inline()), 9, b"published right before a crash")


def damaged_log(state: Path) -> None:
    soil(state / "logs" / "1-1.log.zst", 50)


def cut_log(state: Path) -> None:
    path = state / "logs" / "1-1.log.zst"
    path.write_bytes(path.read_bytes()[:100])


@frozen
class Damage:
    """What is planted, what it is called, and what a person reads of it."""

    plant: Callable[[Path], object]
    check: str
    says: str
    besides: frozenset[str] = frozenset()


def rows(*statements: str) -> Callable[[Path], None]:
    return lambda state: spoil(state, *statements)


TOLD = frozenset({"line-wrong"})
"""What else is found where something changed of an ended build: lists tell of it as it was."""

MENDED = {
    "an index that lost a row": Damage(stale_index, "index-stale", "an index does not have what its table has"),
    "a missing index": Damage(rows("DROP INDEX ix_requests_open"), "index-missing", "ix_requests_open"),
    "two open builds of one key": Damage(
        two_open_builds,
        "build-twice",
        "the same as build 2, which is open too",
        frozenset({"index-missing", "build-unfindable"}),
    ),
    "an open build that nobody waits for": Damage(
        rows("UPDATE requests SET state = 'cancelled' WHERE id = 2"), "build-unwanted", "no request waits for it"
    ),
    "a request that waits for a closed build": Damage(
        rows("UPDATE requests SET state = 'waiting' WHERE id = 7"), "request-stranded", "build 7, which is closed"
    ),
    "a request that waits for a build that is not there": Damage(
        rows("UPDATE requests SET state = 'waiting', build_id = 99 WHERE id = 7"),
        "request-stranded",
        "build 99, which is not there",
        TOLD,
    ),
    "a live attempt of a closed build": Damage(
        rows("UPDATE attempts SET state = 'building' WHERE build_id = 7"), "attempt-stray", "its build is cancelled"
    ),
    "a missing attempt of a closed build": Damage(
        rows("UPDATE attempts SET state = 'missing' WHERE build_id = 7"), "attempt-stray", "it is missing, but its"
    ),
    "two attempts that go on": Damage(
        rows("UPDATE attempts SET state = 'building', end = NULL WHERE build_id = 5"),
        "attempt-stray",
        "attempt 2 came after it",
    ),
    "a build that runs nowhere": Damage(
        rows("UPDATE attempts SET state = 'ended' WHERE build_id = 5"),
        "build-runs-nowhere",
        "run for ever",
        frozenset({"upload-left"}),
    ),
    "an epoch that went back": Damage(
        rows("UPDATE builds SET epoch = 0 WHERE id = 1"),
        "epoch-behind",
        "its epoch is 0, but there is an attempt 1",
        TOLD,
    ),
    "a deciding attempt that is not there": Damage(
        rows("UPDATE builds SET deciding_epoch = 4 WHERE id = 1"),
        "build-undecided",
        "attempt 4, which is not there",
        TOLD,
    ),
    "an artifact of a build that is not there": Damage(
        rows("UPDATE builds SET artifact_id = 77 WHERE id = 1"), "build-undecided", "artifact 77", TOLD
    ),
    "an artifact of which more is believed than of its attempt": Damage(
        rows("UPDATE artifacts SET sandbox = 'strict' WHERE id = 1"),
        "evidence-too-good",
        "made in a strict sandbox, and its attempt was without a sandbox",
        TOLD,
    ),
    "an artifact whose source is trusted more than its attempt's": Damage(
        rows("UPDATE attempts SET trust = 'untrusted'", "UPDATE requests SET demanded_trust = 'untrusted'"),
        "evidence-too-good",
        "made from a trusted ref, and its attempt was from an untrusted ref",
    ),
    "a build that is found as what it is not": Damage(
        rows("UPDATE build_terms SET state = 0 WHERE build = 1"), "build-unfindable", "the index by which builds are"
    ),
    "a build that is not found": Damage(
        rows("DELETE FROM build_terms WHERE build IN (1, 5)"), "build-unfindable", "build 1 and 1 others"
    ),
    "a line that says something else": Damage(
        rows("UPDATE build_lines SET server = 'nowhere' WHERE build = 1"), "line-wrong", "the line that lists show"
    ),
    "lines that are missing": Damage(rows("DELETE FROM build_lines"), "line-wrong", "build 1 and 1 others"),
    "a line of a build that goes on": Damage(
        rows("INSERT INTO build_lines (build, state) VALUES (5, 'failed')"), "line-wrong", "build 5"
    ),
    "mail about nobody's request": Damage(
        rows("UPDATE outbox SET request_ids = '[41]'"), "mail-astray", "request 41, which is not there"
    ),
    "mail about one request too many": Damage(
        rows("UPDATE outbox SET request_ids = '[1,41]'"), "mail-astray", "--repair leaves it out"
    ),
    "an attempt of no build": Damage(
        rows("UPDATE attempts SET build_id = 66 WHERE build_id = 5 AND epoch = 1"), "reference-broken", "build 66"
    ),
    "an ended request of no build": Damage(
        rows("UPDATE requests SET build_id = 66 WHERE id = 7"),
        "reference-broken",
        "request 7: it names build 66",
        TOLD,
    ),
    "an artifact row of no build": Damage(
        rows("UPDATE artifacts SET build_id = 66"), "reference-broken", "artifact 1: it names build 66"
    ),
    "an artifact without its file": Damage(lambda state: stored(state).unlink(), "artifact-missing", "is not there"),
    "an artifact that was cut off": Damage(
        lambda state: stored(state).write_bytes(b"short"), "artifact-size", "has 5 bytes, not"
    ),
    "an artifact with one wrong byte": Damage(lambda state: soil(stored(state)), "artifact-damaged", "have digest"),
    "a file without a row": Damage(unnamed_file, "file-unnamed", "right before a crash"),
    "a strange file": Damage(
        lambda state: (state / "artifacts" / "note.txt").write_text("x"), "file-unnamed", "nothing that the metaserver"
    ),
    "an upload that nobody goes on with": Damage(
        lambda state: (state / "incoming" / "1-1").write_bytes(b"half"), "upload-left", "incoming/1-1"
    ),
    "a log of no attempt": Damage(
        lambda state: (state / "logs" / "88-1.log").write_bytes(b"x"), "log-unnamed", "no attempt 1 of build 88"
    ),
    "a log half compressed": Damage(
        lambda state: (state / "logs" / "5-2.log.zst.new").write_bytes(b"x"), "log-left", "half done"
    ),
    "a log with one wrong byte": Damage(damaged_log, "log-damaged", "the page of build 1 cannot show it"),
    "a log that was cut off": Damage(cut_log, "log-damaged", "logs/1-1.log.zst"),
    "a key that others may read": Damage(lambda state: (state / "key").chmod(0o644), "key-mode", "its mode is 0644"),
}


def smash(state: Path, name: str) -> None:
    """Write over the first page of a table."""
    spoil(state, "PRAGMA wal_checkpoint(TRUNCATE)")
    path = state / "buildtool.sqlite"
    data = bytearray(path.read_bytes())
    with opened(state) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(data)


def lose_pages(state: Path) -> None:
    """Let the head of the file count a free page that there is not."""
    spoil(state, "PRAGMA wal_checkpoint(TRUNCATE)")
    with (state / "buildtool.sqlite").open("r+b") as file:
        file.seek(36)
        file.write((7).to_bytes(4, "big"))


EXPLAINED = {
    "a request that was given less than it demands": Damage(
        rows("UPDATE requests SET demanded_sandbox = 'strict' WHERE artifact_id = 1"),
        "request-given-less",
        "made without a sandbox",
    ),
    "a request that was given a stranger's": Damage(
        rows("UPDATE attempts SET trust = 'untrusted'", "UPDATE artifacts SET trust = 'untrusted'"),
        "request-given-less",
        "made from an untrusted ref",
    ),
    "a page of a table": Damage(lambda state: smash(state, "requests"), "database-unreadable", "restore a backup"),
    "pages that are nowhere": Damage(lose_pages, "database-damaged", "reelist"),
    "another file in place of the database": Damage(
        lambda state: (state / "buildtool.sqlite").write_bytes(b"not a database " * 100), "database-unreadable", "file"
    ),
    "an empty database": Damage(
        lambda state: (state / "buildtool.sqlite").write_bytes(b""), "database-unreadable", "no tables"
    ),
    "a missing table": Damage(rows("DROP TABLE refusals"), "table-missing", "table refusals"),
    "a value that nobody can read": Damage(
        rows("UPDATE requests SET options = '{' WHERE id = 1"), "row-unreadable", "requests 1"
    ),
    "no key": Damage(lambda state: (state / "key").unlink(), "key-missing", "restore it from a backup"),
    "an empty key": Damage(lambda state: (state / "key").write_bytes(b""), "key-damaged", "0 bytes, not 32"),
}


# --- tests ------------------------------------------------------------------------------------------------


def test_a_sound_state_directory_is_clean_and_everything_in_it_was_read(state: Path) -> None:
    report = look(state)
    assert report.findings == ()
    assert not report.damaged
    assert (report.artifacts, report.artifact_bytes, report.logs) == (1, len(states.BYTES), 2)
    assert report.rows == len(states.ROWS)


@pytest.mark.parametrize("damage", [*MENDED.values(), *EXPLAINED.values()], ids=[*MENDED, *EXPLAINED])
def test_planted_damage_is_found_and_explained_in_one_line_and_nothing_is_changed(state: Path, damage: Damage) -> None:
    damage.plant(state)
    before = {path: path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file() and "-" not in path.name}
    report = look(state)
    assert checks(report) == {damage.check} | damage.besides
    assert report.damaged
    assert any(damage.says in finding.line for finding in report.findings if finding.check == damage.check)
    for finding in report.findings:
        assert "\n" not in finding.line
        assert all((finding.where, finding.what, finding.means, finding.mend))
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("damage", MENDED.values(), ids=MENDED)
def test_what_can_be_mended_is_mended_and_the_metaserver_can_start(state: Path, damage: Damage) -> None:
    damage.plant(state)
    report = look(state, repair=True)
    assert damage.check in checks(report)
    assert all(finding.mended for finding in report.findings)
    assert not report.damaged
    after = look(state)
    assert after.findings == ()
    database = run(SqliteDatabase.open(state / "buildtool.sqlite", Inline()))
    snapshot = run(SqlBrokerStore(database).load())
    run(database.close())
    waited_for = {request.build_id for request in snapshot.requests}
    assert waited_for == {made.id for made in snapshot.builds}


@pytest.mark.parametrize("damage", EXPLAINED.values(), ids=EXPLAINED)
def test_what_only_a_person_can_mend_is_left_and_still_told(state: Path, damage: Damage) -> None:
    damage.plant(state)
    assert look(state, repair=True).damaged
    assert damage.check in checks(look(state))


def test_much_damage_at_once_is_found_and_mended_together(state: Path) -> None:
    damages = [
        damage
        for name, damage in MENDED.items()
        if name
        not in {
            "an artifact row of no build",
            "an artifact without its file",
            "an artifact that was cut off",
            "a log that was cut off",
            "mail about nobody's request",
        }
    ]
    for damage in damages:
        damage.plant(state)
    report = look(state, repair=True)
    assert {damage.check for damage in damages} - {"attempt-stray", "build-runs-nowhere"} <= checks(report)
    assert not report.damaged
    assert look(state).findings == ()


def test_who_was_stranded_waits_for_an_open_build_of_exactly_what_they_asked_for(state: Path) -> None:
    spoil(state, "UPDATE requests SET state = 'waiting' WHERE id = 7")
    look(state, repair=True)
    database = run(SqliteDatabase.open(state / "buildtool.sqlite", Inline()))
    snapshot = run(SqlBrokerStore(database).load())
    run(database.close())
    (stranded,) = [request for request in snapshot.requests if request.id == 7]
    (made,) = [build for build in snapshot.builds if build.id == stranded.build_id]
    assert made.id == 8
    assert made.spec == stranded.demand.spec
    assert made.key == states.CLOSED.key


def test_a_damaged_artifact_is_kept_in_quarantine_and_its_row_withdrawn(state: Path) -> None:
    soil(stored(state))
    spoiled = stored(state).read_bytes()
    look(state, repair=True)
    assert not stored(state).exists()
    assert (state / "quarantine" / f"{DIGEST}.zip").read_bytes() == spoiled
    with opened(state) as connection:
        (why,) = connection.execute("SELECT withdrawn FROM artifacts").fetchone()
    assert why.startswith("fsck: the bytes of artifacts/")


NAMES = [b"\xff\xfe.zip", b"\x1b]0;pwned\x07\x1b[2J", "\u202egnp.\u2028\x9b31m".encode(), b"two\nlines"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["artifacts", "logs", "incoming"])
def test_whatever_a_file_is_called_it_is_told_in_one_harmless_line_and_moved_away(
    state: Path, where: str, name: bytes
) -> None:
    (state / where).mkdir(exist_ok=True)
    path = state / where / os.fsdecode(name)
    path.write_bytes(b"x")
    (finding,) = look(state).findings
    assert finding.line.isprintable()
    finding.line.encode()
    (mended,) = look(state, repair=True).findings
    assert mended.mended
    assert not path.exists()
    assert not look(state).findings


def test_each_mend_is_noted_among_the_events(state: Path) -> None:
    spoil(state, "UPDATE requests SET state = 'cancelled' WHERE id = 2")
    look(state, repair=True)
    with opened(state) as connection:
        events = connection.execute("SELECT at, kind, subject FROM events").fetchall()
    assert events == [(NOW, "fsck-build-unwanted", "build 2")]


def test_reading_the_artifacts_tells_how_far_it_is(state: Path) -> None:
    told: list[tuple[str, int, int]] = []
    run(Fsck(state, NOW, lambda *what: told.append(what)).run(repair=False))
    size = len(states.BYTES)
    assert ("artifacts", 0, size) in told
    assert ("artifacts", size, size) in told


def test_a_locked_database_is_no_damage(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's sqlite3 is in the way: that is said, and nothing is called broken."""
    monkeypatch.setattr("buildtool.adapters.sql.sqlite.PATIENCE", 0.0)
    with opened(state) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable, match="database is locked"):
            look(state)


def test_the_manual_lists_exactly_the_checks_and_here_each_is_planted() -> None:
    manual = (Path(__file__).resolve().parents[3] / "docs" / "operator.rst").read_text("utf-8")
    manual = manual[manual.index("\nDamage\n") :]
    listed = set(re.findall(r"^``([a-z]+-[a-z]+(?:-[a-z]+)?)``  ", manual, re.MULTILINE))
    assert listed == {damage.check for damage in (*MENDED.values(), *EXPLAINED.values())}


def test_a_row_with_a_wrong_size_does_not_take_the_file_from_another_that_is_right(state: Path) -> None:
    copy_row(state, "artifacts", f"digest = '{DIGEST}'", id=99, size=5)
    assert checks(look(state)) == {"artifact-size"}
    assert not look(state, repair=True).damaged
    assert stored(state).exists()
    assert not look(state).findings
