"""What tells others: a courier for each target of the configuration that holds now.

Tested by tests/adapters/notices/test_courier.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.adapters.notices.courier import Courier, CourierPace
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.errors import StorageUnavailable
from buildtool.ports.common import Clock
from buildtool.ports.notices import NoticeStore, Tell

log = Logger()

KEPT = 30 * 86_400.0
"""Seconds for which it is remembered what was told of a key."""

FORGOTTEN_AT_ONCE = 500
TIDY_EVERY = 3_600.0
"""Seconds between two looks for what is old enough to be forgotten."""

TOLD_AGAIN = 1.0
"""Seconds until more is forgotten, where there is more."""


@define(eq=False)
class NoticeTeller:
    """The couriers of all targets; a ``ports.Notifier``. What is under way when it ends has ``grace`` seconds."""

    store: NoticeStore
    clock: IReactorTime
    wall: Clock
    grace: float = 3.0
    _couriers: dict[str, Courier] = field(factory=dict, init=False)
    _started: bool = field(default=False, init=False)
    _ending: dict[str, Deferred[None]] = field(factory=dict, init=False)

    def configure(self, targets: Mapping[str, tuple[Tell, CourierPace]]) -> None:
        """Use these targets from now on, and no others. What waits for one that is gone waits until it is back.

        One that is there as before is told further once what is on its way to it has come to its end.
        """
        for name, gone in self._couriers.items():
            ending = self._ending[name] = Deferred.fromCoroutine(gone.stop(self.grace))
            ending.addBoth(self._ended, name, ending)
        self._couriers = {
            name: Courier(name, self.store, self.clock, self.wall, tell, pace) for name, (tell, pace) in targets.items()
        }
        if self._started:
            self._start_all()

    def _ended(self, _result: object, name: str, which: Deferred[None]) -> None:
        if self._ending.get(name) is which:
            del self._ending[name]

    def start(self) -> None:
        """Start telling what waits."""
        self._started = True
        self._start_all()

    def _start_all(self) -> None:
        for name, courier in self._couriers.items():
            courier.start(self._ending.get(name))

    async def stop(self) -> None:
        """Stop all couriers; what they are telling has ``grace`` seconds to finish."""
        self._started = False
        running = [Deferred.fromCoroutine(one.stop(self.grace)) for one in self._couriers.values()]
        await gatherResults([*running, *self._ending.values()])

    def nudge(self, targets: Collection[str] = ()) -> None:
        for name in targets or self._couriers:
            if name in self._couriers:
                self._couriers[name].nudge()

    def away(self) -> Mapping[str, str]:
        """Return why targets that take nothing now do not, by name."""
        return {name: one.away for name, one in self._couriers.items() if one.away}

    def problems(self) -> tuple[str, ...]:
        return tuple(self.away().values())

    async def tidy(self, _task: PeriodicTask) -> float:
        """Forget what was told long ago; return after how many seconds to look again."""
        try:
            gone = await self.store.tidy(self.wall.wall() - KEPT, FORGOTTEN_AT_ONCE)
        except StorageUnavailable as error:
            log.warn("old notices are forgotten later: {error}", error=error)
            return TIDY_EVERY
        return TOLD_AGAIN if gone == FORGOTTEN_AT_ONCE else TIDY_EVERY
