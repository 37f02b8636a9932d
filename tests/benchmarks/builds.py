"""Builds that do nothing: how many a second, and how soon the first command of one runs."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from attrs import define, field

from buildtool.demo.local_farm import LocalFarm
from tests.benchmarks.figures import BOXED, TLS, Board
from tests.benchmarks.seeds import SERVER, fill, queued
from tests.benchmarks.world import World, progress, reached, settled, start_servers

RUNS = 3
SIDES = ("", TLS, BOXED)
"""How figures' names begin of farms without keys, with keys, and of one whose builds run in sandboxes."""

NAMED = {"": "", TLS: " by TLS", BOXED: " in sandboxes"}

AT_ONCE = 16
"""Submissions under way at once."""

NOOPS = {1: 60, 4: 160, 16: 320}
"""How many Builds one run has, by the number of build servers."""

STARTS = 40
"""How many submissions one run of the latency figures has."""

PAUSE = 0.05
REFUSED = 5_000
_PATIENCE = 120.0
_BEGAN = re.compile(r"^began (\d{19})$", re.MULTILINE)


def take(world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    if board.wants(*(f"{side}noop_builds_per_s_{servers}" for servers in NOOPS for side in SIDES)):
        _noops(world, board)
    full, branch = ("submit_to_start_ms_p50", "submit_to_start_ms_p95"), "submit_branch_to_start_ms_p50"
    if board.wants(*full, branch):
        progress("submission to first command, one idle build server")
        sides = [side for side in SIDES if not side or board.wants(f"{side}{full[0]}")]
        plain, *others = _starts(world, "starts", [world.commits[-1]] * RUNS + ["main"] * RUNS, sides)
        board.put(full[0], [median(run) for run in plain[:RUNS]])
        board.put(full[1], [quantiles(run, n=20)[18] for run in plain[:RUNS]])
        board.put(branch, [median(run) for run in plain[RUNS:]])
        for side, runs in zip(sides[1:], others, strict=True):
            board.put(f"{side}{full[0]}", [median(run) for run in runs[:RUNS]])
    if board.wants("submit_to_start_behind_5000_ms_p50"):
        progress(f"submission to first command, behind {REFUSED} builds that the build server refuses")
        waiting = (queued(world, number, 10_000_000, refused=True) for number in range(1, REFUSED + 1))
        fill(world.state_dir("behind"), waiting)
        (runs,) = _starts(world, "behind", [world.commits[-1]] * RUNS)
        board.put("submit_to_start_behind_5000_ms_p50", [median(run) for run in runs])


@define
class _Side:
    """A farm with or without keys: the beginning of its figures' names, and how much it has built."""

    prefix: str
    farm: LocalFarm
    first: int = 1
    started: int = 0
    runs: list[float] = field(factory=list)

    def grow(self, servers: int) -> None:
        """Have so many build servers, and no runs with them yet."""
        names = [f"bench-{number}" for number in range(self.started + 1, servers + 1)]
        start_servers(self.farm, names, boxed=self.prefix == BOXED)
        self.started, self.runs = servers, []

    def run(self, world: World, amount: int, revision: str) -> None:
        """Have so many Builds made; note how many a second that were."""
        asked = {"first": self.first, "count": amount, "lanes": AT_ONCE, "revision": revision}
        began = settled(world.client("builds", **reached(self.farm), **asked), "began")
        self.runs.append(amount / (_all_succeeded(self.farm, self.first, amount) - began))
        self.first += amount


def _noops(world: World, board: Board) -> None:
    with ExitStack() as farms:
        sides = []
        for prefix in SIDES:
            if board.wants(*(f"{prefix}noop_builds_per_s_{servers}" for servers in NOOPS)):
                side = _Side(prefix, farms.enter_context(world.farm(f"{prefix}noops", keyed=prefix == TLS)))
                side.farm.start_metaserver()
                sides.append(side)
        for servers, count in NOOPS.items():
            wanted = [side for side in sides if board.wants(f"{side.prefix}noop_builds_per_s_{servers}")]
            for side in wanted:
                progress(f"no-op builds with {servers} build servers{NAMED[side.prefix]}")
                side.grow(servers)
            for run in range(RUNS + 1):
                for side in wanted:
                    # The first makes the mirrors and work trees of new build servers, and is not counted.
                    # Another revision every time: each build server switches once in a run, to where 20 files differ.
                    side.run(world, count if run else 4 * servers, world.commits[run])
            for side in wanted:
                board.put(f"{side.prefix}noop_builds_per_s_{servers}", side.runs[1:])


def _all_succeeded(farm: LocalFarm, first: int, amount: int) -> float:
    """Wait until the Builds with ids from ``first`` on have ended well, and return when that was committed."""
    until = time.monotonic() + _PATIENCE
    with sqlite3.connect(f"file:{_database(farm)}?mode=ro", uri=True) as reading:
        while time.monotonic() < until:
            still_open = "SELECT count(*) FROM builds WHERE state IN ('queued', 'running')"
            if not reading.execute(still_open).fetchone()[0]:
                ended = time.time()
                wanted = "SELECT count(*) FROM builds WHERE id >= ? AND state = 'succeeded'"
                mails = "SELECT count(*) FROM outbox WHERE build_id >= ?"
                for question in (wanted, mails):
                    found = reading.execute(question, (first,)).fetchone()[0]
                    if found != amount:
                        raise RuntimeError(f"{found} of {amount}: {question}")
                return ended
            time.sleep(0.01)
    raise RuntimeError(f"the builds did not end within {_PATIENCE} s")


def _starts(world: World, name: str, revisions: list[str], sides: Sequence[str] = ("",)) -> list[list[list[float]]]:
    """Return milliseconds from each submission to inside its first command: for each side a list a revision.

    The sides take turns.
    """
    with ExitStack() as farms:
        made = [(farms.enter_context(world.farm(f"{side}{name}", keyed=side == TLS))) for side in sides]
        for kind, farm in zip(sides, made, strict=True):
            farm.start_metaserver()
            start_servers(farm, [SERVER], boxed=kind == BOXED)
            asked = {"pause": PAUSE, "first": 20_000_000, "count": 5, "revision": world.commits[-1]}
            world.client("starts", **reached(farm), **asked)
        runs: list[list[list[float]]] = [[] for _ in sides]
        for run, revision in enumerate(revisions, 1):
            for side, farm in zip(runs, made, strict=True):
                asked = {"pause": PAUSE, "first": 1_000 * run, "count": STARTS, "revision": revision}
                side.append(_measured(farm, world.client("starts", **reached(farm), **asked)))
        return runs


def _measured(farm: LocalFarm, found: dict[str, list[tuple[int, int]]]) -> list[float]:
    """Return how long each took: the command itself printed when it began."""
    took = []
    with sqlite3.connect(f"file:{_database(farm)}?mode=ro", uri=True) as reading:
        for build_id, submitted in found["starts"]:
            (tail,) = reading.execute("SELECT log_tail FROM attempts WHERE build_id = ?", (build_id,)).fetchone()
            said = _BEGAN.search(tail)
            if said is None:
                raise RuntimeError(f"build {build_id} did not say when it began: {tail}")
            took.append((int(said[1]) - submitted) / 1e6)
    return took


def _database(farm: LocalFarm) -> Path:
    return farm.directory / "metaserver" / "buildtool.sqlite"
