"""Secrets stand in no command line, environment, log, page or answer, and a build that prints one prints a mask."""

import json
import os
import ssl
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.e2e.test_operator import operate

TOKEN = "s3cr3t-of-the-donor"

BUILD = """\
set -e
printf 'now s3cr3t-of'; sleep 0.6; echo '-the-donor'
cat "$CONTROL/token" >&2
env > program
tr '\\0' '\\n' < /proc/$PPID/environ >> program 2>/dev/null || true
test "$1" = hello || { echo "failed with s3cr3t-of-the-donor"; exit 1; }
"""


def running(farm: Control) -> list[int]:
    """Return the numbers of the farm's processes, and of what these have started."""
    marks = [str(farm.directory).encode()]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if any(mark in said for mark in marks):
                found.append(int(entry.name))
    return found


def seen(farm: Control, page: str) -> str:
    """Return a page of the control port, as anybody sees it."""
    anyone = ssl._create_unverified_context()  # noqa: S323 - a browser that believes what it is shown
    where = f"https://127.0.0.1:{farm.farm.ports['BUILDTOOL_PB_PORT']}/{page}"
    with urllib.request.urlopen(where, context=anyone) as answer:
        body: bytes = answer.read()
    return body.decode()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system has no /proc")
def test_no_secret_is_seen_by_anybody_wherever_they_look(control: Control, tmp_path: Path) -> None:
    farm = control.farm
    token = control.control("token")
    token.write_text(f"TOKEN={TOKEN}\n")
    farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(tmp_path / "home")}
    control.commit(**{"build.sh": BUILD})
    farm.start_metaserver("--web")
    line = operate(control, "invite", "anna")
    (tmp_path / "line").write_text(line)
    control.server("anna", "--join", str(tmp_path / "line"), "--secret-files", str(token))
    person = operate(control, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")
    (tmp_path / "person").write_text(person)
    assert farm.request("join", str(tmp_path / "person")).returncode == 0
    answers = [json.dumps(control.ask("ben@example.org", "--foreground", "--output", "built.zip"))]
    failed = farm.request("--json", "ben@example.org", "--foreground", "--greeting", "goodbye")
    answers += [failed.stdout, failed.stderr]

    key = next(farm.directory.rglob("identity/key.pem")).read_text()
    secrets = [TOKEN, *(one.rpartition("/")[2] for one in (line, person))]
    secrets += [row for row in key.splitlines() if not row.startswith("-")]
    for number in running(control):
        words = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
        assert not [secret for secret in secrets if secret in words], words
    said = ["\n".join(program.lines) for program in farm.programs] + answers
    said += [operate(control, *words) for words in (("list", "--json"), ("status", "--json"), ("check-config",))]
    for number in (1, 2):
        said += [seen(control, page) for page in (f"builds/{number}", f"logs/{number}", "builds", "buildservers")]
    for text in said:
        assert not [secret for secret in secrets if secret in text], text
    log = seen(control, "logs/1")
    assert "now ***" in log, log
    assert log.count("***") == 2, log
    with zipfile.ZipFile(farm.directory / "built.zip") as archive:
        environment = archive.read("program").decode()
    assert not [secret for secret in secrets if secret in environment]
