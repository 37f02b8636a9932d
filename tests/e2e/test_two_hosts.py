"""A farm and a donor on hosts of their own, of which only port 443 of the farm is open: one line, and a build comes."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define, field

from buildtool.demo.local_farm import Program
from tests.support.hosts import Host, two_hosts
from tests.support.packages import require

CHECKOUT = Path(__file__).resolve().parent.parent.parent

SECONDS = 60.0
"""Far more than it takes, which is printed: other tests run at the same time."""


@define
class Clone:
    """A fresh clone of the programs on a host, and what runs from it."""

    host: Host
    directory: Path
    programs: list[Program] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        for name in ("bin", "buildtool", "testproject", "web"):
            shutil.copytree(CHECKOUT / name, self.directory / name)  # byte code too, which each clone would make
        for name in ("config.py", "setup.cfg"):
            shutil.copy(CHECKOUT / name, self.directory)

    def environment(self, **said: str) -> dict[str, str]:
        """Return what a shell on this host has, and ``said``."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.directory), "PYTHONUNBUFFERED": "1", **said}

    def words(self, program: str, *words: str) -> list[str]:
        return self.host.words(sys.executable, str(self.directory / "bin" / program), *words)

    def start(self, program: str, *words: str, **said: str) -> Program:
        started = Program.start(program, self.words(program, *words), self.environment(**said))
        self.programs.append(started)
        return started

    def run(self, program: str, *words: str, **said: str) -> str:
        """Run a program to its end, which must be a good one; return what it printed."""
        done = subprocess.run(
            self.words(program, *words), env=self.environment(**said), cwd=self.directory, capture_output=True,
            text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Clone, Clone]]:
    for needed, package in {"git": "git", "gcc": "gcc", "make": "make"}.items():
        require(needed, package)
    with two_hosts(443) as (here, there):
        farm, donor = Clone(here, tmp_path / "farm"), Clone(there, tmp_path / "donor")
        try:
            yield farm, donor
        finally:
            for program in (*donor.programs, *farm.programs):
                print(f"--- {program.name}", *program.lines, sep="\n", file=sys.stderr)
                program.stop()


def test_who_reaches_only_port_443_joins_builds_gets_what_was_built_and_is_gone_once_revoked(
    hosts: tuple[Clone, Clone],
) -> None:
    farm, donor = hosts
    subprocess.run(
        [sys.executable, "-m", "buildtool.demo.sources"],
        env=farm.environment(PYTHONPATH=str(farm.directory)), cwd=farm.directory, check=True,
    )  # fmt: skip
    said = {"BUILDTOOL_HOST": farm.host.address, "BUILDTOOL_PB_PORT": "443", "BUILDTOOL_TRUSTED": "nobody"}
    closed = "import socket; socket.create_connection(('192.0.2.1', 23433), 0.3)"
    with pytest.raises(subprocess.CalledProcessError):
        donor.host.run(sys.executable, "-c", closed)
    assert farm.host.knocked() == 1

    began = time.monotonic()
    farm.start("metaserver", **said).wait_for("ready: control port")
    ready = time.monotonic()
    line = farm.run("metaserver", "invite", "anna", **said)
    anna = donor.start("buildserver.py", "--join", line)
    anna.wait_for("registered at")
    registered = time.monotonic()
    line = farm.run("metaserver", "invite", "ben", "--role", "requester", "--owner", "ben@example.org", **said)
    donor.run("startcompile.py", "join", line)
    found = donor.run(
        "startcompile.py", "--json", "--host", farm.host.address, "--port", "443", "--project", "testproject",
        "--checksum=crc32", "--utf8=no", "--foreground", "ben@example.org",
    )  # fmt: skip
    delivered = time.monotonic()
    assert json.loads(found.splitlines()[-1])["build_state"] == "succeeded"
    assert list(donor.directory.glob("testproject-*.zip"))
    print(
        f"ready after {ready - began:.1f} s, registered {registered - ready:.1f} s later, "
        f"delivered {delivered - registered:.1f} s after that",
        file=sys.stderr,
    )
    assert delivered - began < SECONDS

    farm.run("metaserver", "revoke", "anna", **said)
    anna.wait_for("the key of anna was revoked", 5.0)
    assert not json.loads(farm.run("metaserver", "status", "--json", **said))["servers_connected"]
    lost = [line for line in (*anna.lines, *farm.programs[0].lines) if re.search("Traceback|defect", line)]
    assert not lost
    # Nobody tried to reach anybody but by that port: nothing was turned away at either host.
    assert (farm.host.knocked(), donor.host.knocked()) == (0, 0)
