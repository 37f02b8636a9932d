"""A whole farm returns in the same second: how long until all of it is registered, and what others notice of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from statistics import quantiles

from attrs import define, frozen

from buildtool.model.options import canonical
from buildtool.model.servers import Capability, Offer, ProjectSkill
from buildtool.protocol.codec import encode
from buildtool.protocol.messages import Register
from tests.benchmarks.figures import Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import ROOT, World, progress

SERVERS = 1_000
PROCESSES = 4
"""Each with an address of its own, since one address may have a part of all connections only."""

RUNS = 3
ARTIFACTS = 200
RATE = 50.0
"""Requests a second meanwhile: hits, of which each is told how long it took."""

WATCH = 12.0
"""Seconds for which they go on asking: longer than the return may take."""

LEAD = 1.5
"""Seconds for which they ask before the farm returns."""

_PATIENCE = 120.0
_FARM = "herd"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    registered, asked = "herd_1000_registered_s", "herd_request_ms_p99"
    if not board.wants(registered, asked):
        return
    progress(f"{SERVERS:,} build servers return in the same second")
    state = world.state_dir(_FARM)
    fill(state, (built(world, number, state) for number in range(1, ARTIFACTS + 1)))
    with world.farm(_FARM) as farm, ExitStack() as herds:
        farm.start_metaserver()
        port = farm.ports["BUILDTOOL_PB_PORT"]
        parts = [herds.enter_context(_part(world, port, number)) for number in range(PROCESSES)]
        # They were here before: the first time makes their rows, and is not counted.
        _come(parts)
        _leave(parts)
        runs = [_measured(world, port, parts) for _ in range(RUNS)]
    board.put(registered, [run.seconds for run in runs])
    board.put(asked, [quantiles(run.took, n=100)[98] for run in runs])


@frozen
class _Run:
    """Seconds until all were registered, and milliseconds of each request that was sent until then."""

    seconds: float
    took: list[float]


def _measured(world: World, port: int, parts: list[_Part]) -> _Run:
    """Let the farm return while others ask for what there is."""
    with ThreadPoolExecutor(1) as others:
        words = {"port": port, "artifacts": ARTIFACTS, "rate": RATE, "seconds": WATCH, "seed": 1}
        asking = others.submit(lambda: world.client("steady", **words))
        time.sleep(LEAD)
        began = time.time()
        seconds = _come(parts)
        sent = asking.result(_PATIENCE)["sent"]
    _leave(parts)
    if not sent[0][0] < began < began + seconds < sent[-1][0]:
        raise RuntimeError(f"requests were not made all the time: from {sent[0]} to {sent[-1]}, return at {began}")
    return _Run(seconds, [milliseconds for at, milliseconds in sent if began <= at <= began + seconds])


@define(eq=False)
class _Part:
    """The light build servers of one process."""

    process: subprocess.Popen[str]

    def say(self, word: str) -> None:
        """Tell it to do something."""
        if self.process.stdin is None:
            raise RuntimeError("a process without stdin")
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Return the line that it says next."""
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        if not line:
            raise RuntimeError(f"light build servers ended with {self.process.wait()}")
        return line.strip()


@contextmanager
def _part(world: World, port: int, number: int) -> Iterator[_Part]:
    count = SERVERS // PROCESSES
    names = [f"light-{each}" for each in range(number * count, (number + 1) * count)]
    asked = {"names": names, "register": encode(_register(world)), "seed": number}
    # An address of its own, of those that are this machine itself.
    words = [sys.executable, "-m", "tests.benchmarks.light", str(port), f"127.0.0.{2 + number}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True) as process:
        part = _Part(process)
        try:
            part.say(json.dumps(asked))
            part.hear()
            yield part
        finally:
            process.kill()


def _register(world: World) -> Register:
    """Return what each of them announces: little, but enough to build."""
    project = world.project
    skill = ProjectSkill(project.name, project.recipe.version, project.options.digest())
    machine = canonical({"memory": 4_096, "disk": 10_000, "cpus": 2})
    return Register("light", Capability((Offer(world.spec(1).platform),), machine, (skill,)))


def _come(parts: list[_Part]) -> float:
    """Let all of them log in, and return the seconds until the last was registered."""
    for part in parts:
        part.say("go")
    return max(float(part.hear()) for part in parts)


def _leave(parts: list[_Part]) -> None:
    for part in parts:
        part.say("leave")
    for part in parts:
        part.hear()
