"""Cache hits and pages, on a database with 100,000 builds and their artifacts."""

from __future__ import annotations

from tests.benchmarks.figures import TLS, Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import World, progress, reached, settled

ARTIFACTS = 100_000
LANES = 16
"""Requests under way at once."""

RUNS = 3
SECONDS = 3.0
ROWS = 50
VISITORS = 8
_FARM = "history"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    hits, pages = ("hits_per_s", "hit_ms_p99"), "page_requests_per_s"
    if not board.wants(*hits, pages):
        return
    state = world.state_dir(_FARM)
    progress(f"a database with {ARTIFACTS:,} builds, artifacts and requests")
    fill(state, (built(world, number, state) for number in range(1, ARTIFACTS + 1)))
    with world.farm(_FARM) as farm:
        farm.start_metaserver()
        if board.wants(*hits):
            progress("hits")
            asked = {"port": farm.ports["BUILDTOOL_PB_PORT"], "lanes": LANES, "artifacts": ARTIFACTS}
            world.client("hits", **asked, seconds=0.5, seed=0)
            runs = [world.client("hits", **asked, seconds=SECONDS, seed=run) for run in range(1, RUNS + 1)]
            board.put(hits[0], [settled(run, "per_s") for run in runs])
            board.put(hits[1], [settled(run, "p99_ms") for run in runs])
        if board.wants(pages):
            progress("pages")
            server = farm.start("webserver", [str(farm.root / "bin" / "webserver")])
            server.wait_for(r"pages on")
            port = farm.ports["BUILDTOOL_WEB_PORT"]
            board.put(pages, [page_rate(world, port, SECONDS) for _ in range(RUNS)])
    if board.wants(f"{TLS}{hits[0]}"):
        with world.farm(_FARM, keyed=True) as farm:
            farm.start_metaserver()
            progress("hits by TLS")
            where = reached(farm) | {"lanes": LANES, "artifacts": ARTIFACTS}
            world.client("hits", **where, seconds=0.5, seed=0)
            runs = [world.client("hits", **where, seconds=SECONDS, seed=run) for run in range(1, RUNS + 1)]
            board.put(f"{TLS}{hits[0]}", [settled(run, "per_s") for run in runs])


def page_rate(world: World, port: int, seconds: float) -> float:
    """Return how often a second the list of builds is shown to a few visitors at once."""
    measured = world.client("pages", port=port, path="/builds", lanes=VISITORS, rows=ROWS, seconds=seconds)
    return settled(measured, "per_s")
