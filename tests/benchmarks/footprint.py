"""What the metaserver costs while it does nothing: memory, and the time until it is there again."""

from __future__ import annotations

import time

from tests.benchmarks.figures import Board
from tests.benchmarks.seeds import fill, queued
from tests.benchmarks.world import World, progress, resident_mib

RUNS = 3
SETTLE = 1.0
"""Seconds after the start before the memory is looked at."""


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    if board.wants("metaserver_rss_mib_idle"):
        progress("memory, idle")
        board.put("metaserver_rss_mib_idle", [_resident(world, "idle") for _ in range(RUNS)])
    if board.wants("restart_s_20000_queued"):
        progress("restart with 20,000 queued builds")
        _queue(world, "restart", 20_000)
        board.put("restart_s_20000_queued", [_restart(world, "restart") for _ in range(RUNS)])
    if board.wants("metaserver_rss_mib_50000_queued"):
        progress("memory, 50,000 queued builds")
        _queue(world, "queued", 50_000)
        board.put("metaserver_rss_mib_50000_queued", [_resident(world, "queued") for _ in range(RUNS - 1)])


def _queue(world: World, name: str, count: int) -> None:
    fill(world.state_dir(name), (queued(world, number, 0) for number in range(1, count + 1)))


def _resident(world: World, name: str) -> float:
    with world.farm(name) as farm:
        program = farm.start_metaserver("--web")
        time.sleep(SETTLE)
        return resident_mib(program.process.pid)


def _restart(world: World, name: str) -> float:
    """Return seconds from starting the program until it says that it is ready: it listens then."""
    with world.farm(name) as farm:
        began = time.monotonic()
        farm.start_metaserver("--web")
        return time.monotonic() - began
