"""A thousand pages that are live: how soon the last one hears of an event, and what that takes."""

from __future__ import annotations

from tests.benchmarks.figures import Board
from tests.benchmarks.seeds import built, fill
from tests.benchmarks.world import World, progress, settled

BROWSERS = 1_000
BUILDS = 1_000
RUNS = 3
_FARM = "live"

MEDIAN, LAST, MEMORY, MESSAGES = "live_ms_p50", "live_last_ms", "live_web_mib", "live_burst_messages"


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    names = {MEDIAN: "median_ms", LAST: "last_ms", MEMORY: "mib", MESSAGES: "burst"}
    if not board.wants(*names):
        return
    progress(f"{BROWSERS:,} browsers that hear what changes")
    state = world.state_dir(_FARM)
    fill(state, (built(world, number, state) for number in range(1, BUILDS + 1)))
    runs = []
    for _ in range(RUNS):
        with world.farm(_FARM) as farm:
            server = farm.start("webserver", [str(farm.root / "bin" / "webserver")])
            server.wait_for(r"pages on")
            asked = {"port": farm.ports["BUILDTOOL_WEB_PORT"], "pid": server.process.pid, "state": str(state)}
            runs.append(world.client("browsers", **asked, browsers=BROWSERS, builds=BUILDS))
    for name, measured in names.items():
        board.put(name, [settled(run, measured) for run in runs])
