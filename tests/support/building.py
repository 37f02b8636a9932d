"""A PATH with what the builds of end-to-end tests call: a build server tries each compiler that it finds there.

On a machine with all that there is for six architectures that costs more than everything else of a start.
"""

import functools
import shutil
import tempfile
from pathlib import Path

PROGRAMS = """
    sh bash cat chmod cp dd echo env false grep head kill ln ls mkdir mkfifo mv nohup printf ps rm sed seq setsid sleep
    sync tail test touch tr true truncate wc
    ar as cc gcc ld make
    git git-lfs svn svnadmin svnversion ssh
""".split()


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    made = tempfile.TemporaryDirectory(prefix="buildtool-path-")
    Path(made.name).chmod(0o755)
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            (Path(made.name) / name).symlink_to(found)
    return made


def narrow_path() -> str:
    """Return a PATH with these programs alone; its directory goes when this process ends."""
    return _directory().name
