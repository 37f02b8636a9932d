"""What the operator should know about builds.

What is finished and finds no room, what begins again and again, and what nobody can build since its project is not
configured.
"""

from __future__ import annotations

from collections import Counter

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from buildtool.metaserver.broker import Broker
from buildtool.model.text import duration_words
from buildtool.scheduling.events import ArtifactUnkept

TRIED_OFTEN = 10
"""With how many attempts an open build is worth a look."""

SHOWN = 5
"""Of how many builds each kind of problem is told; the others are counted."""


@frozen
class _Unkept:
    since: float
    reason: str
    server: str


@define(eq=False)
class Troubles:
    """The artifacts that cannot be kept, and the problems of open builds, as the operator sees them."""

    broker: Broker
    timers: IReactorTime
    _unkept: dict[tuple[int, int], _Unkept] = field(factory=dict, init=False)
    _seen: tuple[str, ...] = field(default=(), init=False)

    async def unkept(self, build_id: int, epoch: int, reason: str) -> None:
        """Record that an artifact cannot be kept now, so that its slot builds something else meanwhile.

        Raises StorageUnavailable when that cannot be committed either.
        """
        attempt = self.broker.state.attempts.get((build_id, epoch))
        if attempt is None:
            return
        before = self._unkept.get(attempt.key)
        since = before.since if before is not None else self.timers.seconds()
        self._unkept[attempt.key] = _Unkept(since, reason, attempt.server)
        if attempt.key not in self.broker.state.slots.unkept.get(attempt.server, ()):
            await self.broker.send(ArtifactUnkept(attempt.server, attempt.session, build_id, epoch, reason))

    def look(self) -> None:
        """Check the open builds."""
        state = self.broker.state
        strange = Counter(build.spec.project for build in state.builds.values() if not state.projects.configured(build))
        often = [build for build in state.builds.values() if build.epoch >= TRIED_OFTEN]
        lines = [
            f"project {name} is not configured, and {_builds(count)} for it" for name, count in sorted(strange.items())
        ]
        lines += [
            f"build {build.id} of {build.spec.project} was begun {build.epoch} times and has not ended: see its page"
            for build in often[:SHOWN]
        ]
        if len(often) > SHOWN:
            lines.append(f"{len(often) - SHOWN} more builds were begun {TRIED_OFTEN} times or more")
        self._seen = tuple(lines)

    def problems(self) -> tuple[str, ...]:
        """Return each in one line; it implements ``ports.Conditions``."""
        live, now = self.broker.state.attempts, self.timers.seconds()
        self._unkept = {key: one for key, one in self._unkept.items() if key in live}
        waiting = [
            f"build {key[0]}.{key[1]} is built on {one.server} and not delivered since "
            f"{duration_words(now - one.since)}: {one.reason}"
            for key, one in list(self._unkept.items())[:SHOWN]
        ]
        if len(self._unkept) > SHOWN:
            waiting.append(f"{len(self._unkept) - SHOWN} more builds are built and not delivered")
        return (*waiting, *self._seen)


def _builds(count: int) -> str:
    return "1 build waits" if count == 1 else f"{count} builds wait"
