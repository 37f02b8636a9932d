"""A farm that runs from a repository: a commit that does not start is gone back from, the next good one is taken."""

import json
import os
import shutil
import signal
import site
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import buildtool
from buildtool.programs.updating.rounds import EXIT_GONE_BACK
from tests.e2e.control import Control
from tests.support.signed_origin import SignedOrigin, make_key

pytestmark = pytest.mark.long

ROOT = Path(buildtool.__file__).resolve().parents[1]
PYTHON = os.path.realpath(sys.executable)
PATIENCE = 120.0

ENVIRONMENT = '''\
"""Make an environment without fetching anything: it has the packages of the one that runs the tests."""
import filecmp, os, shutil, subprocess, sys
subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], check=True)
place = ".venv/lib/python%d.%d/site-packages/tests.pth" % sys.version_info[:2]
with open(place, "w") as stream:
    stream.write({packages!r})
for top, _, names in os.walk("buildtool"):  # what is the same was compiled already
    for name in names:
        mine, theirs = os.path.join(top, name), os.path.join({root!r}, top, name)
        if name.endswith(".py") and os.path.exists(theirs) and filecmp.cmp(mine, theirs, shallow=False):
            shutil.copystat(theirs, mine)
            compiled = os.path.join("__pycache__", name[:-2] + sys.implementation.cache_tag + ".pyc")
            if os.path.exists(os.path.join({root!r}, top, compiled)):
                os.makedirs(os.path.join(top, "__pycache__"), exist_ok=True)
                shutil.copy2(os.path.join({root!r}, top, compiled), os.path.join(top, compiled))
'''


class UpdatedFarm:
    """A farm whose metaserver runs from a repository of the program."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.place = control.directory / "opt"
        self.key = control.directory / "key"
        self.signers = make_key(self.key)
        self.origin = SignedOrigin(control.directory / "program")
        leave = shutil.ignore_patterns("__pycache__", "*.pyc")
        for part in ("bin", "buildtool", "deploy", "web"):
            shutil.copytree(ROOT / part, self.origin.path / part, symlinks=True, ignore=leave)
        (self.origin.path / ".ci").mkdir()
        packages = "\n".join(site.getsitepackages())
        (self.origin.path / ".ci/venv.py").write_text(ENVIRONMENT.format(packages=packages, root=str(ROOT)))
        (self.origin.path / ".gitignore").write_text(".venv\n__pycache__\n")
        self.pid = control.directory / "m.pid"
        self.restart = f"bin/metaserver restart --web --pid-file {self.pid} --log-file {control.directory / 'log'}"

    def push(self, name: str, old: str, new: str) -> str:
        """Commit a signed version in which a file is another."""
        path = self.origin.path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return self.origin.push(self.key)

    def words(self) -> list[str]:
        """What a timer runs: the version that is installed, else that of the tests."""
        script = self.place / "current/deploy/update"
        program = [PYTHON, str(script)] if script.exists() else [sys.executable, str(ROOT / "deploy/update")]
        url = f"http://127.0.0.1:{self.control.farm.ports['BUILDTOOL_WEB_PORT']}/ready"
        return [
            *program, "--place", str(self.place), "--source", self.origin.url, "--branch", "main", "--signed-by",
            str(self.signers), "--restart", self.restart, "--ready", url, "--ready", "bin/metaserver status",
            "--same", f"cat {self.pid}", "--watch", "1", "--within", "60",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The environment of the farm, with all the programs of this machine."""
        return self.control.farm.environment(PATH=os.environ["PATH"])

    def run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        environment = self.environment()
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def update(self) -> tuple[int, str]:
        """Run an update, and return its exit code and what it said."""
        done = self.run(self.words())
        return done.returncode, done.stdout + done.stderr

    def metaserver(self, *words: str) -> str:
        """Run the metaserver that is installed."""
        done = self.run([PYTHON, str(self.place / "current/bin/metaserver"), *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def version(self) -> str:
        """What the pages say of their version."""
        url = f"http://127.0.0.1:{self.control.farm.ports['BUILDTOOL_WEB_PORT']}/health"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return str(json.load(answer)["version"])


@pytest.fixture
def updated(control: Control) -> Iterator[UpdatedFarm]:
    made = UpdatedFarm(control)
    try:
        yield made
    finally:
        if made.pid.exists():
            made.metaserver("stop", "--pid-file", str(made.pid))


def test_an_update_that_fails_goes_back_by_itself_and_the_next_good_one_is_taken(updated: UpdatedFarm) -> None:
    control = updated.control
    first = updated.origin.push(updated.key)
    code, said = updated.update()
    assert code == 0, said
    updated.metaserver(*updated.restart.split()[1:])
    control.server("elm")
    assert control.ask("ann@example.org", "--foreground")["build_state"] == "succeeded"

    start = "    metaserver = Metaserver("
    broken = updated.push("buildtool/programs/metaserver/main.py", start, f'    raise ValueError("broken")\n{start}')
    code, said = updated.update()
    assert code == EXIT_GONE_BACK, said
    assert f"{broken[:12]} is gone back from, and {first[:12]} runs again: it was not started" in said
    assert (updated.place / "current").resolve().name == first
    assert (updated.version(), control.ask("ben@example.org", "--foreground")["answer"]) == (
        buildtool.__version__,
        "hit",
    )
    code, said = updated.update()
    assert (code, "makes" in said) == (EXIT_GONE_BACK, False), said

    good = updated.push("buildtool/programs/metaserver/main.py", '    raise ValueError("broken")\n', "")
    good = updated.push("buildtool/__init__.py", f'"{buildtool.__version__}"', '"9.9.9"')
    with subprocess.Popen(updated.words(), env=updated.environment(), stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        assert any(" starts " in line for line in killed.stderr)
        killed.send_signal(signal.SIGKILL)
    code, said = updated.update()
    assert code == 0, said
    assert "goes on with" in said
    assert (updated.place / "current").resolve().name == good
    assert updated.version() == "9.9.9"
    control.commit(**{"main.c": control.source("second")})
    assert control.ask("cem@example.org", "--foreground")["build_state"] == "succeeded"
