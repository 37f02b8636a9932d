"""A server in the background: its start is seen at the terminal, whichever way it goes, and stop waits for its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.world

PROGRAM = """
import sys, os
from buildtool.errors import PortTaken
from buildtool.programs.common import program
from buildtool.programs.common.subcommands import Subcommand, Subcommands
from buildtool.programs.common.output import complain
from buildtool.programs.serving.detaching import serves
from buildtool.programs.serving.hosting import hosted, restart_command, stop_command
from buildtool.programs.serving.options import HOST_OPTIONS
from twisted.logger import Logger

def serve(said, log):
    async def main(reactor, stop):
        log_ = Logger(namespace="buildtool")
        what = os.environ.get("WHAT")
        if what == "taken":
            raise PortTaken("port 1 is taken")
        if what == "defect":
            raise ValueError("odd")
        if what == "killed":
            os.kill(os.getpid(), 9)
        log_.info("before")
        serves()
        os.write(2, b"past the program\\n")
        log_.info("{why}", why=await stop.asked())
        complain("and a last word")
        return 0
    if os.environ.get("WHAT") == "loading":
        raise RuntimeError("no such thing")
    return program.run("thing", main, log=log)

line = Subcommands(
    "thing", "A thing.",
    (
        Subcommand("serve", "serve", "", hosted("thing", serve), options=tuple(HOST_OPTIONS)),
        stop_command("thing"), restart_command("thing", serve, tuple(HOST_OPTIONS)),
    ),
    HOST_OPTIONS, {0: "all went well"},
)
from buildtool.programs.common import launch
import types
module = types.ModuleType("buildtool.programs.thing.main"); module.main = line.main
sys.modules["buildtool.programs.thing.main"] = module
sys.modules["buildtool.programs.thing"] = types.ModuleType("buildtool.programs.thing")
sys.exit(launch._run("thing", "thing"))
"""


def thing(directory: Path, *words: str, what: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=directory, capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WHAT": what},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def has_ended(number: int) -> bool:
    """Whether a process runs no more: where nothing adopts orphans, its number is still there."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_daemon_serves_when_its_start_returns_and_is_gone_when_stop_returns(tmp_path: Path) -> None:
    code, out, err = thing(tmp_path, "--daemon", "--pid-file", "pid")
    number = int((tmp_path / "pid").read_text())
    assert (code, out, err) == (0, f"thing: serves as process {number}\n", "")
    assert "before" in (tmp_path / "pid.log").read_text()
    assert os.getsid(number) != number  # it leads no session, so no terminal can become its own
    assert os.getsid(number) != os.getsid(0)

    code, out, err = thing(tmp_path, "--daemon", "--pid-file", "pid")
    assert (code, out) == (1, "")
    assert err.startswith(f"thing: it runs already, as process {number} ")

    code, out, err = thing(tmp_path, "--restart", "--pid-file", "pid", "--log-file", "other.log")
    second = int((tmp_path / "pid").read_text())
    assert second != number
    assert code == 0
    assert f"process {number} has ended" in out
    assert out.endswith(f"thing: serves as process {second}\n")

    code, out, err = thing(tmp_path, "--stop", "--pid-file", "pid")
    assert (code, err) == (0, "")
    assert out.startswith(f"thing: process {second} has ended, after ")
    assert has_ended(second)
    lines = (tmp_path / "other.log").read_text().splitlines()
    assert [line.rpartition("info  ")[2] for line in lines] == [
        "before", "past the program", "thing was told to stop (SIGTERM)", "and a last word",
    ]  # fmt: skip
    assert thing(tmp_path, "stop", "--pid-file", "pid", "--json")[:2] == (0, '{"stopped": null, "seconds": 0.0}\n')
    assert sorted(one.name for one in tmp_path.iterdir()) == ["other.log", "pid.log"]


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        ("taken", 1, "thing: port 1 is taken\n"),
        ("killed", 1, "thing: it was ended before it served\n"),
        ("loading", 1, "thing: a defect of thing: RuntimeError: no such thing"),
        ("defect", 1, "a defect of thing: ValueError: odd"),
    ],
)
def test_what_keeps_a_daemon_from_serving_is_said_at_the_terminal(
    tmp_path: Path, what: str, code: int, words: str
) -> None:
    found = thing(tmp_path, "--daemon", "--pid-file", "pid", what=what)
    assert found[:2] == (code, "")
    assert words in found[2]
    assert len(found[2].splitlines()) == 1
    assert (what == "killed") == (tmp_path / "pid").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--daemon",), "--daemon goes with --pid-file FILE"),
        (("--stop",), "stop goes with --pid-file FILE"),
        (("restart",), "restart goes with --pid-file FILE"),
        (("--daemon", "--pid-file", "gone/pid"), "--pid-file: "),
        (("--daemon", "--pid-file", "pid", "--log-file", "gone/log"), "--log-file: "),
    ],
)
def test_what_is_missing_is_said_in_one_line(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    code, out, err = thing(tmp_path, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"thing: {said}")
    assert not list(tmp_path.iterdir())
