"""--fsck and --backup as an operator runs them: real programs, a real state directory, and a restore that works."""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from buildtool.adapters.maintenance.backup import Backup
from buildtool.adapters.maintenance.fsck import Fsck
from buildtool.adapters.runtime.threads import Inline
from buildtool.adapters.sql.broker_store import SqlBrokerStore
from buildtool.adapters.sql.sqlite import SqliteDatabase
from buildtool.adapters.storage.directory_lock import DirectoryLock
from buildtool.errors import StorageUnavailable, UsageError
from buildtool.programs.metaserver import offline_commands
from buildtool.programs.metaserver.offline_commands import EXIT_DAMAGED
from tests.adapters.maintenance import states
from tests.adapters.maintenance.states import BYTES, DIGEST, LOG, NOW, soil, spoil, stored
from tests.support.inline import run
from tests.support.warm_starts import finished

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("original") / "state"
    made.mkdir()
    states.make(made)
    return made


@pytest.fixture
def state(original: Path, tmp_path: Path) -> Path:
    (tmp_path / "config.py").write_text('state_dir = "state"\n')
    return Path(shutil.copytree(original, tmp_path / "state"))


def metaserver(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BUILDTOOL_")}
    command = [sys.executable, str(ROOT / "bin/metaserver"), "--config", str(state.parent / "config.py"), *arguments]
    return finished(command, env=environment)


# --- --fsck -----------------------------------------------------------------------------------------------


def test_fsck_says_clean_and_ends_with_0(state: Path) -> None:
    done = metaserver(state, "--fsck")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"clean: {len(states.ROWS)} rows, 1 artifacts (74.2 KiB), 2 logs\n"


def test_fsck_explains_damage_with_its_own_exit_code_mends_it_when_asked_and_is_clean_then(state: Path) -> None:
    soil(stored(state))
    found = metaserver(state, "--fsck")
    assert found.returncode == EXIT_DAMAGED == 10
    finding, summary = found.stdout.splitlines()
    assert finding.startswith("artifact-damaged: artifact 1 of build 1: the bytes of artifacts/")
    assert summary.startswith("1 found, 0 mended, 1 left: ")
    mended = metaserver(state, "--fsck", "--repair")
    assert mended.returncode == 0
    assert mended.stdout.splitlines()[0].endswith("; mended")
    assert metaserver(state, "--fsck").stdout.startswith("clean: ")


def test_fsck_answers_programs_with_one_object(state: Path) -> None:
    spoil(state, "UPDATE requests SET state = 'cancelled' WHERE id = 2")
    done = metaserver(state, "--fsck", "--json")
    assert done.returncode == EXIT_DAMAGED
    told = json.loads(done.stdout)
    (finding,) = told.pop("findings")
    rows = len(states.ROWS)
    assert told == {"damaged": True, "rows": rows, "artifacts": 1, "artifact_bytes": len(BYTES), "logs": 2}
    assert (finding["check"], finding["where"], finding["mendable"], finding["mended"]) == (
        "build-unwanted",
        "build 2",
        True,
        False,
    )


def test_fsck_leaves_a_state_directory_alone_that_a_metaserver_uses(state: Path) -> None:
    with DirectoryLock(state, "metaserver"):
        done = metaserver(state, "--fsck", "--repair")
    assert done.returncode == 1
    used = f"state is used by metaserver, process {os.getpid()} on {os.uname().nodename}, since "
    assert used in done.stderr
    assert done.stderr.endswith(" UTC: one metaserver at a time may use it, so stop that one first\n")
    assert len(done.stderr.splitlines()) == 1


def test_fsck_of_a_state_directory_that_is_not_there_says_so_and_makes_none(tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text('state_dir = "state"\n')
    done = metaserver(tmp_path / "state", "--fsck")
    assert done.returncode == 1
    assert "there is no database in" in done.stderr
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("words", [("--repair",), ("--json",), ("--fsck", "--backup", "x")])
def test_flags_that_say_nothing_together_are_a_usage_error(state: Path, words: tuple[str, ...]) -> None:
    done = metaserver(state, *words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# --- --backup ---------------------------------------------------------------------------------------------


def test_a_backup_is_a_sound_state_directory_with_everything_in_it(state: Path, tmp_path: Path) -> None:
    done = metaserver(state, "--backup", str(tmp_path / "copy"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("directory") == str(tmp_path / "copy")
    assert told == {
        "artifacts": 1,
        "artifact_bytes": len(BYTES),
        "logs": 2,
        "linked": 2,
        "copied": 4,
        "withdrawn": 0,
        "sealed": 0,
        "left_out": [],
        "wrong": [],
        "then": None,
        "removed": [],
        "stayed": [],
        "others": 0,
    }
    copy = tmp_path / "copy"
    assert stored(copy).read_bytes() == BYTES
    assert (copy / "key").read_bytes() == (state / "key").read_bytes()
    assert (copy / "key").stat().st_mode & 0o777 == 0o600
    assert copy.stat().st_mode & 0o777 == 0o700
    assert run(Fsck(copy, NOW).run(repair=False)).findings == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.py", "copy", "state"]


def test_a_backup_of_a_database_that_is_written_to_is_one_moment_of_it_and_the_writer_does_not_wait(
    state: Path, tmp_path: Path
) -> None:
    writing = run(SqliteDatabase.open(state / "buildtool.sqlite", Inline(), patience=0.0))
    store = SqlBrokerStore(writing)
    later = states.artifact(states.DONE, 2, b"made while the copy was")

    def link(source: Path, target: Path) -> None:
        run(store.commit([later], (), NOW))
        os.link(source, target)

    copied = run(Backup(state, tmp_path / "copy", link).run())
    run(writing.close())
    assert (copied.artifacts, copied.withdrawn) == (1, 0)
    assert run(Fsck(tmp_path / "copy", NOW).run(repair=False)).findings == ()


def test_where_files_cannot_be_linked_they_are_copied_and_compared_with_their_digest(
    state: Path, tmp_path: Path
) -> None:
    def refuse(_source: Path, _target: Path) -> None:
        raise OSError("another file system")

    copied = run(Backup(state, tmp_path / "copy", refuse).run())
    assert (copied.linked, copied.copied, copied.withdrawn) == (0, 6, 0)
    assert stored(tmp_path / "copy").stat().st_ino != stored(state).stat().st_ino
    soil(stored(state))
    assert run(Backup(state, tmp_path / "second", refuse).run()).withdrawn == 1
    assert not stored(tmp_path / "second").exists()
    assert run(Fsck(tmp_path / "second", NOW).run(repair=False)).findings == ()


def test_an_artifact_whose_file_is_gone_is_withdrawn_in_the_copy_and_counted(state: Path, tmp_path: Path) -> None:
    stored(state).unlink()
    done = metaserver(state, "--backup", str(tmp_path / "copy"))
    assert "1 artifacts had no file and are withdrawn in the copy" in done.stdout
    assert run(Fsck(tmp_path / "copy", NOW).run(repair=False)).findings == ()
    assert "artifact-missing" in metaserver(state, "--fsck").stdout, "the original stays as it is"


def test_a_growing_log_is_copied_lest_both_write_into_one_file(state: Path, tmp_path: Path) -> None:
    run(Backup(state, tmp_path / "copy").run())
    growing, finished = "logs/5-2.log", "logs/1-1.log.zst"
    assert (tmp_path / "copy" / growing).stat().st_ino != (state / growing).stat().st_ino
    assert (tmp_path / "copy" / finished).stat().st_ino == (state / finished).stat().st_ino


def test_a_log_that_is_compressed_while_it_is_copied_is_in_the_copy(state: Path, tmp_path: Path) -> None:
    packed = state / "logs" / "1-1.log.zst"
    kept = packed.read_bytes()
    packed.rename(tmp_path / "aside")
    (state / "logs" / "1-1.log").write_bytes(LOG)

    def link(source: Path, target: Path) -> None:
        if source.parent.name != "logs":
            (state / "logs" / "1-1.log").unlink(missing_ok=True)
            packed.write_bytes(kept)
        os.link(source, target)

    copied = run(Backup(state, tmp_path / "copy", link).run())
    assert copied.logs == 2
    assert (tmp_path / "copy" / "logs" / "1-1.log.zst").read_bytes() == kept


def test_a_backup_goes_nowhere_where_something_is(state: Path, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "something").write_text("of somebody's")
    (tmp_path / "file").write_text("")
    for target, why in (
        (used, "is not empty"),
        (tmp_path / "file", "is no directory"),
        (tmp_path / "missing" / "copy", "make it first"),
        (state / "copy", "inside the state directory"),
    ):
        with pytest.raises(UsageError, match=why):
            run(Backup(state, target).run())
    assert sorted(path.name for path in used.iterdir()) == ["something"]
    done = metaserver(state, "--backup", str(used))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_an_empty_directory_is_filled(state: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    run(Backup(state, tmp_path / "copy").run())
    assert (tmp_path / "copy" / "buildtool.sqlite").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing_behind(state: Path, tmp_path: Path) -> None:
    (state / "key").unlink()
    (state / "key").mkdir()  # what cannot be copied as a file
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageUnavailable, match="cannot write the backup"):
        run(Backup(state, tmp_path / "copy").run())
    assert sorted(tmp_path.iterdir()) == before


class Killed(BaseException):
    """The program is gone: nothing catches this, and nothing that comes after it is done either."""


class Killer:
    """An audit hook: it ends what the interpreter was about to do below a directory, from the ``at``-th act on."""

    def __init__(self, below: Path) -> None:
        self.below, self.at, self.acts = str(below), -1, 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.at < 0 or event.partition(".")[0] not in {"open", "os", "shutil", "sqlite3"}:
            return
        if any(isinstance(one, str | Path) and str(one).startswith(self.below) for one in arguments):
            self.acts += 1
            if self.acts > self.at:
                raise Killed


def test_wherever_a_backup_is_killed_there_is_none_or_a_whole_one_and_the_next_leaves_nothing_of_it(
    state: Path, tmp_path: Path
) -> None:
    target, killer = tmp_path / "copy" / "first", Killer(tmp_path / "copy")
    target.parent.mkdir()

    def more(staging: Path) -> int:
        (staging / "tls").mkdir(mode=0o700)
        (staging / "tls" / "authority-1.pem").touch(mode=0o600)
        return 1

    for step in range(0, 200, 3):
        killer.acts, killer.at = 0, step
        with suppress(Killed):
            run(Backup(state, target, more=more).run())
        killer.at = -1
        for path in (target.parent, *target.parent.rglob("*")):
            assert path == target.parent or not path.stat().st_mode & 0o077, path
        done = target.exists()
        if done:
            assert hashlib.sha256(stored(target).read_bytes()).hexdigest() == DIGEST
            shutil.rmtree(target)
        run(Backup(state, target.with_name("next"), more=more).run())
        assert [path.name for path in target.parent.iterdir()] == ["next"]
        shutil.rmtree(target.with_name("next"))
        if done and killer.acts <= step:
            return
    raise AssertionError("it was never whole")


def test_a_backup_leaves_alone_what_another_one_is_writing_and_what_is_no_copy(state: Path, tmp_path: Path) -> None:
    foreign, written = tmp_path / ".mail.01234567.partial", tmp_path / ".copy.01234567.partial"
    for place in (foreign, written):
        (place / ("inbox" if place == foreign else "artifacts")).mkdir(parents=True)
    descriptor = os.open(written, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        run(Backup(state, tmp_path / "copy").run())
        assert foreign.exists()
        assert written.exists()
    finally:
        os.close(descriptor)
    run(Backup(state, tmp_path / "second").run())
    assert foreign.exists()
    assert not written.exists()


def test_the_digest_of_the_restored_artifact_is_that_of_its_row(state: Path, tmp_path: Path) -> None:
    run(Backup(state, tmp_path / "copy").run())
    assert hashlib.sha256(stored(tmp_path / "copy").read_bytes()).hexdigest() == DIGEST


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o606])
def test_a_passphrase_that_everybody_may_read_or_change_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    secret.chmod(mode)
    with pytest.raises(UsageError, match=r"^--passphrase-file .*passphrase is open to everybody .*: chmod 600 it$"):
        offline_commands._passphrase(secret)
    for kept in (0o600, 0o640, 0o400):
        secret.chmod(kept)
        assert offline_commands._passphrase(secret) == b"correct horse"
