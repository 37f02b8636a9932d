"""Which processes belong to a run, and ending them: whatever names the run's directory in its environment, its words
or its working directory.

``python -m tests.chaos.processes DIRECTORY PID`` is the guard: it waits for the end of its input, which comes when the
program that started it ends in whatever way, and ends what is left of the run. ``PID`` is that program.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from attrs import frozen

_PROC = Path("/proc")
_PATIENCE = 10.0


@frozen
class Found:
    """A process, the words it was started with, and its HOME."""

    pid: int
    words: str
    home: str


def belonging(directory: Path, *spare: int) -> list[Found]:
    """Return the living processes that belong to ``directory``, but for this one, its parents, and ``spare``."""
    excepted = {*spare, *_ancestors(os.getpid())}
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) not in excepted:
            with contextlib.suppress(OSError):  # it ended while we looked, or is somebody else's
                one = _looked_at(entry, os.fsencode(directory))
                if one is not None:
                    found.append(one)
    return found


def _looked_at(entry: Path, directory: bytes) -> Found | None:
    words, environment, where = (entry / "cmdline").read_bytes(), b"", b""
    with contextlib.suppress(PermissionError):  # a build server lets nobody but root look into it
        environment, where = (entry / "environ").read_bytes(), os.fsencode((entry / "cwd").readlink())
    if not any(directory in text for text in (words, environment, where)):
        return None
    home = next((text[5:] for text in environment.split(b"\0") if text.startswith(b"HOME=")), b"")
    return Found(int(entry.name), " ".join(words.decode(errors="replace").split("\0")).strip(), os.fsdecode(home))


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        try:
            stat = (_PROC / str(pid) / "stat").read_bytes()
        except OSError:
            break
        pid = int(stat[stat.rindex(b")") + 2 :].split(b" ", 2)[1])
    return found


def end_all(directory: Path, *spare: int) -> int:
    """Kill what belongs to ``directory`` until nothing of it is left, and return how many that were. Blocks."""
    ended: set[int] = set()
    until = time.monotonic() + _PATIENCE
    while (found := belonging(directory, *spare)) and time.monotonic() < until:
        for one in found:
            ended.add(one.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        time.sleep(0.05)
    return len(ended)


class Guard:
    """Ends what belongs to a directory when this program is gone, however it goes."""

    def __init__(self, directory: Path) -> None:
        words = [sys.executable, "-m", "tests.chaos.processes", str(directory)]
        root = Path(__file__).resolve().parent.parent.parent
        # A session of its own: what ends this program may be a signal to its whole group.
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, cwd=root, start_new_session=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Let it end what is left, and wait for it."""
        self._process.communicate()


def main() -> int:
    """Be the guard."""
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
