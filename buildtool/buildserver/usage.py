"""What one Attempt used of its machine, for the owner and for the farm.

Covered by tests/buildserver/test_usage.py.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from buildtool.concurrency.asker import Received
from buildtool.model.guest.history import DoneWork, ended
from buildtool.model.records import AttemptEnd
from buildtool.ports.buildserver import CommandEnd


@define(eq=False)
class AttemptUsage:
    """A tally from the Attempt's start: seconds of processors, None once a command was not measured, and bytes.

    ``sources`` counts what was fetched from repositories.
    """

    clock: IReactorTime
    processor: float | None = field(default=0.0, init=False)
    down: int = field(default=0, init=False)
    up: int = field(default=0, init=False)
    sources: Received = field(factory=Received, init=False)
    _began: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._began = self.clock.seconds()

    def add(self, command: CommandEnd) -> None:
        """Add what a command used that has ended."""
        if self.processor is not None and command.processor is not None:
            self.processor += command.processor
        else:
            self.processor = None

    def moved(self, down: int, up: int) -> None:
        """Add bytes that its commands fetched and sent."""
        self.down, self.up = self.down + down, self.up + up

    def work(self, end: AttemptEnd, rested: float) -> DoneWork:
        """Return what was done by now, in an Attempt that ends so and stood still for ``rested`` seconds."""
        down = self.down + self.sources.total
        wall = self.clock.seconds() - self._began - rested
        return ended(end, processor=self.processor, wall=wall, frozen=rested, down=down, up=self.up)
