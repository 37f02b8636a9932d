"""What the metaserver's reactor does for one scrape by Prometheus, with 10,000 builds in the queue and 1,000 machines.

Everything but the database and the disk, which other threads ask: what waits, how everything stands, the answer as
it is sent. Once where machines are busy, and once where all are away and every kind of build has to be looked at.
"""

from __future__ import annotations

import time
from typing import Any, cast

from buildtool.metaserver.showing.farm_counts import FarmCounts
from buildtool.metaserver.showing.figures import FigureService, TurnFigures
from buildtool.model.metrics import table
from buildtool.model.principal import Principal, PrincipalRole
from buildtool.ports.resources import ResourceUse
from buildtool.protocol.codec import encode
from buildtool.protocol.pages.figures import AskFigures
from buildtool.scheduling.state.state import State
from tests.benchmarks.decisions import SERVERS, Farm
from tests.benchmarks.figures import Board
from tests.benchmarks.world import World, progress
from tests.support.inline import run

QUEUED = 10_000
RUNS = 5
BUSY, AWAY = "scrape_ms_10000_queued", "scrape_away_ms_10000_queued"


class _Rest:
    """All that a scrape asks besides the state, at no cost: of a metaserver that is well and has no mails to send."""

    def __init__(self, state: State, now: float) -> None:
        self.state, self.now, self.counts = state, now, FarmCounts()
        self.turn = self

    def anew(self) -> _Rest:
        return self

    async def breathe(self) -> None:
        """Serve nobody else: all that is done counts."""

    def sees(self, _by: Principal, _project: str) -> bool:
        return True

    def wall(self) -> float:
        return self.now

    def problems(self) -> tuple[str, ...]:
        return ()

    async def mail_left(self) -> tuple[int, int]:
        return 0, 0

    async def oldest_mail(self) -> float | None:
        return None

    async def read(self) -> ResourceUse:
        return ResourceUse(40, 4096, 100_000_000, 12.5, 1_790_000_000.0, 5_000, 10_000, 20_000)


def take(_world: World, board: Board) -> None:
    """Take the figures that are wanted."""
    if not board.wants(BUSY, AWAY):
        return
    progress(f"scrapes: {SERVERS:,} servers, {QUEUED:,} queued builds")
    farm = Farm(QUEUED)
    board.put(BUSY, [_scrape(farm) for _ in range(RUNS)])
    for number in range(SERVERS):
        farm.leave(number)
    board.put(AWAY, [_scrape(farm) for _ in range(RUNS)])


def _scrape(farm: Farm) -> float:
    rest = cast(Any, _Rest(farm.state, farm.now))
    service = FigureService(
        rest, rest, rest, rest, rest, lambda: TurnFigures([1.0] * table.TURN.width, 0.25), rest
    )  # fmt: skip
    began = time.process_time()
    told = run(service.told(Principal(PrincipalRole.VISITOR), AskFigures()))
    encode(told)
    return (time.process_time() - began) * 1_000
