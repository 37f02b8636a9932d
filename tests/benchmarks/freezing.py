"""From a touch of the owner's keyboard to a build of which nothing runs any more, while it forks all the time.

All of it is real but the keyboard, which is a FIFO: the look at the owner, the decision, the sandbox, its control group
(or the signals, where there is none). Run as a program it takes the figure alone, and prints one JSON line; ``take``
runs it so, since it needs a reactor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import cast

from attrs import define
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from buildtool.adapters.host.limits.control_groups import ControlGroups
from buildtool.adapters.host.presence.probe import PresenceProbe
from buildtool.adapters.host.recipe_commands import BuildBounds, RecipeCommands
from buildtool.adapters.processes.keeper_client import Keepers
from buildtool.adapters.processes.runner import Processes, RunningProcess
from buildtool.adapters.processes.sandbox.sandboxes import Sandboxes
from buildtool.adapters.runtime.clock import WallClock
from buildtool.adapters.runtime.threads import Threads
from buildtool.buildserver.guest import Guest
from buildtool.buildserver.server import BuildServer
from buildtool.model.guest.hours import DaySpan
from buildtool.model.guest.limits import BuildLimits
from buildtool.model.guest.stance import Motion, OwnerWishes, Stance
from buildtool.model.servers import Held, HeldState
from buildtool.programs.buildserver.guest.hosting import PooledProbe
from buildtool.programs.common.program import monotonic_reactor
from tests.adapters.host.presence.test_devices import machine, plug_in
from tests.adapters.processes.sandbox.sandboxed import Slot, bubblewrap
from tests.benchmarks.figures import Board
from tests.benchmarks.world import ROOT, World, progress

NAME = "owner_back_to_frozen_ms_p99"
ROUNDS = 20
AWAY_AFTER = 0.3
STORM = "for n in 1 2 3 4 5 6 7 8; do (while :; do (echo >> count) & wait; done) & done; echo begun; wait"


def take(_world: World, board: Board) -> None:
    """Take the figure if it is wanted."""
    if not board.wants(NAME):
        return
    progress("from a touch to frozen")
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, stdout=subprocess.PIPE, timeout=300, check=True)
    took: list[float] = json.loads(done.stdout)
    board.put(NAME, [took[len(took) // 2], took[-1]], took[int(len(took) * 0.99)])


@define
class OneBuild:
    """A build server as its guest knows it, with one build that runs."""

    running_process: RunningProcess
    frozen: bool = False
    running: int = 1
    begun: Callable[[], None] = lambda: None

    def held(self) -> tuple[Held, ...]:
        return (Held(1, 1, HeldState.BUILDING, frozen=self.frozen),)

    def settle(self, stance: Stance, _away: Sequence[DaySpan] = ()) -> None:
        self.frozen = stance.running is not Motion.GO_ON
        (self.running_process.freeze if self.frozen else self.running_process.thaw)()


async def _all(reactor: ReactorBase, top: Path, closing: ExitStack) -> list[float]:
    pool, keepers, groups = Threads(reactor, 4, "freezing"), Keepers(7), ControlGroups.found("bench")
    for close in (groups.close, keepers.close, pool.stop):
        closing.callback(close)
    slot, root = Slot(top / "slot").make(), machine(top / "machine")
    keyboard = plug_in(root, "event3")
    commands = RecipeCommands(
        Processes(reactor, keepers), pool, reactor, Sandboxes(keepers, bubblewrap(), top / "made"),
        BuildBounds(BuildLimits(), 1, groups),
    )  # fmt: skip
    runner = await commands.enclose(0, slot.tree, slot.place)
    began: Deferred[None] = Deferred()

    async def hear(_: bytes) -> None:
        began.callback(None)

    words = ("sh", "-c", STORM)
    build = runner.start(
        words, slot.tree, {"PATH": "/usr/bin:/bin"}, on_output=hear, time_limit=250.0, silence_limit=250.0
    )
    await began
    wishes = OwnerWishes(UTC, idle_only=True, idle_after=AWAY_AFTER)
    probe = PooledProbe(PresenceProbe(root), pool, groups)
    guest = Guest(cast(BuildServer, OneBuild(build)), probe, wishes, WallClock(), reactor)
    await guest.start()
    took = [await _one(reactor, keyboard, slot.tree / "count", guest, number) for number in range(ROUNDS)]
    await guest.stop()
    build.stop("all is measured")
    await build.ended
    await runner.end()
    return sorted(took)


async def _one(reactor: ReactorBase, keyboard: int, count: Path, guest: Guest, number: int) -> float:
    """Touch the keyboard while the build runs; return after how many milliseconds it did its last."""
    while _stands_still(guest) or not _grows(count):
        await deferLater(reactor, 0.02)
    await deferLater(reactor, 0.01 + 0.023 * number)  # at any time between two looks
    touched = time.time()
    os.write(keyboard, b"x")
    while _grows(count):
        await deferLater(reactor, 0.002)
    assert _stands_still(guest), "it stands still for another reason"
    return max(0.0, count.stat().st_mtime - touched) * 1000


def _stands_still(guest: Guest) -> bool:
    return guest.frozen


def _grows(count: Path) -> bool:
    """Return whether a build still counts, by looking for a twentieth of a second. Blocks."""
    before = count.stat().st_size
    time.sleep(0.05)
    return count.stat().st_size > before


def main() -> int:
    """Print the milliseconds of all, the shortest first."""
    reactor = monotonic_reactor()
    found: list[object] = []

    def begin() -> None:
        running = Deferred.fromCoroutine(_all(reactor, Path(directory).resolve(), closing))
        running.addBoth(found.append)
        running.addBoth(lambda _: reactor.stop())

    with tempfile.TemporaryDirectory() as directory, ExitStack() as closing:
        reactor.callWhenRunning(begin)
        reactor.run()
    if not isinstance(found[0], list):
        print(found[0], file=sys.stderr)
        return 1
    print(json.dumps(found[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
