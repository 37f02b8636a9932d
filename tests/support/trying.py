"""``bin/buildserver.py`` for integrators: run to its end, in a build directory of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.warm_starts import begin

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bin" / "buildserver.py"
PATIENCE = 600.0
"""Seconds that a trial may take on a machine with much else to do."""


def tried(
    *words: str | Path, builds: Path, cwd: Path = ROOT, patience: float = PATIENCE, **environment: str
) -> tuple[int, str, str]:  # fmt: skip
    """Return the exit code, and what was printed on standard output and on standard error."""
    process = begin(
        [sys.executable, str(PROGRAM), *map(str, words)],
        env={"PATH": os.environ["PATH"], "BUILDTOOL_BUILD_DIR": str(builds), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )
    try:
        out, err = process.communicate(timeout=patience)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()
