"""A build server as a guest: it looks at its host machine again and again, and does what the owner wishes.

While something builds it is looked twice a second, so that an owner who comes back has the machine within one; else
every few seconds, since an order is looked at when it comes, and at once when the answer is known to change.
"""

from __future__ import annotations

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildtool.buildserver.server import BuildServer
from buildtool.concurrency.periodic import PeriodicTask
from buildtool.model.guest.stance import OPEN, Observed, OwnerWishes, PauseAsked, Stance, judge_stance, owner_is_there
from buildtool.ports.buildserver import OwnerProbe
from buildtool.ports.common import Clock

log = Logger()

QUICK = 0.5
"""Seconds between two looks while something builds or is frozen."""

SLOW = 5.0
"""The most seconds between two looks otherwise."""

SOONEST = 0.05
"""The least seconds between two looks."""


@define(eq=False)
class Guest:
    """The owner's wishes, what is seen of them, and what follows for a build server. Call it in the reactor's thread.

    ``wishes`` may be replaced at any time; ``look_again`` makes it count at once.
    """

    server: BuildServer
    probe: OwnerProbe
    wishes: OwnerWishes
    clock: Clock
    timers: IReactorTime
    pause: PauseAsked | None = None
    stance: Stance = field(default=OPEN, init=False)
    seen: Observed = field(factory=Observed, init=False)
    _frozen_at: float | None = field(default=None, init=False)
    _most_memory: int = field(default=0, init=False)  # bytes that builds used at once since the owner came
    _bound: int | None = field(default=None, init=False)
    _task: PeriodicTask = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.server.begun = self.look_again
        self._task = PeriodicTask("the look at the machine's owner", self.timers, self._round)

    @property
    def frozen(self) -> bool:
        """Whether a build stands still."""
        return any(one.frozen for one in self.server.held())

    async def start(self) -> None:
        """Start to look: once before any order can come, and then again and again."""
        await self.look()
        self._task.start(SLOW)

    async def stop(self) -> None:
        """Stop looking."""
        await self._task.stop()

    def look_again(self) -> None:
        """Start a look at once: the wishes or a pause have changed."""
        self._task.hasten()

    async def look(self) -> None:
        """Check the machine once, and let builds run, stand still or be handed back."""
        self.seen = await self.probe.look(self.wishes) if self.wishes.watches else Observed()
        self._judge()
        if self.stance.memory != self._bound:
            self._bound = self.stance.memory
            await self.probe.bound(self._bound)

    def judge_again(self) -> None:
        """Apply wishes or a pause that have changed, by what was seen last; and look again soon."""
        self._judge()
        self.look_again()

    def _judge(self) -> None:
        seen = self._remembered(self.seen)
        now, frozen = self.clock.wall(), self.frozen
        if not frozen:
            self._frozen_at = None
        elif self._frozen_at is None:
            self._frozen_at = self.timers.seconds()
        rested = 0.0 if self._frozen_at is None else self.timers.seconds() - self._frozen_at
        if self.pause is not None and self.pause.until is not None and self.pause.until <= now:
            self.pause = None
        stance = judge_stance(self.wishes, now, seen, pause=self.pause, frozen_for=rested)
        if stance.words != self.stance.words:
            log.info(
                "{words}", words=f"no builds are taken: {stance.words}" if stance.words else "builds are taken again"
            )
        self.stance = stance
        self.server.settle(stance, self.wishes.away)
        if self._frozen_at is None and self.frozen:
            self._frozen_at = self.timers.seconds()

    def _remembered(self, seen: Observed) -> Observed:
        """Return what was seen, with the most memory that builds have used since the owner came.

        Else what was handed back for its memory would be given out here again while they are still there.
        """
        self._most_memory = max(self._most_memory, seen.builds_memory or 0) if owner_is_there(self.wishes, seen) else 0
        return evolve(seen, builds_memory=self._most_memory)

    async def _round(self, _task: PeriodicTask) -> float:
        await self.look()
        busy = bool(self.server.running) and self.wishes.watches
        pause = QUICK if busy else SLOW
        if self.stance.look_again is not None:
            pause = min(pause, max(SOONEST, self.stance.look_again - self.clock.wall()))
        return pause
