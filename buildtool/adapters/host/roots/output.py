"""What commands say that make root file systems and try them: each is in a keeper's care, by which it ends with us."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from functools import partial

from buildtool.adapters.processes.command import CommandLine
from buildtool.adapters.processes.keeper_client import KeptCommand


def output_of(
    start: Callable[[CommandLine, int], KeptCommand], command: CommandLine, limit: float | None = None
) -> tuple[int, str]:
    """Run a command until nothing of it is left; return its exit code, negative for a signal, and what it said.

    After ``limit`` seconds it is killed. Blocks. Raises OSError.
    """
    answer, outlet = os.pipe()
    with os.fdopen(answer, "rb") as stream:
        try:
            child = start(command, outlet)
        finally:
            os.close(outlet)
        kill = partial(child.send, signal.SIGKILL)
        ending = None if limit is None else threading.Timer(limit, kill)
        try:
            if ending is not None:
                ending.start()
            said = stream.read()
        except BaseException:
            kill()
            raise
        finally:
            _await(child, kill)
            if ending is not None:
                ending.cancel()
            child.close()
    return child.returncode or 0, said.decode("utf-8", "replace")


def _await(child: KeptCommand, kill: Callable[[], None]) -> None:
    """Wait until nothing is left of a command, of which what outlives it is killed."""
    killed = False
    while child.news is not None:
        if child.returncode is not None and not killed:
            killed = True
            kill()
        select.select([child.news], [], [], 1.0)
        child.hear()
