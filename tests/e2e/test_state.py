"""The state directory is not believed blindly: real metaservers on what was copied, moved, deleted, emptied."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildtool.demo.local_farm import Program
from tests.adapters.maintenance.states import soil
from tests.e2e.control import BUILD, Control
from tests.support.packages import require_that


@pytest.fixture
def running(control: Control) -> Control:
    """A farm whose metaserver serves the pages too."""
    control.farm.start_metaserver("--web")
    return control


def health(control: Control) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{control.farm.public_url}/health", timeout=20) as told:  # noqa: S310 - http
            said = told.read()
    except urllib.error.HTTPError as refused:
        with refused:
            said = refused.read()
    found: dict[str, Any] = json.loads(said)
    return found


def code_of(url: str) -> int:
    """Return with which status an address is answered."""
    try:
        with urllib.request.urlopen(url, timeout=20) as told:  # noqa: S310 - http
            return int(told.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def state_of(control: Control) -> Path:
    return Path(control.farm.directory / "metaserver")


def metaserver(control: Control) -> Program:
    (found, *_) = [program for program in control.farm.programs if program.name == "metaserver"]
    return found


def start(control: Control, *words: str) -> Program:
    """Start a metaserver that may not come up."""
    return control.farm.start("metaserver", [str(control.farm.root / "bin" / "metaserver"), "--web", *words])


def test_a_second_metaserver_is_refused_although_the_lock_was_removed(running: Control) -> None:
    first = metaserver(running)
    (state_of(running) / "lock").unlink()
    second = start(running)
    assert second.ended() == 1
    (said,) = second.lines
    assert re.search(rf"is used by metaserver, process {first.process.pid} on \S+, since .* UTC: one metaserver", said)
    assert running.ask("ann@example.org")["state"] == "waiting"


@pytest.mark.long
def test_nothing_is_accepted_into_a_directory_that_was_moved_and_all_is_well_when_it_is_back(running: Control) -> None:
    accepted = running.ask("ann@example.org")
    state, aside = state_of(running), running.directory / "aside"
    state.rename(aside)
    assert "is gone" in running.refused("bob@example.org", code=8)
    metaserver(running).wait_for("nothing is accepted any more: .* is gone")
    assert any("nothing is accepted any more" in line for line in health(running)["problems"])
    aside.rename(state)
    metaserver(running).wait_for("is there again, and this metaserver goes on")
    assert running.ask("cid@example.org", "--greeting=goodbye")["request_id"] == accepted["request_id"] + 1
    assert running.ask("--cancel", accepted["cancel_id"])["state"] == "cancelled"


def test_a_directory_that_was_deleted_or_replaced_takes_nothing_and_ends_the_metaserver(
    running: Control,
) -> None:
    state = state_of(running)
    shutil.copytree(state, running.directory / "copy", ignore=shutil.ignore_patterns("control"))
    state.rename(running.directory / "aside")
    (running.directory / "copy").rename(state)
    assert "is another file than the one that was opened" in running.refused("bob@example.org", code=8)
    shutil.rmtree(state)
    assert "is gone" in running.refused("bob@example.org", code=8)
    assert metaserver(running).stop() == 1
    assert not state.exists(), "it makes nothing in its place"


@pytest.mark.long
@pytest.mark.parametrize("emptied", [False, True])
def test_a_start_beside_artifacts_whose_database_is_lost_is_refused_unless_it_is_meant(
    running: Control, *, emptied: bool
) -> None:
    running.server("anna")
    running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert metaserver(running).stop() == 0
    state = state_of(running)
    for path in state.glob("buildtool.sqlite*"):
        path.unlink()
    if emptied:
        (state / "buildtool.sqlite").touch()
    refused = start(running)
    assert refused.ended() == 2
    (said,) = refused.lines
    assert re.search(
        rf"buildtool.sqlite is {'empty' if emptied else 'missing'}, and a start would forget what an earlier one knew "
        r"\(1 artifact, \d logs?\): .* or say --accept-new-database if a new one is meant",
        said,
    )
    start(running, "--accept-new-database").wait_for("ready:")
    assert len(list((state / "artifacts").rglob("*.zip"))) == 1


@pytest.mark.long
def test_an_old_cancel_id_fits_no_request_of_a_restored_backup_but_its_own(running: Control) -> None:
    """Numbers that were given after the backup are given again; what was asked for before it can be taken back."""
    farm = running.farm
    before = running.ask("ann@example.org")
    backup = farm.start("backup", [str(farm.root / "bin" / "metaserver"), "--backup", str(farm.directory / "copy")])
    assert backup.ended() == 0
    after = running.ask("--greeting=goodbye", "bob@example.org")
    metaserver(running).stop()
    shutil.rmtree(state_of(running))
    shutil.copytree(farm.directory / "copy", state_of(running))
    again = start(running)
    again.wait_for("it is a backup, made ")
    again.wait_for("ready:")
    stranger = running.ask("--force", "--greeting=goodbye", "cid@example.org")
    assert stranger["request_id"] == after["request_id"]
    assert stranger["cancel_id"] != after["cancel_id"]
    assert "is not the token of request" in running.refused("--cancel", after["cancel_id"], code=8)
    assert running.ask("--cancel", before["cancel_id"])["state"] == "cancelled"
    assert running.ask("--cancel", stranger["cancel_id"])["state"] == "cancelled"
    # A plain restart is no new life, nor is a move.
    again.stop()
    state_of(running).rename(farm.directory / "elsewhere")
    farm.extra["BUILDTOOL_STATE_DIR"] = str(farm.directory / "elsewhere")
    moved = start(running)
    moved.wait_for("ready:")
    assert not any("told apart" in line for line in moved.lines)


@pytest.fixture
def apart(control: Control) -> Iterator[Control]:
    """A farm whose artifacts/ is a file system of its own, of eight megabytes."""
    place = state_of(control) / "artifacts"
    place.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require_that(present=mounted, what="a small tmpfs cannot be mounted", remedy="run the tests as root")
    try:
        control.farm.start_metaserver("--web")
        yield control
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_artifacts_on_a_file_system_of_their_own_are_published_and_downloaded(apart: Control) -> None:
    apart.server("anna")
    built = apart.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert built["state"] == "satisfied"
    again = apart.ask("--output", "two.zip", "bob@example.org")
    assert (again["answer"], (apart.farm.directory / "two.zip").exists()) == ("hit", True)
    assert list((state_of(apart) / "incoming").iterdir()) == []


def test_a_byte_that_is_flipped_with_its_time_kept_is_delivered_to_nobody(running: Control) -> None:
    running.server("anna")
    built = running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    (stored,) = (state_of(running) / "artifacts").rglob("*.zip")
    soil(stored, 30)
    assert code_of(built["artifact"]["url"]) == 410
    metaserver(running).wait_for("is damaged, in quarantine, and withdrawn")
    assert running.ask("--foreground", "--output", "two.zip", "bob@example.org")["answer"] != "hit"


def test_a_fifo_in_the_state_directory_holds_up_neither_logs_nor_backups(running: Control) -> None:
    running.server("anna")
    built = running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    logs = state_of(running) / "logs"
    (log,) = (one for one in logs.glob(f"{built['build_id']}-1.log*") if one.suffix != ".idx")
    log.unlink()
    os.mkfifo(log)
    url = f"http://127.0.0.1:{running.farm.ports['BUILDTOOL_TRANSFER_PORT']}/logs/{built['build_id']}/1"
    assert code_of(url) == 507
    copy = running.farm.directory / "copy"
    backup = running.farm.start("backup", [str(running.farm.root / "bin" / "metaserver"), "--backup", str(copy)])
    assert backup.ended() == 0
    assert [path.name for path in (copy / "logs").iterdir()] == []


def configured(control: Control, *changes: tuple[str, str]) -> None:
    """Let the metaserver read another configuration, in which some text is another."""
    text = (Path(__file__).parent / "config.py").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    control.farm.config.write_text(text)
    metaserver(control).send(signal.SIGHUP)
    metaserver(control).wait_for("the configuration was read again")


@pytest.mark.long
def test_a_configuration_that_moved_on_ends_what_nobody_can_build_and_blames_no_build_server(running: Control) -> None:
    farm = running.farm
    farm.config = farm.directory / "config.py"
    farm.config.write_text((Path(__file__).parent / "config.py").read_text())
    metaserver(running).stop()
    running.farm.start_metaserver("--web")
    (*_, started) = [program for program in farm.programs if program.name == "metaserver"]
    farm.programs[:] = [started, *(program for program in farm.programs if program is not started)]
    running.server("anna").stop()
    gone = running.ask("--greeting=goodbye", "ann@example.org")
    stays = running.ask("bob@example.org")
    configured(running, ('["hello", "goodbye"]', '["hello"]'))
    ended = running.ask("--why", gone["cancel_id"])
    assert "does not take what was asked for: --greeting: 'goodbye' is not one of hello" in json.dumps(ended)
    configured(running, ('name="greeter"', 'name="welcomer"'))
    words = "project greeter is not configured: its open build waits until it is, or expire"
    assert any(words in line for line in started.lines)
    assert "project greeter is not configured, and 1 build waits for it" in health(running)["problems"]
    why = json.dumps(running.ask("--why", stays["cancel_id"]))
    assert "project greeter is not configured at the metaserver" in why
    assert "anna" not in why
    configured(running)
    assert health(running)["problems"] == []


@pytest.mark.long
def test_what_keeps_an_artifact_from_being_kept_is_told_and_its_slot_builds_something_else(apart: Control) -> None:
    """One that does not fit into the eight megabytes of artifacts/."""
    apart.server("anna")
    big = "head -c 12000000 /dev/urandom >> program"
    apart.commit(**{"build.sh": f"{BUILD}test $1 = hello || {big}\n"})
    apart.ask("--greeting=goodbye", "ann@example.org")
    metaserver(apart).wait_for("trouble: build 1.1 is built on anna and not delivered since .*: .*the disk is full")
    assert any("is built on anna and not delivered since" in line for line in health(apart)["problems"])
    small = apart.ask("--foreground", "--output", "one.zip", "bob@example.org")
    assert small["state"] == "satisfied"


def test_descriptors_that_run_out_are_told(running: Control) -> None:
    program = metaserver(running)
    resource.prlimit(program.process.pid, resource.RLIMIT_NOFILE, (64, 64))
    address = ("127.0.0.1", running.farm.ports["BUILDTOOL_PB_PORT"])
    with contextlib.ExitStack() as held:
        for _ in range(64):
            held.enter_context(socket.create_connection(address, timeout=20))
        program.wait_for("trouble: connections are closed at once, since no more files and connections can be open")
    assert any("raise ulimit -n" in line for line in health(running)["problems"])


def test_a_missing_key_and_a_missing_git_are_told(running: Control) -> None:
    metaserver(running).stop()
    (state_of(running) / "key").unlink()
    running.farm.extra["PATH"] = str(running.directory / "nothing")
    again = start(running)
    again.wait_for("is not the key of the last start")
    for _ in range(2):  # the first look at what troubles it is made beside the start, and ends before or after it
        again.wait_for("ready:|trouble: git is not in PATH")
    problems = health(running)["problems"]
    assert any("is not the key of the last start" in line for line in problems)
    assert any("git is not in PATH" in line for line in problems)


@pytest.mark.long
def test_a_damaged_database_is_told_while_the_metaserver_runs(running: Control) -> None:
    running.ask("ann@example.org")
    database = state_of(running) / "buildtool.sqlite"
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages = database.stat().st_size // 4096
    with database.open("r+b") as file:
        for page in range(1, pages):
            file.seek(4096 * page)
            file.write(os.urandom(4096))
    running.refused("--force", "bob@example.org", code=8)
    metaserver(running).wait_for("is damaged|malformed")
    assert any("malformed" in line or "damaged" in line for line in health(running)["problems"])
