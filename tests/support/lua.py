"""Lua's sources for tests: downloaded once, into the checkout's cache, as `make demo-lua` does."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from tests.support.packages import require, require_that

ROOT = Path(__file__).resolve().parent.parent.parent
IMPORTER = ROOT / "examples" / "lua" / "import_sources.py"


def import_sources(repository: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the example's script to its end."""
    words = [sys.executable, str(IMPORTER), str(repository), *arguments]
    return subprocess.run(
        words, env=environment or None, capture_output=True, text=True, check=False, timeout=240, cwd=repository.parent
    )


@cache
def need_sources() -> None:
    """Skip the test, or fail it, where Debian's source packages are neither cached nor to be had."""
    require("git", "git")
    with tempfile.TemporaryDirectory() as place:
        done = import_sources(Path(place) / "lua.git")
    said = " ".join(done.stderr.split())
    require_that(present=not done.returncode, what="Lua's sources are not here", remedy=said)
