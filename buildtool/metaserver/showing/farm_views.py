"""The answer to how the farm stands, for pages and API: kept for a moment, since many look at the same.

Tested by tests/metaserver/showing/test_waiting_groups.py and tests/metaserver/showing/test_farm_views.py.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from attrs import define, field

from buildtool.concurrency.bounded_cache import BoundedCache
from buildtool.metaserver.authorised import Permissions
from buildtool.metaserver.broker import Broker
from buildtool.metaserver.showing.waiting_groups import WaitGroup, Waiting, grouped
from buildtool.model.access.rights import Act
from buildtool.model.principal import Principal
from buildtool.model.records import Attempt, AttemptState, Build
from buildtool.ports.common import Clock
from buildtool.ports.metaserver import Handlers
from buildtool.protocol.pages.farm_view import GROUPS_TOLD, RUNNING_TOLD, AskFarm, FarmView, RunningView, WaitView

KEPT = 1.0
"""Seconds for which an answer is given again to who may see the same."""

CACHE = 2 * 1024 * 1024
"""In how many bytes answers are kept; each is of those projects and platforms that somebody sees."""


@define(eq=False)
class FarmViewService:
    """A service that says how the farm stands, to each as far as they may see it."""

    broker: Broker
    permissions: Permissions
    clock: Clock
    _kept: BoundedCache[frozenset[object], tuple[float, FarmView]] = field(factory=lambda: BoundedCache(CACHE))

    @property
    def handlers(self) -> Handlers:
        """What pages and API may ask."""
        return {AskFarm: self.farm}

    async def farm(self, by: Principal, _message: AskFarm) -> FarmView:
        """Return what runs, and why what waits does."""
        now, state = self.clock.wall(), self.broker.state
        kinds = {(one.spec.project, one.spec.platform): one.spec for one in state.builds.values()}
        seen = frozenset(kind for kind, spec in kinds.items() if self.permissions.allows(by, Act.SEE_BUILD, spec))
        known = self._kept.get(seen)
        if known is not None and 0 <= now - known[0] < KEPT:
            return known[1]

        def sees(build: Build) -> bool:
            return (build.spec.project, build.spec.platform) in seen

        view = FarmView(
            running=self._running(sees, now),
            waiting=tuple(map(_told, (waiting := await self._waiting(sees, now)).groups[:GROUPS_TOLD])),
            unseen=waiting.unseen + sum(group.count for group in waiting.groups[GROUPS_TOLD:]),
            draining=state.slots.holding,
        )
        self._kept.put(seen, (now, view), 500 * (len(view.running) + len(view.waiting) + len(seen) + 1))
        return view

    def _running(self, sees: Callable[[Build], bool], now: float) -> tuple[RunningView, ...]:
        state = self.broker.state
        going = (
            (attempt, build)
            for attempt in state.attempts.values()
            if attempt.state is not AttemptState.MISSING
            and (build := state.builds.get(attempt.build_id)) is not None
            and sees(build)
        )
        oldest = heapq.nsmallest(RUNNING_TOLD, going, key=lambda one: (one[0].offered_at, one[0].key))
        return tuple(self._runs(attempt, build, now) for attempt, build in oldest)

    def _runs(self, attempt: Attempt, build: Build, now: float) -> RunningView:
        began = attempt.accepted_at if attempt.accepted_at is not None else attempt.offered_at
        usual = self.broker.state.durations.expected(build.spec.shelf, attempt.platform, attempt.server)
        return RunningView(
            build.id,
            max(0.0, now - began),
            usual.seconds if usual is not None else None,
            usual.basis if usual is not None else "",
        )

    async def _waiting(self, sees: Callable[[Build], bool], now: float) -> Waiting:
        """Return the groups; the reactor turns between two looks, each of which takes milliseconds."""
        turn, found = self.broker.turn.anew(), Waiting((), 0)
        for step in grouped(self.broker.state, now, sees):
            if step is not None:
                found = step
            await turn.breathe()
        return found


def _told(group: WaitGroup) -> WaitView:
    return WaitView(
        cause=group.cause,
        words=group.words,
        servers=group.servers,
        server_count=group.server_count,
        builds=group.builds,
        count=group.count,
        seconds=group.estimate.seconds if group.estimate is not None else None,
        basis=group.estimate.basis if group.estimate is not None else "",
        then=group.next,
    )
