"""Secrets stand in no command line, environment, log, page or answer, and a build that prints one prints a mask.

On disk each stands in one file, which is its owner's alone.
"""

import json
import os
import ssl
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.demo.local_farm import free_ports
from tests.e2e.control import Control
from tests.e2e.test_identities import program
from tests.e2e.test_operator import operate

TOKEN = "s3cr3t-of-the-donor"
PASSWORD = "pa55word-of-the-mail-server"
PASSPHRASE = "pa55phrase-of-the-backups"

BUILD = """\
set -e
printf 'now s3cr3t-of'; sleep 0.6; echo '-the-donor'
cat "$CONTROL/token" >&2
env > program
tr '\\0' '\\n' < /proc/$PPID/environ >> program 2>/dev/null || true
test "$1" = hello || { echo "failed with $(cut -d= -f2 "$CONTROL/token")"; exit 1; }
"""

MAILING = """
from pathlib import Path
exec(compile(Path({path!r}).read_text(), {path!r}, "exec"))
mail = {{"host": "127.0.0.1", "port": {port}, "sender": "farm@example.org", "username": "farm",
         "password_file": {password!r}}}
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


def private_keys(directory: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield the files with private keys, and the lines of each that nobody else may know."""
    for path in directory.rglob("*.pem"):
        _, begin, rest = path.read_text().partition("-----BEGIN PRIVATE KEY-----")
        if begin:
            yield path, rest.partition("-----END")[0].split()


def written(farm: Control, name: str, text: str) -> Path:
    path = farm.directory / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system has no /proc")
def test_no_secret_is_seen_by_anybody_wherever_they_look(control: Control, tmp_path: Path) -> None:
    farm, home = control.farm, tmp_path / "home"
    farm.popen = subprocess.Popen  # what others see of a process is its own from the first moment
    token = written(control, "control/token", f"TOKEN={TOKEN}\n")
    password, passphrase = written(control, "mail", f"{PASSWORD}\n"), written(control, "phrase", f"{PASSPHRASE}\n")
    (port,) = free_ports(1)  # where nobody takes mail
    words = MAILING.format(path=str(farm.config), port=port, password=str(password))
    farm.config = written(control, "mailing.py", words)
    farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(home)}
    control.commit(**{"build.sh": BUILD})
    metaserver = farm.start_metaserver("--web")
    line, person = (written(control, name, operate(control, "invite", name, *more)) for name, more in (
        ("anna", ()), ("ben", ("--role", "requester", "--owner", "ben@example.org")),
    ))  # fmt: skip
    control.server("anna", "--join", str(line), "--secret-files", str(token))
    assert farm.request("join", str(person)).returncode == 0
    answers = [json.dumps(control.ask("ben@example.org", "--foreground", "--output", "built.zip"))]
    failed = farm.request("--json", "ben@example.org", "--foreground", "--greeting", "goodbye")
    again = farm.request("join", str(person), XDG_CONFIG_HOME=str(tmp_path / "elsewhere"))
    assert again.returncode != 0
    assert "used already" in again.stderr
    doctor = program(control, "metaserver", "doctor", "--json")
    answers += [one for done in (failed, again, doctor) for one in (done.stdout, done.stderr)]
    answers.append(operate(control, "backup", str(tmp_path / "backup"), "--passphrase-file", str(passphrase)))

    keys = dict(private_keys(tmp_path))
    assert {path.name for path in keys} == {"key.pem", "server.pem", "authority-1.pem"}
    homes: dict[str, set[Path]] = {TOKEN: {token}, PASSWORD: {password}, PASSPHRASE: {passphrase}}
    homes |= {one.read_text().rpartition("/")[2].strip(): {one} for one in (line, person)}
    homes |= {row: {path} for path, rows in keys.items() for row in rows[:2]}
    for number in running(control):
        for what in ("cmdline", "environ"):
            said = Path(f"/proc/{number}/{what}").read_bytes().decode(errors="replace")
            assert not [secret for secret in homes if secret in said], said
    said_by_all = ["\n".join(one.lines) for one in farm.programs] + answers
    said_by_all += [operate(control, *words) for words in (("list", "--json"), ("status", "--json"), ("check-config",))]
    for number in (1, 2):
        said_by_all += [
            seen(control, page) for page in (f"builds/{number}", f"logs/{number}", "builds", "buildservers")
        ]
    for text in said_by_all:
        assert not [secret for secret in homes if secret in text], text
    log = seen(control, "logs/1")
    assert "now ***" in log, log
    assert log.count("***") == 2, log
    with zipfile.ZipFile(farm.directory / "built.zip") as archive:
        environment = archive.read("program").decode()
    assert not [secret for secret in homes if secret in environment]

    metaserver.kill()
    ticket_key = farm.directory / "metaserver" / "key"
    on_disk = {secret.encode(): places for secret, places in homes.items()}
    on_disk[ticket_key.read_bytes()] = {ticket_key, tmp_path / "backup" / "key"}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data, mode = path.read_bytes(), path.stat().st_mode
            for secret in (one for one in on_disk if one in data):
                assert path in on_disk[secret], (path, secret)
                assert not mode & 0o077, path
