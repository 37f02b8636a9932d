"""Lists of builds among a million: random places and searches, with caches as they are and with none."""

from __future__ import annotations

import os
from pathlib import Path

from tests.benchmarks import pasts
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, progress, settled

BUILDS = int(os.environ.get("BENCH_BUILDS", "1000000"))
RUNS = 3
SECONDS = 4.0
VISITORS = 8
_FARM = "past"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    rate, late, cold = "lists_per_s", "list_ms_p99", "list_cold_ms_p99"
    if not board.wants(rate, late, cold):
        return
    database = world.state_dir(_FARM) / "buildtool.sqlite"
    progress(f"a database with {BUILDS:,} builds")
    pasts.make(database, BUILDS)
    with world.farm(_FARM) as farm:
        if board.wants(cold):
            progress("lists, with nothing in any cache")
            board.put(cold, [_first(farm, world, database, run) for run in range(RUNS)])
        if board.wants(rate, late):
            progress("lists")
            server = farm.start("webserver", [str(farm.root / "bin" / "webserver")])
            server.wait_for(r"pages on")
            port = farm.ports["BUILDTOOL_WEB_PORT"]
            taken = [_asked(world, port, SECONDS, 100 + run) for run in range(RUNS)]
            board.put(rate, [settled(run, "per_s") for run in taken])
            board.put(late, [settled(run, "p99_ms") for run in taken])
            server.kill()


def _first(farm: object, world: World, database: Path, run: int) -> float:
    """Return the p99 of the first second of a program that has just begun, when no page of the file is in memory."""
    forget(database)
    server = farm.start("webserver", [str(farm.root / "bin" / "webserver")])  # type: ignore[attr-defined]
    server.wait_for(r"pages on")
    try:
        measured = _asked(world, farm.ports["BUILDTOOL_WEB_PORT"], 1.0, run, warm_up=0.0)  # type: ignore[attr-defined]
    finally:
        server.kill()
    return settled(measured, "p99_ms")


def _asked(world: World, port: int, seconds: float, seed: int, **more: float) -> dict[str, object]:
    return world.client("lists", port=port, lanes=VISITORS, builds=BUILDS, seconds=seconds, seed=seed, **more)


def forget(path: Path) -> None:
    """Write a file out and have the system forget what of it is in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
