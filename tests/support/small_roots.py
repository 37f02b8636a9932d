"""A small root file system for tests, of a few of this machine's programs, and a small mmdebstrap that copies it.

Its gcc makes what was made before: nothing of this is a compiler but for what is asked of one when it is tried.
"""

import re
import shutil
import subprocess
from pathlib import Path

from tests.support.packages import require

ANSWER = "buildtool libc glibc 2 31\nbuildtool cc gcc 10 2 1\n"

_GCC = """#!/bin/sh
case "$*" in
*-E*) cat /usr/lib/answer ;;
*) cp /usr/lib/made program ;;
esac
"""
_MADE = '#include <stdio.h>\nint main(void) { return puts("built by buildtool") < 0; }\n'
_MMDEBSTRAP = """#!/bin/sh
echo "$*" >> {here}/asked
if [ -f {here}/refuse ]; then cat {here}/refuse; exit 25; fi
while [ $# -gt 2 ]; do shift; done
cp -a {root} "$1"
"""


def small_root(top: Path) -> Path:
    """Make a root file system that calls itself Debian 11, and return it."""
    compiler = require("cc", "gcc")
    for name in ("bin", "lib", "lib64"):
        (top / "usr" / name).mkdir(parents=True)
        (top / name).symlink_to(f"usr/{name}")
    (top / "etc").mkdir()
    (top / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="11"\n')
    (top / "etc/os-release").symlink_to("../usr/lib/os-release")
    (top / "usr/lib/answer").write_text(ANSWER)
    subprocess.run([compiler, "-x", "c", "-o", top / "usr/lib/made", "-"], input=_MADE.encode(), check=True)
    for name in ("sh", "cat", "cp", "ls", "true"):
        program = Path(shutil.which(name) or "")
        _copy(program, top / "usr/bin" / name)
        said = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True).stdout.decode()
        for library in re.findall(r"(/\S+) \(", said):
            _copy(Path(library), top / library.lstrip("/"))
    (top / "usr/bin/gcc").write_text(_GCC)
    (top / "usr/bin/gcc").chmod(0o755)
    return top


def _copy(found: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(found.resolve(), place)


def small_mmdebstrap(here: Path) -> Path:
    """Return a directory for PATH with a mmdebstrap that copies a small root; ``refuse`` has what it fails with."""
    root = small_root(here / "small")
    directory = here / "programs"
    directory.mkdir()
    (directory / "mmdebstrap").write_text(_MMDEBSTRAP.format(here=here, root=root))
    (directory / "mmdebstrap").chmod(0o755)
    return directory
