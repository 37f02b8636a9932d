"""The systems that a build server and a requester run on: Linux and macOS, and Windows is told so in one line."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.programs.common import launch

ROOT = Path(__file__).resolve().parents[3]
ROOMS = (
    "programs.buildserver programs.startcompile programs.common programs.trying programs.doctors buildserver requester",
    "client adapters.host adapters.processes adapters.control adapters.http adapters.vcs adapters.tls adapters.network",
    "adapters.runtime",
)


def test_nothing_of_linux_is_imported_on_a_mac() -> None:
    """Whatever a build server or a requester can import, with what only Linux has taken away."""
    packages = [f"buildtool.{room}" for rooms in ROOMS for room in rooms.split()]
    command = [sys.executable, "-m", "tests.support.on_a_mac", *packages]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 150


@pytest.mark.parametrize("system", ["win32", "cygwin"])
def test_windows_is_refused_as_a_host_in_one_line(
    system: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("sys.path", [str(ROOT), *sys.path])
    with pytest.raises(SystemExit, match="Windows is no host for a build server: run it on Linux or macOS"):
        runpy.run_path(str(ROOT / "bin/buildserver.py"), run_name="__main__")

    assert launch.buildserver() == 1
    assert capsys.readouterr().err.count("\n") == 1
