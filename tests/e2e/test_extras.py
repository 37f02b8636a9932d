"""A donor and a requester install what their own program needs; whoever installs all three needs no checkout."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.control import Control
from tests.e2e.test_operator import operate

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


def copied(source: Path) -> None:
    """Copy what a wheel is built of, since building leaves traces beside the sources."""
    source.mkdir()
    for name in ("buildtool", "web", "docs/man"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "CHANGES.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)


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
    copied(source)
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


def test_the_wheel_of_a_requester_and_one_line_are_all_that_it_takes_to_ask(control: Control, tmp_path: Path) -> None:
    """No checkout, no configuration and no lock: what the package itself says that it needs comes from the index."""
    control.farm.extra |= {"BUILDTOOL_TRUSTED": "nobody", "XDG_CONFIG_HOME": str(control.directory / "home")}
    control.farm.start_metaserver()
    line = operate(control, "invite", "anna", "--owner", "anna@example.org")
    control.server("anna", "--join", line)
    line = operate(control, "invite", "ben", "--role", "requester", "--owner", "ben@example.org")

    copied(tmp_path / "source")
    done(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, tmp_path / "source")
    (wheel,) = tmp_path.glob("*.whl")
    shutil.rmtree(tmp_path / "source")
    place, home = tmp_path / "venv", tmp_path / "home"
    home.mkdir()
    done(sys.executable, "-m", "venv", place)
    done(*installing(place / "bin" / "python"), f"{wheel}[requester]")
    bare = {name: text for name, text in os.environ.items() if not name.startswith(("BUILDTOOL_", "XDG_", "PYTHON"))}

    def said(*words: str) -> str:
        ended = subprocess.run(
            [place / "bin" / "startcompile.py", *words], env={**bare, "HOME": str(home)}, cwd=home,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    assert "joined" in said("join", line)
    assert "--greeting {hello,goodbye}" in said("--help")
    events = [json.loads(event) for event in said("--greeting=goodbye", "--foreground", "--json").splitlines()]
    assert (events[-1]["state"], Path(events[-1]["path"]).parent) == ("satisfied", Path())
    assert list(home.glob("*.zip"))
    assert " satisfied " in said("list").splitlines()[1]
    assert "--greeting=goodbye" in said("__complete", "zsh", "--greeting=g")
    assert (place / "share" / "man" / "man1" / "startcompile.py.1").is_file()
