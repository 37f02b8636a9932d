"""What of the environment that a program was started with goes further: to itself when it starts anew, to its children.

A build runs as the user of its build server, and may read in ``/proc`` how that user's processes were started.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_NEEDED = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_.*|TZ|TMPDIR|TERM|PYTHON.*|LD_LIBRARY_PATH|LD_PRELOAD")
_USED = re.compile(r"(GIT|SVN|SSH|SSL|XDG|CURL|KRB5)_?.*|([A-Za-z]+_)?(proxy|PROXY)")
_SECRET = re.compile(r"PASS(?!IVE)|SECRET|TOKEN|CREDENTIAL|_KEY\Z|API_?KEY|COOKIE", re.IGNORECASE)


def needed() -> dict[str, str]:
    """Return what an interpreter needs of this process's environment: nothing in it is a secret."""
    return {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)}


def passed_on() -> dict[str, str]:
    """Return what programs that fetch sources (git, ssh, svn) may need of this process's environment.

    What they are started with is there for every build to read, as long as they run.
    """
    return {name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name) or _is_used(name)}


def _is_used(name: str) -> bool:
    return _USED.fullmatch(name) is not None and _SECRET.search(name) is None


def forbid_inspection() -> None:
    """Hide memory, environment and descriptors of this process and its children from all but root (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Ask Linux to send this process, forked by ``parent``, a signal when that one ends, and nothing of other systems.

    To Linux, who ends is the thread that forked.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:  # it has ended before that was said
        os._exit(1)
