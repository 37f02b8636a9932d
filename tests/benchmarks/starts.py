"""What it takes to start a requester: from the start to the answer, which is a hit, beside what any program pays."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.benchmarks.figures import Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import World, progress

RUNS = 15
_FARM = "starts"
_KINDS = ("python", "reactor", "help", "hit")


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted: milliseconds of processor of each, and of time until the answer."""
    names = [f"start_{kind}_cpu_ms" for kind in _KINDS]
    if not board.wants(*names, "start_hit_ms"):
        return
    progress("starts")
    state = world.state_dir(_FARM)
    fill(state, (built(world, number, state) for number in range(1, 4)))
    with world.farm(_FARM) as farm:
        farm.start_metaserver()
        asking = [farm.python, str(farm.root / "bin" / "startcompile.py")]
        wanted = ["--revision", world.commits[1], "--number=1", "--no-download", "bench@example.org"]
        lines = {
            "python": [sys.executable, "-c", "pass"],
            "reactor": [sys.executable, "-c", "import twisted.internet.reactor"],
            "help": [*asking, "--help"],
            "hit": [*asking, *wanted],
        }
        taken = {kind: [_once(words, farm.environment()) for _ in range(RUNS)] for kind, words in lines.items()}
    for kind in _KINDS:
        board.put(f"start_{kind}_cpu_ms", [cpu for cpu, _ in taken[kind]])
    board.put("start_hit_ms", [wall for _, wall in taken["hit"]])


def _once(words: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a program and return its milliseconds of processor, and those until it ended."""
    environment = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, timeout=60, check=False)
    wall = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr.decode()}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1_000, wall * 1_000
