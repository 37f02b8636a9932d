"""From the decision to stop a command to TERM in the command itself: real processes, several at once.

Run as a program it takes the figure alone, and prints one JSON line; ``take`` runs it so, since it needs a reactor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, gatherResults

from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.process_group import mark_for
from buildtool.adapters.processes.runner import CommandLine, Processes
from buildtool.programs.common.program import monotonic_reactor
from tests.benchmarks.figures import Board
from tests.benchmarks.world import ROOT, World, progress

NAME = "cancel_to_term_ms_p99"
ROUNDS = 50
AT_ONCE = 4

_COMMAND = (
    "import os, signal, time\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
    "os.write(1, b'ready ')\n"
    "signal.sigwait({signal.SIGTERM})\n"
    "os.write(1, b'%.9f' % time.monotonic())\n"  # the same clock in all processes of the machine
)


def take(_world: World, board: Board) -> None:
    """Take the figure if it is wanted."""
    if not board.wants(NAME):
        return
    progress("from stop to TERM")
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, stdout=subprocess.PIPE, timeout=300, check=True)
    took: list[float] = json.loads(done.stdout)
    board.put(NAME, [took[len(took) // 2], took[-1]], took[int(len(took) * 0.99)])


async def _one(processes: Processes) -> float:
    """Start a command, stop it when it runs, and return after how many milliseconds it heard of that."""
    said: list[bytes] = []
    ready: Deferred[None] = Deferred()

    def output(chunk: bytes) -> None:
        said.append(chunk)
        if not ready.called:
            ready.callback(None)

    running = processes.start(CommandLine((sys.executable, "-S", "-c", _COMMAND), Path("/"), {}), on_output=output)
    await ready
    stopped = time.monotonic()
    running.stop("cancelled")
    await running.ended
    return (float(b"".join(said).split()[1]) - stopped) * 1000


async def _all(reactor: ReactorBase) -> list[float]:
    keepers = Keepers.where_possible(mark_for(ROOT))
    processes = Processes(reactor, keepers)
    took: list[float] = []
    for _ in range(ROUNDS):
        took += await gatherResults([Deferred.fromCoroutine(_one(processes)) for _ in range(AT_ONCE)])
    if keepers is not None:
        keepers.close()
    return sorted(took)


def main() -> int:
    """Print the milliseconds of all, the shortest first."""
    reactor = monotonic_reactor()
    found: list[object] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(_all(reactor))
        running.addBoth(found.append)
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    if not isinstance(found[0], list):
        print(found[0], file=sys.stderr)
        return 1
    print(json.dumps(found[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
