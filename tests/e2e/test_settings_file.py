"""One settings file for the real programs: what it sets, who may read it, and what a start says of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.programs.common.ending import ROOT

pytestmark = pytest.mark.world


def program(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing else in its environment."""
    found = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(
        [sys.executable, ROOT / "bin" / name, *words], env=found, capture_output=True, text=True, check=False
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file of a machine with all programs, which its account alone may read."""
    path = tmp_path / "settings.toml"
    path.write_text(
        f"""
        config = {json.dumps(str(ROOT / "config.py"))}
        state_dir = "metaserver"
        build_dir = "builds"
        token = "bt_hunter2"
        [mail]
        host = "mail.example.org"
        sender = "farm@example.org"
        username = "farm"
        password = "hunter2"
        [webserver]
        port = 8099
        [buildserver]
        name = "attic"
        max_builds = 2
        """
    )
    path.chmod(0o600)
    return path


def test_each_program_says_what_the_file_set_and_no_secret(file: Path) -> None:
    for name, expected in (
        ("metaserver", {"mail.password": "(a secret)", "state_dir": repr("metaserver")}),
        ("webserver", {"port": "8099"}),
        ("buildserver.py", {"name": "'attic'", "max_builds": "2", "build_dir": repr("builds")}),
    ):
        done = program(name, "check-config", "--json", BUILDTOOL_SETTINGS=str(file))
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)["set"]
        found = {one["name"]: one["value"] for one in told}
        assert expected.items() <= found.items()
        assert {one["by"].partition(": ")[0] for one in told} == {str(file), str(ROOT / "config.py")}
        assert "hunter2" not in done.stdout


def test_a_file_with_secrets_that_everybody_may_read_keeps_every_program_from_starting(file: Path) -> None:
    file.chmod(0o644)
    for name, words in (
        ("metaserver", ["check-config"]), ("webserver", []), ("buildserver.py", ["check-config"]),
        ("startcompile.py", ["list"]),
    ):  # fmt: skip
        done = program(name, *words, "--settings-file", str(file))
        assert done.returncode == 2
        why = "mail.password is a secret, and everybody on this machine may read it: chmod 640 the file"
        assert done.stderr == f"{name}: {file}: {why}\n"


def test_the_environment_of_a_container_goes_before_the_file_and_a_mistake_in_it_names_the_variable(file: Path) -> None:
    said = {"BUILDTOOL_SETTINGS": str(file), "BUILDTOOL_WEBSERVER_PORT": "8100"}
    said |= {"BUILDTOOL_WEBSERVER_SERVICE_HOST": "10.0.0.1", "BUILDTOOL_WEB_PORT": "tcp://10.0.0.1:80"}
    done = program("webserver", "check-config", **said)
    assert "set             port = '8100', by $BUILDTOOL_WEBSERVER_PORT" in done.stdout.splitlines()
    assert "web port        8080   http://127.0.0.1:8080" in done.stdout
    done = program("webserver", "check-config", **said, BUILDTOOL_WEBSERVER_PROT="8100")
    assert (done.returncode, done.stderr) == (
        2, "webserver: $BUILDTOOL_WEBSERVER_PROT sets nothing: did you mean $BUILDTOOL_WEBSERVER_PORT?\n"
    )  # fmt: skip
