"""A project that nobody here wrote: three releases of Lua, for this machine and for others, by real processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imported import need_sources
from tests.support.packages import require

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("lua")]  # the sources are downloaded once


def test_the_demo_builds_and_runs_every_release_and_keeps_its_promises(tmp_path: Path) -> None:
    for program, package in (
        ("make", "make"),
        ("powerpc-linux-gnu-gcc", "gcc-powerpc-linux-gnu libc6-dev-powerpc-cross"),
        ("s390x-linux-gnu-gcc", "gcc-s390x-linux-gnu libc6-dev-s390x-cross"),
        ("qemu-ppc-static", "qemu-user-static"),
    ):
        require(program, package)
    need_sources("lua")
    words = [sys.executable, "-m", "buildtool.demo.demo_lua", "--directory", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    for promised in (r"5\.4\.7 .* native ", r"ppc +5\.4\.4 .* cross +qemu-ppc", r"s390x +5\.4\.2 .* cross +qemu-s390x"):
        assert re.search(promised, done.stdout), done.stdout
    assert "a hit, in" in done.stdout
    assert "All as promised" in done.stdout
