"""A donor and a requester install what their own program needs; whoever installs all three needs no checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.control import Control

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
METASERVERS = ("alembic", "jinja2", "klein", "sqlalchemy")
TESTERS = ("hypothesis", "mypy", "pytest", "sphinx", "treq")


def done(*words: str | Path) -> str:
    """Run a command, which has to exit with 0, and return what it printed."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240, cwd="/")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def installing(python: Path) -> tuple[str | Path, ...]:
    """Return the words of a pip that leaves compiling to whoever starts a program."""
    return (python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-compile")


def environment(directory: Path, *programs: str, without: tuple[str, ...]) -> Path:
    """Make an environment from the locks of some programs, and return its Python."""
    python = directory / "bin" / "python"
    done(sys.executable, "-m", "venv", directory)
    locks = (word for program in programs for word in ("-r", ROOT / f"requirements-{program}.txt"))
    done(*installing(python), "--require-hashes", *locks)
    look = f"from importlib.util import find_spec; print([n for n in {without} if find_spec(n)])"
    assert done(python, "-c", look) == "[]\n"
    return python


def test_a_build_server_and_a_requester_need_none_of_the_metaservers_packages(running: Control, tmp_path: Path) -> None:
    building, asking = (
        environment(tmp_path / name, name, without=METASERVERS + TESTERS) for name in ("buildserver", "requester")
    )
    running.farm.python = str(building)
    running.server("anna")
    running.farm.python = str(asking)
    answered = running.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert (answered["answer"], answered["state"]) == ("dispatched", "satisfied")
    assert (running.farm.directory / "one.zip").is_file()


def test_installed_programs_are_a_whole_farm(control: Control, tmp_path: Path) -> None:
    """The package is installed beside what the locks have and nothing else; no checkout is in sight."""
    place, source = tmp_path / "installed", tmp_path / "source"
    python = environment(place, "metaserver", "buildserver", "requester", without=TESTERS)
    source.mkdir()
    for name in ("buildtool", "web"):  # installing leaves traces beside the sources
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "CHANGES.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done(*installing(python), f"{source}[metaserver,buildserver,requester]")
    shutil.rmtree(source)
    for program in ("metaserver", "webserver", "buildserver.py", "startcompile.py"):
        assert program in done(place / "bin" / program, "--help")
    control.farm.python, control.farm.root = str(python), place
    mail = control.farm.start_mail()
    control.farm.start_metaserver("--web")
    control.server("anna")
    pages = control.farm.start("webserver", [str(place / "bin" / "webserver"), "--port=0"])
    pages.wait_for("pages on http")
    first = control.ask("--foreground", "--output", "one.zip", "ann@example.org")
    assert (first["answer"], first["state"]) == ("dispatched", "satisfied")
    assert control.ask("bob@example.org")["answer"] == "hit"
    mail.wait_for("mail for ann@example.org")
