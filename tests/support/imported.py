"""Sources of examples that nobody here wrote: downloaded once, into the checkout's cache, as `make demo-lua` does."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.packages import require, require_that

ROOT = Path(__file__).resolve().parent.parent.parent
IMPORTER = ROOT / "examples" / "import_sources.py"
PATIENCE = 480
"""Seconds that an import may take on a machine with much else to do."""


def import_sources(
    name: str, repository: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the examples' script for one of them to its end."""
    words = [sys.executable, str(IMPORTER), name, str(repository), *arguments]
    return subprocess.run(
        words, env=environment or None, capture_output=True, text=True, check=False, timeout=PATIENCE,
        cwd=repository.parent,
    )  # fmt: skip


@cache
def need_sources(name: str) -> None:
    """Skip the test, or fail it, where Debian's source packages are neither cached nor to be had."""
    require("git", "git")
    with tempfile.TemporaryDirectory() as place:
        done = import_sources(name, Path(place) / "sources.git")
    said = " ".join(done.stderr.split())
    require_that(present=not done.returncode, what=f"the sources of {name} are not here", remedy=said)
