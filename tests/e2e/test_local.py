"""A farm inside one process: one command tries a recipe, and Ctrl-C leaves nothing of it."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildtool.demo.local_farm import BUILD_PATIENCE, Program, is_free
from buildtool.programs.common.ending import ROOT
from buildtool.programs.metaserver.main import main
from tests.support.packages import require_that

pytestmark = pytest.mark.world

RECIPE = """
from buildtool.project import Command, Plan, Project, ProjectOptions, Recipe, standard

project = Project(
    name="sleepy",
    options=ProjectOptions(system=standard("os", "arch"), compile=()),
    recipe=Recipe(version=1, plan=lambda wanted: Plan([Command(["sleep", "98765.4"])], ["README"])),
    path_to_url=lambda source: {repository!r},
)
"""


def started(directory: Path, *words: str) -> Program:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("BUILDTOOL_")}
    more = {"TMPDIR": str(directory), "BUILDTOOL_STATE_DIR": "/nowhere", "BUILDTOOL_WEB_PORT": "1"}
    command = [sys.executable, str(ROOT / "bin" / "metaserver"), "--local", *words]
    return Program.start("local", command, {**environment, **more, "PYTHONUNBUFFERED": "1"})


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for temporary files, in which nothing is left at the end."""
    path = tmp_path / "tmp"
    path.mkdir()
    yield path
    assert list(path.iterdir()) == []


def asked(line: str, *words: str) -> list[str]:
    """The words of the printed command, with others for what it does."""
    command = line.split()
    at = command.index("--foreground")
    return [sys.executable, *command[:at], *words, *command[at + 1 :]]


def ended(program: Program) -> None:
    """Press Ctrl-C, and see that it ends well and leaves no process."""
    assert program.stop(signal.SIGINT) == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(program.process.pid, 0)


def test_one_command_has_a_farm_that_builds_what_the_printed_line_asks_for_and_shows_it(directory: Path) -> None:
    program = started(directory)
    try:
        program.wait_for(r"A farm runs here until Ctrl-C: 1 build server, whose builds run (in a|without)")
        pages = program.wait_for(r"the pages, with a form to ask: +(http://127\.0\.0\.1:([0-9]+)/)$")
        line = program.wait_for(r"ask for testproject: +(\S.*)$")[1]
        (there,) = directory.iterdir()
        assert there.name.startswith("buildtool-local-")
        assert there.stat().st_mode & 0o777 == 0o700
        command = asked(line, "--foreground", "--json", "--output", str(directory.parent / "out.zip"))
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_PATIENCE)
        told = json.loads(said.stdout.splitlines()[-1])
        assert (said.returncode, told["answer"]) == (0, "dispatched"), said.stderr
        assert told["artifact"]["server"] == "local-1"
        with urllib.request.urlopen(f"{pages[1]}build/1") as page:  # noqa: S310 - of loopback
            assert b"testproject" in page.read()
        with urllib.request.urlopen(f"{pages[1]}request?project=testproject") as page:  # noqa: S310 - of loopback
            assert b"<form" in page.read()
    finally:
        ended(program)
    assert is_free(int(pages[2]))


@pytest.mark.long
def test_ctrl_c_in_the_middle_of_a_build_of_a_recipe_of_ones_own_ends_that_too(tmp_path: Path, directory: Path) -> None:
    require_that(present=Path("/proc/self/stat").exists(), what="processes are not listed", remedy="use Linux")
    repository = tmp_path / "sources"
    for words in (["init", "-q", str(repository)], ["-C", str(repository), "commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@localhost", *words], check=True)
    recipe = tmp_path / "sleepy.py"
    recipe.write_text(RECIPE.format(repository=str(repository)))
    program = started(directory, "2", "--recipe", str(recipe), "--project", "sleepy", "--platforms", "native")
    try:
        program.wait_for(r"2 build servers")
        line = program.wait_for(r"ask for sleepy: +(\S.*)$")[1]
        subprocess.run(asked(line), check=True, capture_output=True, timeout=BUILD_PATIENCE)
        said = subprocess.Popen(asked(line, "--foreground"), stdout=subprocess.PIPE, text=True)
        with said, said.stdout or pytest.fail("it says nothing"):
            assert any(re.search(r"\[.*sleep 98765\.4\]", one) for one in said.stdout or ())
            assert sleeping()
            said.kill()
    finally:
        ended(program)
    assert not sleeping()


def sleeping() -> bool:
    """Whether the command of that recipe runs."""
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if one.read_bytes().startswith(b"sleep\x0098765.4"):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_is_closed_while_the_farm_begins_leaves_nothing_either(
    tmp_path: Path, directory: Path, number: signal.Signals
) -> None:
    recipe = tmp_path / "slow.py"
    recipe.write_text("import time\nprint('here', flush=True)\ntime.sleep(1_000)\n")
    program = started(directory, "--recipe", str(recipe))
    program.wait_for("^here$")
    assert program.stop(number) == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--project lua", "unknown project 'lua'; there is testproject"),
        (
            "--recipe /nowhere/config.py",
            "/nowhere/config.py: there is no such file: --recipe",
        ),
        ("--recipe .", f"{Path.cwd()}: is no file: --recipe names"),
        ("--recipe /dev/null", "/dev/null: is no file: --recipe names"),
        ("--platforms sparcle", "--platforms: "),
        ("0", "N: '0' is not a whole number from 1 to 16"),
    ],
)
def test_what_cannot_be_tried_is_one_line_and_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setattr("buildtool.programs.local.running.forbid_inspection", lambda: None)  # the tests' own process
    assert main(["local", *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"metaserver: {said}")


def test_a_recipe_without_a_project_is_blamed_and_not_the_file_that_goes_with_the_farm(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    recipe = tmp_path / "none.py"
    recipe.write_text("projects = []\n")
    assert main(["local", "--recipe", str(recipe)]) == 2
    assert capsys.readouterr().err == f"metaserver: {recipe}: projects is empty, so there is nothing to build\n"
