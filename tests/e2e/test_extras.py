"""A donor and a requester install what their own program needs, and it does without the metaserver's packages."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.demo.local_farm import Program
from tests.e2e.control import Control

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent
METASERVERS = ("alembic", "jinja2", "klein", "sqlalchemy")


def environment(directory: Path, program: str) -> Path:
    """Make an environment from the lock of one program, and return its Python."""
    python = directory / "bin" / "python"
    install = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", "--require-hashes"]
    for words in (
        [sys.executable, "-m", "venv", str(directory)],
        [*install, "-r", str(ROOT / f"requirements-{program}.txt")],
    ):
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
    look = f"from importlib.util import find_spec; print([n for n in {METASERVERS} if find_spec(n)])"
    assert subprocess.run([str(python), "-c", look], capture_output=True, text=True, check=True).stdout == "[]\n"
    return python


def test_a_build_server_and_a_requester_need_none_of_the_metaservers_packages(running: Control, tmp_path: Path) -> None:
    farm = running.farm
    building, asking = (environment(tmp_path / name, name) for name in ("buildserver", "requester"))
    own = farm.environment(BUILDTOOL_BUILD_DIR=str(tmp_path / "build"), E2E_SERVER="anna")
    server = Program.start("anna", [str(building), str(ROOT / "bin/buildserver.py"), "--name", "anna"], own)
    farm.programs.append(server)
    server.wait_for("registered")
    asked = [str(ROOT / "bin/startcompile.py"), "--json", "--foreground", "--output", "one.zip", "ann@example.org"]
    done = subprocess.run(
        [str(asking), *asked],
        env=farm.environment(),
        cwd=farm.directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["answer"] == "dispatched"
    assert (farm.directory / "one.zip").is_file()
