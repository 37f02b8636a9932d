"""Programs of the checkout, started in surroundings that a shell, a supervisor or another account may give them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.packages import require, require_that

ROOT = Path(__file__).resolve().parents[3]

QUIET = ("Traceback", "defect", "Exception ignored")


def words(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "bin" / program), *arguments]


def bare(**more: str) -> dict[str, str]:
    """An environment in which nothing of the surroundings configures the programs or Python."""
    unwanted = ("BUILDTOOL_", "PYTHON", "LC_", "LANG")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)} | more


def shell(script: str, environment: Mapping[str, str], **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script of bash, in which ``$PY`` is this Python and ``$BIN`` where the programs are."""
    return subprocess.run(
        ["bash", "-c", script],
        env={**environment, "PY": sys.executable, "BIN": str(ROOT / "bin"), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


def locale_at(directory: Path) -> dict[str, str]:
    """Make a locale whose encoding is ISO-8859-1, and return what in the environment chooses it."""
    place = directory / "de_DE.ISO-8859-1"
    command = ["localedef", "-f", "ISO-8859-1", "-i", "de_DE", str(place)]
    require("localedef", "libc-bin")
    subprocess.run(command, capture_output=True, check=False)
    require_that(present=place.is_dir(), what="there is no de_DE.ISO-8859-1", remedy="apt-get install locales")
    return {"LOCPATH": str(directory), "LC_ALL": place.name}


PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""An environment in which Python takes everything for ASCII."""
