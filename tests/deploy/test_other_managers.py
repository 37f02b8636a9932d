"""Files of deploy/ for launchd, OpenRC, cron and podman are whole, and start commands that there are."""

import json
import plistlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.man_pages import LINES

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def started(words: list[str]) -> str:
    """Return the command that these words start, whose options are ones that it has."""
    found, _said = LINES[Path(words[0]).name].parse(words[1:])
    return found.name


def test_launchd_starts_the_build_server_and_not_after_it_was_drained() -> None:
    said = plistlib.loads((DEPLOY / "launchd/org.buildtool.buildserver.plist").read_bytes())
    assert said["Label"] == "org.buildtool.buildserver"
    assert started(said["ProgramArguments"]) == "serve"
    assert said["KeepAlive"] == {"SuccessfulExit": False}


@pytest.mark.world
def test_openrc_starts_the_build_server_by_a_script_that_a_shell_reads() -> None:
    file = DEPLOY / "openrc/buildserver"
    subprocess.run(["/bin/sh", "-n", str(file)], check=True, timeout=60)
    said = dict(re.findall(r'^(\w+)="(.*)"$', file.read_text(), re.MULTILINE))
    assert started([said["command"], *shlex.split(said["command_args"].replace("${buildserver_args}", ""))]) == "serve"


def test_cron_starts_a_build_server_that_goes_into_the_background() -> None:
    (line,) = re.findall(r"^@reboot (.*)$", (DEPLOY / "cron/buildserver").read_text(), re.MULTILINE)
    assert started(shlex.split(line)) == "serve"
    assert "--daemon" in line


@pytest.mark.parametrize("name", ["metaserver", "buildserver"])
def test_an_image_starts_its_program_by_an_account_that_is_not_root(name: str) -> None:
    said = dict(re.findall(r"^([A-Z]+) (.*)$", (DEPLOY / f"containers/{name}.Containerfile").read_text(), re.MULTILINE))
    assert said["FROM"] == "$BASE", "another one may be begun with"
    assert started([*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]) == "serve"
    assert said["USER"] == name


def test_a_machine_that_is_started_for_the_purpose_has_the_same_unit_but_for_its_end() -> None:
    def lines(name: str) -> set[str]:
        text = (DEPLOY / f"systemd/{name}@.service").read_text()
        return {line for line in text.splitlines() if re.match(r"\w+=", line)}

    usual, once = lines("buildserver"), lines("buildserver-once")
    differ = {line.partition("=")[0] for line in usual ^ once}
    assert differ == {
        "Description", "Conflicts", "ExecStart", "ExecStopPost", "Restart", "RestartPreventExitStatus", "RestartSec",
        "SuccessExitStatus",
    }  # fmt: skip
    assert "ExecStopPost=+/sbin/shutdown now" in once
