"""Programs that another account starts, one without a home or a name: what it may not use is told in one line."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs.common.surroundings import ROOT
from tests.support.packages import require, require_that

NOBODY = "54321"
"""A number that no account has."""

SYSTEM_PYTHON = Path("/usr/bin/python3")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory)
        made.chmod(0o755)
        yield made


def as_nobody(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an account that has neither a name nor a home, with no more environment than that."""
    require("setpriv", "util-linux")
    require_that(present=os.geteuid() == 0, what="another account is tried", remedy="run the tests as root")
    command = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", *words]
    return subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def program(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the checkout as that account, with a Python of the version that its packages are for."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    look = f"import sys, attrs, twisted.internet; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for python in (str(Path(sys.executable).resolve()), str(SYSTEM_PYTHON)):
        if not as_nobody(python, "-c", look, PYTHONPATH=packages).returncode:
            return as_nobody(python, str(ROOT / "bin" / name), *words, PYTHONPATH=packages, **environment)
    pytest.skip("another account cannot load the packages of this checkout")


@pytest.mark.parametrize("name", ["metaserver", "webserver", "buildserver.py", "startcompile.py"])
def test_a_python_that_the_account_may_not_start_is_told_in_one_line(name: str, place: Path) -> None:
    parts = ("", "programs", "programs/common")
    for file in (
        f"bin/{name}",
        *(f"buildtool/{part}/__init__.py" for part in parts),
        "buildtool/programs/common/checkout.py",
    ):
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, place / file)
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").symlink_to(SYSTEM_PYTHON)
    (place / ".venv" / "bin").mkdir(parents=True)
    python = place / ".venv" / "bin" / "python"
    python.symlink_to(closed / "python")
    done = as_nobody(str(SYSTEM_PYTHON), "-I", str(place / "bin" / name))
    assert done.returncode == 1
    remedy = "run `make venv PYTHON=...` with one that you may use"
    assert done.stderr == f"{name}: {python} cannot be started (Permission denied): {remedy}\n"


@pytest.mark.parametrize(
    ("name", "flag"),
    [("metaserver", "--check-config"), ("buildserver.py", "--show-info"), ("startcompile.py", "--help")],
)
def test_an_account_without_a_home_uses_the_example_like_any_other(name: str, flag: str) -> None:
    done = program(name, flag, *(["--no-cross"] if flag == "--show-info" else []))
    assert done.returncode == 0, done.stderr
    assert "testproject" in done.stdout
    assert done.stderr == ""


def test_a_home_that_is_not_known_is_asked_for_where_a_path_begins_with_it(place: Path) -> None:
    config = place / "config.py"
    config.write_text("state_dir = '~/state'\n")
    done = program("webserver", "--check-config", "--config", str(config))
    assert done.returncode == 2
    assert done.stderr == (
        f"webserver: {config}: state_dir: ~/state begins with ~, but no home directory is known: set HOME, or say the "
        "whole path\n"
    )


@pytest.mark.parametrize(("name", "words"), [("webserver", ()), ("metaserver", ("--fsck",)), ("metaserver", ())])
def test_a_state_directory_of_another_account_is_told_in_one_line(
    name: str, words: tuple[str, ...], place: Path
) -> None:
    state = place / "state"
    state.mkdir(mode=0o700)
    done = program(name, *words, BUILDTOOL_STATE_DIR=str(state))
    assert done.returncode == 1
    assert done.stderr.count("\n") - done.stderr.count(" info ") == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"{name}: {state}")
    assert "Permission denied" in last


def test_an_artifact_for_a_directory_that_is_closed_is_refused_before_anybody_is_asked(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    done = program("startcompile.py", "--output", f"{place}/closed/x.zip", "ann@mail.example")
    assert done.returncode == 2
    assert done.stderr == f"startcompile.py: --output: {place}/closed/x.zip cannot be used: Permission denied\n"
