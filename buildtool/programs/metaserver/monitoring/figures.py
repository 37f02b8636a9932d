"""What the metaserver knows of itself: how long its turns take, and the figures for monitoring.

Tested by tests/e2e/test_monitoring.py.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.base import ReactorBase

from buildtool.adapters.maintenance.health import HealthCheck
from buildtool.adapters.maintenance.resources import ResourceReader
from buildtool.adapters.runtime.turn_meter import TurnMeter
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.showing.figures import FigureService, TurnFigures
from buildtool.model.metrics import table
from buildtool.ports.common import Clock, Executor
from buildtool.ports.metaserver import OperatorStore
from buildtool.programs.common.shutdown import ShutdownList


def metered(reactor: ReactorBase, closing: ShutdownList) -> TurnMeter:
    """Return what takes the time of the reactor's turns, from now on."""
    meter = TurnMeter()
    meter.watch(reactor)
    closing.add("the times of the reactor's turns", meter.stop)
    return meter


def figures(
    broker: Broker, permissions: Permissions, history: OperatorStore, conditions: HealthCheck, clock: Clock,
    meter: TurnMeter, place: tuple[Path, Executor],
) -> FigureService:  # fmt: skip
    """Return the service of figures; ``place`` is the state directory, and what looks at its disk."""

    def turns() -> TurnFigures:
        return TurnFigures(meter.turns.histogram(table.TURNS), meter.pauses.longest())

    resources = ResourceReader(*place)
    return FigureService(broker, permissions, history, conditions, resources, turns, clock, conditions.last_backup)
