"""Bad input to the real programs: one clear line that names what was wrong, a code that says so, nothing lost."""

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.e2e.control import CONFIG, Control
from tests.support.packages import require_that

USAGE = 2

STANDING = pytest.mark.xdist_group("standing")  # one metaserver for all of them
PROGRAMS = ("metaserver", "webserver", "buildserver.py", "startcompile.py")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--colour=red", "ann@example.org"], "--colour"),
        (["--greeting=howdy", "ann@example.org"], "one of hello, goodbye"),
        (["--memory=lots", "ann@example.org"], "a whole number"),
        (["--loud=perhaps", "ann@example.org"], "--loud"),
        (["--greeting=goodbye", "--loud", "ann@example.org"], "--loud=yes needs --greeting=hello"),
        (["--arch=ppc", "--bits=64", "ann@example.org"], "bits=64 contradicts arch=ppc"),
        (["--revision=main", "--revrange=main..other", "ann@example.org"], "--revrange"),
        (["--revrange=sideways", "ann@example.org"], "--revrange"),
        ([], "address"),
        (["ann"], "ann"),
        (["ann@example.org", "bob@example.org"], "bob@example.org"),
        (["ann@example.org\nBcc: all@example.org"], "address"),
        (["--project=gimp", "ann@example.org"], "greeter"),
        (["--cancel=nonsense"], "nonsense"),
        (["--source=elsewhere", "ann@example.org"], "elsewhere"),
    ],
)
@STANDING
def test_a_wrong_command_line_is_a_usage_error_in_one_line(standing: Control, arguments: list[str], named: str) -> None:
    assert named in standing.refused(*arguments, code=USAGE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_option_is_one_line_in_every_program(control: Control, program: str) -> None:
    line = failed_start(control, program, "--confog=x", code=USAGE)
    assert line == f"{program}: unknown option --confog (did you mean --config?)"


@STANDING
def test_an_unknown_ref_is_an_error_at_once_and_never_silently_the_newest(standing: Control) -> None:
    line = standing.refused("--revision=no-such-branch", "ann@example.org", code=8)
    assert "no-such-branch" in line
    line = standing.refused(f"--revision={'0' * 40}", "ann@example.org", code=8)
    assert "0" * 40 in line


@STANDING
def test_an_unreachable_repository_is_named(standing: Control) -> None:
    line = standing.refused("--source=nowhere", "ann@example.org", code=8)
    assert "no-such-repository.git" in line


def test_a_requester_without_a_metaserver_is_told_where_none_answers(control: Control) -> None:
    line = control.refused("ann@example.org", code=7)
    assert str(control.farm.ports["BUILDTOOL_PB_PORT"]) in line


def test_a_metaserver_whose_port_is_taken_names_port_and_setting(control: Control) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", control.farm.ports["BUILDTOOL_PB_PORT"]))
        taken.listen()
        line = failed_start(control, "metaserver", code=1)
    assert str(control.farm.ports["BUILDTOOL_PB_PORT"]) in line
    assert "pb_port" in line


@STANDING
def test_two_metaservers_cannot_share_a_state_directory(standing: Control) -> None:
    assert "one metaserver at a time" in failed_start(standing, "metaserver", code=1)


WRONG = {
    "projects = [": "config.py",
    "pb_prot = 1\nprojects = []": "pb_port",
    "public_url = 5\nprojects = []": "public_url",
    "1 / 0": "division by zero",
    "projects = [load('missing.py')]": "missing.py",
}


@pytest.mark.parametrize(
    ("program", "text"),
    [
        pytest.param(program, text, marks=[] if number % len(PROGRAMS) == place else pytest.mark.long)
        for place, program in enumerate(PROGRAMS)
        for number, text in enumerate(WRONG)
    ],
)
def test_a_wrong_configuration_stops_every_program_in_one_line(
    control: Control, tmp_path: Path, program: str, text: str
) -> None:
    """Each mistake with one program, and each program with one; `make long` has all of both."""
    config = tmp_path / "config.py"
    config.write_text(text)
    arguments = ["ann@example.org"] if program == "startcompile.py" else []
    assert WRONG[text] in failed_start(control, program, *arguments, config=config, code=2)


def test_a_configuration_that_is_not_there_is_named(control: Control, tmp_path: Path) -> None:
    assert "nowhere.py" in failed_start(control, "metaserver", config=tmp_path / "nowhere.py", code=2)


@pytest.mark.parametrize("arguments", [["--check-config"], []])
def test_a_metaserver_without_projects_says_that_there_is_nothing_to_build(
    control: Control, tmp_path: Path, arguments: list[str]
) -> None:
    config = tmp_path / "config.py"
    config.write_text("projects = []\n")
    line = failed_start(control, "metaserver", *arguments, config=config, code=2)
    assert line == f"metaserver: {config}: projects is empty, so there is nothing to build"


def test_an_empty_secret_file_stops_the_start_with_its_name(control: Control, tmp_path: Path) -> None:
    secret = tmp_path / "mail.secret"
    config = tmp_path / "config.py"
    config.write_text(
        "projects = []\nmail = {'host': 'localhost', 'sender': 'farm@example.org', 'username': 'farm', "
        f"'password_file': {str(secret)!r}}}\n"
    )
    assert "mail.secret" in failed_start(control, "metaserver", config=config, code=2)
    secret.touch(0o600)
    secret.write_text("\n")
    assert "mail.secret is empty" in failed_start(control, "metaserver", config=config, code=2)


def test_a_database_from_a_newer_version_is_refused_by_name(control: Control) -> None:
    control.farm.start_metaserver().stop()
    path = control.farm.directory / "metaserver" / "buildtool.sqlite"
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    line = failed_start(control, "metaserver", code=1)
    assert "9999" in line
    assert "buildtool.sqlite" in line


def test_a_webserver_without_a_database_says_what_to_start_first(control: Control) -> None:
    line = failed_start(control, "webserver")
    assert "metaserver" in line


def test_an_emptied_key_is_not_silently_replaced(control: Control) -> None:
    control.farm.start_metaserver().stop()
    (control.farm.directory / "metaserver" / "key").write_bytes(b"")
    assert "key" in failed_start(control, "metaserver", code=2)


def test_check_config_says_what_it_understood(control: Control) -> None:
    done = run_program(control, "metaserver", "--check-config")
    assert done.returncode == 0
    assert "greeter" in done.stdout


def failed_start(
    control: Control, program: str, *arguments: str, config: Path = CONFIG, code: int | None = None
) -> str:
    """Run a program that cannot start; return the one line that it said on stderr."""
    done = run_program(control, program, *arguments, config=config)
    assert done.returncode == code if code is not None else done.returncode not in (0, -6, -11), done
    lines = [line for line in done.stderr.strip().splitlines() if " info " not in line]
    assert len(lines) == 1, done.stderr
    return lines[0]


def run_program(
    control: Control, program: str, *arguments: str, config: Path = CONFIG
) -> subprocess.CompletedProcess[str]:
    """Run a program of the checkout to its end."""
    words = [sys.executable, str(control.farm.root / "bin" / program), "--config", str(config), *arguments]
    return subprocess.run(
        words, env=control.farm.environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_a_full_disk_refuses_new_requests_with_a_reason_and_is_forgotten_once_there_is_room(control: Control) -> None:
    state = control.farm.directory / "metaserver"
    state.mkdir()
    require_that(present=os.geteuid() == 0, what="mounting a small tmpfs", remedy="run the tests as root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(state)], check=True)
    try:
        metaserver = control.farm.start_metaserver()
        control.ask("ann@example.org")
        filler = state / "filler"
        with filler.open("wb") as file:
            fill(file)
        line = control.refused("--greeting=goodbye", "ann@example.org", code=8)
        assert "nothing was accepted" in line
        filler.unlink()
        assert control.ask("--greeting=goodbye", "ann@example.org")["answer"] == "queued"
        metaserver.stop()
    finally:
        control.farm.stop()
        subprocess.run(["umount", str(state)], check=True)


def fill(file: BinaryIO) -> None:
    """Write until the disk is full."""
    for size in (64 * 1024, 512, 1):
        try:
            while True:
                os.write(file.fileno(), b"x" * size)
        except OSError:
            continue
