"""A requester without a checkout and without a configuration: the metaserver describes its projects."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.control import Control

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from buildtool.programs.common.launch import startcompile; sys.exit(startcompile())"


def test_without_a_checkout_it_is_asked_once_which_projects_there_are(running: Control, tmp_path: Path) -> None:
    """A package beside which no config.py lies, as a wheel is installed."""
    left_out = shutil.ignore_patterns("__pycache__", "web")
    shutil.copytree(ROOT / "buildtool", tmp_path / "lib" / "buildtool", ignore=left_out)
    home, port = tmp_path / "home", running.farm.ports["BUILDTOOL_PB_PORT"]
    home.mkdir()
    bare = {name: text for name, text in os.environ.items() if not name.startswith(("BUILDTOOL_", "XDG_"))}

    def said(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-c", START, *words],
            env={**bare, "PYTHONPATH": str(tmp_path / "lib"), "HOME": str(home), **environment},
            cwd=home, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    lost = said("ann@example.org")
    assert (lost.returncode, lost.stderr.count("\n")) == (2, 1)
    assert "say --host HOST" in lost.stderr
    helped = said("--help")
    assert helped.returncode == 0
    assert "no project's options" in helped.stdout

    there = {"BUILDTOOL_HOST": "127.0.0.1", "BUILDTOOL_PB_PORT": str(port)}
    helped = said("--help", **there)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--greeting" in helped.stdout
    wrong = said("--greetign=hello", "ann@example.org", **there)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "did you mean --greeting?" in wrong.stderr
    assert "hello" in said("--greeting=nonsense", "ann@example.org", **there).stderr
    asked = said("--greeting=goodbye", "ann@example.org", **there)
    assert asked.returncode == 0, asked.stderr
    assert "queued as build 1" in asked.stdout

    (kept,) = (home / ".cache" / "buildtool" / "projects").iterdir()
    made = kept.stat().st_mtime_ns
    assert said("explain", "--greeting=hello", **there).returncode == 0
    assert kept.stat().st_mtime_ns == made, "nothing was asked that is known"
    kept.write_text('{"digest": "", "text": "\\u0000"}')
    assert said("explain", "--greeting=hello", **there).returncode == 0
    assert kept.stat().st_size > 1_000, "what was of no use was asked for anew"

    running.farm.programs[-1].kill()
    helped = said("--help", **there)
    assert (helped.returncode, "--greeting" in helped.stdout) == (0, True), "what was kept still says it"
