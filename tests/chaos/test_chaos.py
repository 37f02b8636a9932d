"""Chaos in short: the real programs, killed, frozen and cut off, and every request still ends exactly once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import end_all
from tests.support.packages import require

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent.parent


def test_whatever_crashes_when_every_request_ends_once_and_nothing_is_left_over(tmp_path: Path) -> None:
    """Another seed every time; a failure prints it, with the command that runs it again."""
    require("git", "git")
    require("gcc", "gcc")
    words = [sys.executable, "-m", "tests.chaos", "--short", "--directory", str(tmp_path)]
    try:
        done = subprocess.run(
            words, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=300
        )
    finally:
        end_all(tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in ("requests", "lost", "told_twice", "left_over")} == {
        "requests": 60,
        "lost": 0,
        "told_twice": 0,
        "left_over": 0,
    }
    assert not list(tmp_path.iterdir())
