"""A configuration that hangs or ends its process is refused in one line that names the place in the operator's file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from buildtool.errors import ConfigurationError
from buildtool.programs.metaserver.checking import apart, within
from buildtool.project.recipe_check import Within

ROOT = Path(__file__).resolve().parents[3]
FILE = Path("/farm/config.py")
PROJECT = """\
import os, time
from buildtool.project import *

def plan(wanted):
    {body}
    return Plan([Command(["make"])], ["x"])

projects = [Project("lua", ProjectOptions((), ()), Recipe(1, plan), lambda source: "https://git.example/x.git")]
"""


def refused(act: object, **bounds: float) -> str:
    with pytest.raises(ConfigurationError) as caught:
        apart(act, FILE, **bounds)  # type: ignore[arg-type]
    return str(caught.value)


def forever() -> None:
    while True:
        time.sleep(1)


def test_what_is_found_comes_back() -> None:
    assert apart(lambda _within: {"lines": ["a", "\N{SNOWMAN}"]}, FILE) == {"lines": ["a", "\N{SNOWMAN}"]}


def test_nothing_that_is_done_there_is_done_here() -> None:
    found: list[int] = []
    apart(lambda _within: found.append(1), FILE)
    assert found == []


def test_what_it_prints_is_no_part_of_what_is_answered_here(capfd: pytest.CaptureFixture[str]) -> None:
    apart(lambda _within: print("hello"), FILE)
    assert capfd.readouterr() == ("", "hello\n")


def test_an_error_is_told_as_it_is() -> None:
    def act(_within: Within) -> None:
        raise ConfigurationError("x is y")

    assert refused(act) == "x is y"


def test_what_hangs_is_broken_off_where_it_hangs() -> None:
    with pytest.raises(ConfigurationError, match=r"^took longer than 0\.05 s$"), within(0.05):
        forever()


def test_what_does_not_let_itself_be_broken_off_is_killed_and_named() -> None:
    def act(within: Within) -> None:
        with within("project lua: its recipe (config.py:4)"):
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            forever()

    said = refused(act, patience=0.1, grace=0.1)
    assert said == "project lua: its recipe (config.py:4): took longer than 0.1 s, and does not stop"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda: os._exit(0), "ended the program with exit code 0"),
        (lambda: os._exit(3), "ended the program with exit code 3"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "ended the program by SIGKILL"),
    ],
)
def test_what_ends_its_process_is_named_with_how_it_ended(end: object, words: str) -> None:
    def act(within: Within) -> None:
        with within("project lua: its recipe"):
            end()  # type: ignore[operator]

    assert refused(act) == f"project lua: its recipe: {words}"
    assert refused(lambda _within: end()) == f"{FILE}: {words}"  # type: ignore[operator]


def test_a_defect_is_no_fault_of_the_configuration() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        apart(lambda _within: 1 // 0, FILE)


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_a_recipe_that_ends_the_program_is_one_line_with_its_place(tmp_path: Path, command: str) -> None:
    config = tmp_path / "config.py"
    config.write_text(PROJECT.format(body="os._exit(0)"))
    done = subprocess.run(
        [sys.executable, "bin/metaserver", command, "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = f"metaserver: project lua: its recipe ({config}:4): ended the program with exit code 0\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.skipif(sys.platform != "linux", reason="this system does not tell children of their parent's end")
def test_what_hangs_is_not_left_behind_by_a_program_that_is_killed(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    deaf = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])"
    body = deaf + "; os.write({0}, b'.'); time.sleep(1e6)"
    reading, writing = os.pipe()
    config.write_text(PROJECT.format(body=body.format(writing)))
    words = [sys.executable, "bin/metaserver", "--check-config", "--config", str(config)]
    program = subprocess.Popen(words, cwd=ROOT, pass_fds=[writing])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read(1) == b"."
        program.kill()
        assert pipe.read() == b"", "nobody has the pipe any more"
    program.wait()


def test_what_a_recipe_forks_ends_with_the_check(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    reading, writing = os.pipe()
    body = f"os.fork() or (os.write({writing}, b'.'), time.sleep(1e6))"
    config.write_text(PROJECT.format(body=body))
    words = [sys.executable, "bin/metaserver", "--check-config", "--config", str(config)]
    program = subprocess.Popen(words, cwd=ROOT, pass_fds=[writing], stdout=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert set(pipe.read()) <= set(b"."), "all of them have ended"
    assert program.wait() == 0
