"""The programs as wholes: the demo, mail tests, several projects on one metaserver, orderly ends."""

import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.e2e.control import CONFIG, Control
from tests.e2e.test_bad_input import run_program


@pytest.mark.long
def test_two_demos_at_once_both_keep_their_promises(tmp_path: Path) -> None:
    root = CONFIG.parent.parent.parent
    words = [sys.executable, "-m", "buildtool.demo.demo", "--directory"]
    demos = [
        subprocess.Popen([*words, str(tmp_path / name)], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for name in ("one", "two")
    ]
    for demo in demos:
        said = demo.communicate(timeout=120)[0].decode()
        assert demo.returncode == 0, said
        for promised in ("SHA-256", "a hit, in", "the mail to", "All as promised"):
            assert promised in said


def test_a_mail_test_arrives_and_says_what_the_mail_server_answered(control: Control) -> None:
    mailbox = control.farm.start_mail()
    done = run_program(control, "metaserver", "--mail-test", "ann@example.org")
    assert done.returncode == 0, done.stderr
    assert "took a test mail for ann@example.org" in done.stdout
    mailbox.wait_for("mail for ann@example.org")


def test_a_mail_test_without_a_mail_server_says_so_in_one_line(control: Control) -> None:
    control.farm.mail_port = control.farm.ports["BUILDTOOL_WEB_PORT"]  # nobody listens there
    done = run_program(control, "metaserver", "--mail-test", "ann@example.org")
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert str(control.farm.mail_port) in done.stderr


def test_one_metaserver_carries_several_projects(control: Control, tmp_path: Path) -> None:
    both = tmp_path / "both.py"
    text = CONFIG.read_text()
    both.write_text(text + '\nimport attrs as _attrs\nprojects.append(_attrs.evolve(projects[0], name="second"))\n')
    control.farm.config = both
    control.farm.start_mail()
    control.farm.start_metaserver()
    control.server("anna")
    first = control.ask("--project=greeter", "--foreground", "--no-download", "ann@example.org")
    second = control.ask("--project=second", "--foreground", "--no-download", "ann@example.org")
    assert (first["answer"], second["answer"]) == ("dispatched", "dispatched"), "projects share no artifacts"
    assert control.ask("--project=second", "--no-download", "ann@example.org")["build_id"] == second["build_id"]
    assert "--project" in control.refused("ann@example.org", code=2)


def test_the_metaserver_ends_in_order_with_everybody_connected(running: Control) -> None:
    running.close_gate("anna")
    running.server("anna", "--max-builds=2")
    running.ask("ann@example.org")
    running.open_gate("anna")
    metaserver = running.farm.programs[1]
    assert metaserver.stop(signal.SIGTERM, seconds=10) == 0


def test_a_build_server_takes_as_many_builds_at_once_as_it_says(running: Control) -> None:
    running.close_gate("anna")
    running.server("anna", "--max-builds=2")
    answers = [
        running.ask(option, "ann@example.org") for option in ("--greeting=hello", "--greeting=goodbye", "--loud")
    ]
    assert [answer["answer"] for answer in answers] == ["dispatched", "dispatched", "queued"]
    assert any("busy" in line for line in answers[2]["why"])
    running.control("gate-anna").unlink()


def test_the_pages_show_a_build_and_its_log_and_link_to_the_zip(control: Control) -> None:
    control.farm.start_metaserver("--web")
    control.server("anna")
    done = control.ask("--foreground", "--no-download", "ann@example.org")
    web = control.farm.start("webserver", [str(control.farm.root / "bin" / "webserver")], BUILDTOOL_WEB_PORT="0")
    assert web.ended() != 0, "port 0 is refused"
    page = urllib.request.urlopen(f"{control.farm.public_url}/build/{done['build_id']}").read().decode()  # noqa: S310
    assert done["artifact"]["digest"] in page
    log = urllib.request.urlopen(f"{control.farm.public_url}/logs/{done['build_id']}").read().decode()  # noqa: S310
    assert "building on anna" in log
    assert urllib.request.urlopen(done["artifact"]["url"]).read()[:2] == b"PK"  # noqa: S310


def test_commands_get_none_of_the_build_servers_own_environment(running: Control) -> None:
    running.commit(**{"build.sh": "env > program\n"})
    os.environ["SECRET_OF_THE_DONOR"] = "hush"
    try:
        running.server("anna")
    finally:
        del os.environ["SECRET_OF_THE_DONOR"]
    running.ask("--foreground", "--output", "env.zip", "ann@example.org")
    with zipfile.ZipFile(running.farm.directory / "env.zip") as archive:
        said = archive.read("program").decode()
    assert "PATH=" in said
    assert "SECRET_OF_THE_DONOR" not in said
