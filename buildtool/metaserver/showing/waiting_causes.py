"""How many builds wait for what, for monitoring: in a bounded time, however long the queue and however large the farm.

Builds that ask for the same of a build server wait for the same. Where all machines that can build them are busy, that
is found out by one look; else every machine has to be looked at, which is done for so many kinds of builds at a time.
What the others waited for when they were looked at last is told of them meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator

from attrs import define, field

from buildtool.metaserver.showing.waiting_groups import QUEUE_LOOKED_AT, TURNED_AFTER, cause_of, kind_of
from buildtool.model.matching.reasons import Cause
from buildtool.model.options import Canonical
from buildtool.model.records import Build, BuildState
from buildtool.scheduling.state.state import State
from buildtool.scheduling.waiting import waits_for_slot, why

LOOKS = 5_000
"""So many looks at build servers are taken for one answer, or for the first kind of build: some 20 ms."""

LOOKS_OF_A_KIND = 10
"""What it takes to look at a kind of builds, besides the looks at each build server."""

UNSEEN = Cause.UNSEEN.value

Waiting = Counter[tuple[Canonical | None, str]]
"""How many builds wait, by platform and by the cause for which they do; None for those of any platform."""


@define(eq=False)
class WaitingCauses:
    """The causes for which kinds of builds wait, each as it was when it was looked at last."""

    _causes: dict[Hashable, tuple[float, str]] = field(factory=dict)

    def counted(self, state: State, now: float) -> Iterator[Waiting | None]:
        """Return what waits at ``now``, wall time in seconds; None before each look, when others may be served.

        What is returned last is the answer. Those kinds are looked at first that were not looked at for longest.
        """
        queued = [one for one in state.builds.values() if one.state is BuildState.QUEUED]
        refused = {build_id for build_id, _ in state.refusals}
        examples: dict[Hashable, Build] = {}
        numbers: Counter[Hashable] = Counter()
        for number, build in enumerate(queued[:QUEUE_LOOKED_AT], 1):
            if not number % TURNED_AFTER:
                yield None
            kind = kind_of(build, now, refused)
            examples.setdefault(kind, build)
            numbers[kind] += 1
        self._causes = {kind: found for kind, found in self._causes.items() if kind in numbers}
        looks = LOOKS
        for kind in sorted(examples, key=self._looked_at):
            if looks <= 0:
                break
            yield None
            if examples[kind].id not in state.builds:
                continue  # it has begun, or ended, meanwhile
            cause, took = _looked(state, examples[kind], now)
            self._causes[kind] = now, cause
            looks -= took
        waiting: Waiting = Counter()
        for kind, count in numbers.items():
            waiting[examples[kind].spec.platform, self._causes.get(kind, (0.0, UNSEEN))[1]] += count
        if len(queued) > QUEUE_LOOKED_AT:
            waiting[None, UNSEEN] += len(queued) - QUEUE_LOOKED_AT
        yield waiting

    def _looked_at(self, kind: Hashable) -> float:
        return self._causes.get(kind, (-math.inf, UNSEEN))[0]


def _looked(state: State, build: Build, now: float) -> tuple[str, int]:
    """Return what a build waits for, and how many looks it took to find that out."""
    if waits_for_slot(state, build, now):
        return Cause.BUSY.value, LOOKS_OF_A_KIND
    return cause_of(why(state, build, now)), LOOKS_OF_A_KIND + len(state.servers)
