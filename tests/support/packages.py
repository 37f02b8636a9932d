"""System programs that a test needs: skipped, or failed, by name and with the command that installs them."""

import os
import shutil
from typing import NoReturn

import pytest

REQUIRE_ALL = "BUILDTOOL_REQUIRE_ALL"
"""Set (to anything but nothing) where everything must be installed: there a missing program is a failure."""


def _absent(what: str, remedy: str) -> NoReturn:
    message = f"{what}: {remedy}"
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"{message} ({REQUIRE_ALL} is set)", pytrace=False)
    pytest.skip(message)


def require(program: str, package: str) -> str:
    """Return the path of `program`, or skip the test by name with the command that installs `package`.

    With BUILDTOOL_REQUIRE_ALL in the environment the test fails instead of being skipped.
    """
    path = shutil.which(program)
    if path is not None:
        return path
    _absent(f"{program} is not installed", f"apt-get install {package}")


def require_that(*, present: bool, what: str, remedy: str) -> None:
    """Skip or fail, see `require`, unless `present`: for a kernel feature, or for being root."""
    if not present:
        _absent(what, remedy)
